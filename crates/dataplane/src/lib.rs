//! Receiver and dispatcher. Read in this order.

pub mod connect;
pub mod listen;
pub mod observer;
mod quiet;
mod world;

pub mod metrics;
pub mod problem;

mod connections;
mod handle;
mod plane;
mod shard;

mod dispatcher;
mod receiver;

pub use connect::Network;
pub use dispatcher::{DispatchDefaults, DispatchError, MessageDispatcher};
pub use handle::{DataPlane, Drained, Settings};
pub use metrics::Metrics;
pub use observer::{Event, Observer, Stage};
pub use plane::Plane;
pub use problem::Problem;
pub use receiver::{MessageReceiver, MessageService};
pub use world::World;
mod doing;
pub use doing::{Breaker, Doing, Held, LastError, NextAttempt};
