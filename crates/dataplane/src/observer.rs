//! What happens to messages, told to who wants to show it to people.

use std::time::Duration;

use busway_core::{
    ChannelRef, SubscriptionRef,
    outcome::{Cause, Outcome, Settled},
};

use crate::problem::Problem;

/// Is told of each step of each message. Called on the hot path: it must not block.
///
/// A data plane without one makes no events at all.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

/// One step of one message. `id` is its `busway-id`; a reply and a dead letter keep that of the
/// message they come from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The receiver answered 202.
    Accepted {
        /// Which message.
        id: &'a str,
        /// To which channel.
        channel: &'a ChannelRef,
        /// Bytes of its body.
        bytes: usize,
    },
    /// The receiver answered with an error.
    Refused {
        /// The channel, where the request named one.
        channel: Option<&'a ChannelRef>,
        /// Which error.
        problem: &'a Problem,
    },
    /// An attempt ended.
    Attempted {
        /// Which message.
        id: &'a str,
        /// For which subscription.
        subscription: &'a SubscriptionRef,
        /// Where to.
        stage: Stage,
        /// Which attempt, from 1; counted per stage.
        attempt: u32,
        /// To which URL; without user-info, query and fragment.
        destination: &'a str,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        took: Duration,
    },
    /// Another attempt will be made.
    Waiting {
        /// Which message.
        id: &'a str,
        /// For which subscription.
        subscription: &'a SubscriptionRef,
        /// Where to.
        stage: Stage,
        /// Attempts made.
        attempts: u32,
        /// When the next comes.
        wait: Duration,
    },
    /// It goes to the dead letter.
    DeadLetter {
        /// Which message.
        id: &'a str,
        /// For which subscription.
        subscription: &'a SubscriptionRef,
        /// Why.
        cause: Cause,
    },
    /// It has ended for this subscription.
    Settled {
        /// Which message.
        id: &'a str,
        /// For which subscription.
        subscription: &'a SubscriptionRef,
        /// How.
        how: Settled,
    },
}

/// Which of a subscription's destinations an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The message, to the subscriber.
    Subscriber,
    /// The reply, to `replyTo`.
    Reply,
    /// The dead letter, to `deadLetterSink`.
    DeadLetter,
}

impl Stage {
    pub(crate) const NAMES: &'static [&'static str] = &["subscriber", "reply", "dead-letter"];
    pub(crate) const ALL: [Self; 3] = [Self::Subscriber, Self::Reply, Self::DeadLetter];

    /// The stable short name, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Reply => "reply",
            Self::DeadLetter => "dead-letter",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Subscriber => 0,
            Self::Reply => 1,
            Self::DeadLetter => 2,
        }
    }
}
