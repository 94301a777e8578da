//! Why the memory bus refuses, and what that is in the contract's words.

use busway_core::{
    ChannelRef,
    bus::{HookError, PublishError},
};

use super::config::RETRY_AFTER;

/// Why a message was not taken; it is in no queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The channel is not provisioned here.
    UnknownChannel(ChannelRef),
    /// It is larger than a whole queue, or than the memory of the process.
    TooLarge { limit: usize },
    /// A queue has no room (`whenFull: reject`).
    Full,
    /// The process has no memory left, and nothing may be shed.
    OutOfMemory,
}

impl From<Refused> for PublishError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UnknownChannel(channel) => Self::UnknownChannel(channel),
            Refused::TooLarge { limit } => Self::TooLarge { limit },
            Refused::Full => Self::Busy { after: RETRY_AFTER },
            Refused::OutOfMemory => Self::Unavailable {
                after: RETRY_AFTER,
                why: "the process holds as many bytes of messages as it may".to_owned(),
            },
        }
    }
}

/// A subscription came before its channel.
pub(super) fn not_provisioned(channel: &ChannelRef) -> HookError {
    HookError::transient(
        "ChannelNotProvisioned",
        format!("channel {channel} is not provisioned in this process"),
    )
}
