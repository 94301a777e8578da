//! Channels, subscriptions, delivery policy and outcomes, the Routes snapshot and the [`Bus`] trait.
//!
//! No IO and no Kubernetes: the Monitor turns resources into these types once, at the edge, and
//! what follows cannot fail for a reason that a user could have caused. Read in this order.

pub mod refs;

pub mod address;
pub mod duration;
pub mod egress;
pub mod parameters;

pub mod gate;
pub mod outcome;
pub mod pacing;
pub mod policy;
pub mod retry_after;

pub mod filter;

pub mod bus;

pub mod budget;
pub mod routes;
pub mod serving;
pub mod world;

pub use bus::Bus;
pub use busway_message::AttributeName;
pub use refs::{BusRef, ChannelRef, SubscriptionRef, Uid};
pub use routes::Routes;
