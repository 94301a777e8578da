//! What a bus author imports: the contract, and everything around it already wired.
//!
//! Implement [`Bus`], hand it to [`run_dispatcher`], and it is a dispatcher: it watches resources,
//! receives and delivers messages over HTTP, writes status, answers probes, drains. The same binary
//! serves a folder of manifests with `--dir`. `docs/bus-contract.md` says what a bus has to keep.

pub mod admin;
pub mod args;
mod around;
pub mod bundle;
pub mod memory;
pub mod metrics;
pub mod prelude;
pub mod process;
mod provisioning;
pub mod resources;
pub mod runner;
pub mod signals;
pub mod store;
pub mod telemetry;

pub use args::DispatcherArgs;
pub use async_trait::async_trait;
pub use busway_core as core;
pub use busway_core::{Bus, BusRef, ChannelRef, SubscriptionRef, Uid};
pub use busway_dataplane as dataplane;
pub use busway_dataplane::{DispatchDefaults, MessageDispatcher, MessageReceiver};
pub use busway_message as message;
pub use busway_message::Message;
pub use busway_monitor as monitor;
pub use busway_monitor::Monitor;
pub use futures;
pub use runner::{Given, run_dispatcher, run_provisioner};
