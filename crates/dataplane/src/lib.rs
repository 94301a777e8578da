//! Receiver and dispatcher. Read in this order.

/// Whether a bug is planted here: never, but in a build that the simulation is tried with.
#[cfg(not(busway_plant))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}
#[cfg(busway_plant)]
macro_rules! planted {
    ($bug:ident) => {
        crate::plant::is(crate::plant::Plant::$bug)
    };
}
#[cfg(busway_plant)]
pub mod plant;

pub mod connect;
pub mod http1;
pub mod listen;
pub mod observer;
mod quiet;
mod world;

pub mod metrics;
pub mod problem;

mod connections;
mod doing;
mod handle;
mod plane;
mod shard;

mod dispatcher;
mod receiver;

pub use connect::Network;
pub use dispatcher::{DispatchDefaults, DispatchError, MessageDispatcher};
pub use doing::{Breaker, Doing, Held, LastError, NextAttempt};
pub use handle::{DataPlane, Drained, Settings};
pub use metrics::Metrics;
pub use observer::{Event, Observer, Stage};
pub use plane::Plane;
pub use problem::Problem;
pub use receiver::{MessageReceiver, MessageService};
pub use world::World;
