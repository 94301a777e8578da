//! The operator: makes what serves a Bus or ClusterBus, gives Channels their addresses, says in status what is wrong,
//! and sees to it that deletion ends.
//!
//! Every kind is reconciled in the same steps, a file each: dereference (reads) → validate → build (pure, cannot
//! fail) → apply (writes) → status.

pub mod args;
pub mod run;

mod context;
mod names;
mod object;

mod apply;
mod labels;
mod status;

mod bus;
mod channel;
mod subscription;

mod children;
mod controller;
mod feed;
mod queue;
mod stores;

mod error;
mod events;
mod lead;
mod metrics;
mod sweep;

pub use args::{OperatorArgs, Settings};
pub use metrics::{Metrics, TABLE as METRICS};
