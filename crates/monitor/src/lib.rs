//! The Monitor: watches resources, calls the hooks of one bus, publishes Routes, writes status.
//!
//! It has never heard of a data plane or of a certain bus: it is handed a [`busway_core::Bus`] and
//! a [`busway_core::serving::DataPlane`].

pub mod manifest;
pub mod monitor;
pub mod names;
pub mod options;
pub mod peers;
pub mod replicas;
pub mod source;

mod cache;
mod convert;
mod due;
mod engine;
mod feed;
mod health;
mod jobs;
mod queue;
mod routes;
mod share;
mod status;
mod trouble;
mod world;

pub use monitor::{Monitor, MonitorError};
pub use options::{Loopback, Options, Orphans, Parts, Role};
pub use replicas::Replicas;
