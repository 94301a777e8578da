//! The Monitor: watches resources, calls the hooks of one bus, publishes Routes, writes status.
//!
//! It has never heard of a data plane or of a certain bus: it is handed a [`busway_core::Bus`] and
//! a [`busway_core::serving::DataPlane`].

pub mod source;
