//! What the file of a bus begins with: the contract, and the types in it.

pub use async_trait::async_trait;
pub use busway_core::{Bus, ChannelRef, SubscriptionRef, bus::*, outcome::Cause};
pub use busway_message::Message;
