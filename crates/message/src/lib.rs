//! The wire: headers and payload, CloudEvents in all three modes, trace context.
//!
//! Nothing here does IO, knows of Kubernetes or has a runtime. Read in this order.

mod message;
pub mod names;

mod keep;

mod attributes;
mod compose;
mod event;
mod json;
mod value;

pub mod batch;
pub mod convert;

pub mod dead_letter;
pub mod hops;
mod id;
pub mod trace;

pub use attributes::{AttributeName, Attributes, InvalidAttributeName, attribute};
pub use event::{InvalidEvent, Kind, Mode, SpecVersion};
pub use id::{InvalidMessageId, MessageId};
pub use json::{MAX_NESTING, nesting};
pub use keep::{KeepHeaders, is_of_one_request};
pub use message::Message;
pub use value::is_string as is_attribute_value;
