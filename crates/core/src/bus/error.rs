use std::{borrow::Cow, time::Duration};

use crate::ChannelRef;

/// Whether trying a failed hook again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It can: again with capped, jittered backoff, for ever.
    Yes,
    /// Only after a change of the object or the bus.
    WhenChanged,
}

/// Why a hook failed, in words for a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    reason: Cow<'static, str>,
    message: String,
    retry: Retry,
}

impl HookError {
    /// A failure that may pass by itself. `reason` is short, CamelCase and stable.
    pub fn transient(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            retry: Retry::Yes,
        }
    }

    /// A failure that only a change of the object or the bus can mend.
    pub fn permanent(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
            retry: Retry::WhenChanged,
        }
    }

    /// The stable short name, for condition, event and metric.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }
}

/// Why a message was not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus has no such channel: 404.
    #[error("channel {0} is not known to the bus")]
    UnknownChannel(ChannelRef),
    /// This channel's backlog is at its bound: 429.
    #[error("the backlog of the channel is full")]
    Busy {
        /// When to try again.
        after: Duration,
    },
    /// The bus cannot store anything now: 503.
    #[error("the bus cannot store the message now: {why}")]
    Unavailable {
        /// When to try again.
        after: Duration,
        /// Why, for the log; not told to the sender.
        why: String,
    },
    /// The engine takes no message of that size: 413.
    #[error("the bus takes messages of at most {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// Anything else: 500, and the words go to the log only.
    #[error("{0}")]
    Other(String),
}

impl PublishError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownChannel(_) => "UnknownChannel",
            Self::Busy { .. } => "Busy",
            Self::Unavailable { .. } => "Unavailable",
            Self::TooLarge { .. } => "TooLarge",
            Self::Other(_) => "PublishFailed",
        }
    }
}

/// Why the bus could not do something that no sender waits for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// This bus does not have that optional part.
    #[error("the bus does not support {0}")]
    Unsupported(&'static str),
    /// The subscription is not known: it was never subscribed here, or is unsubscribed.
    #[error("the subscription is not known to the bus")]
    UnknownSubscription,
    /// The message was settled or handed back before; it may be delivered again.
    #[error("the delivery is no longer held")]
    NotHeld,
    /// The engine is away, or failed.
    #[error("{0}")]
    Failed(String),
}

impl BusError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "Unsupported",
            Self::UnknownSubscription => "UnknownSubscription",
            Self::NotHeld => "NotHeld",
            Self::Failed(_) => "BusFailed",
        }
    }
}
