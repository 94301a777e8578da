//! The wire: headers and payload, CloudEvents in all three modes, trace context.
//!
//! Nothing here does IO, knows of Kubernetes or has a runtime. Read in this order.

mod message;

pub use message::Message;
