//! What a subscription is doing, as its shard last wrote it down.

use std::time::{Duration, SystemTime};

use busway_core::{
    gate::Gate,
    outcome::Outcome,
    routes::{Flow, SubscriptionRoute},
};

use crate::observer::Stage;

/// What a subscription is doing. Its shard writes it down once a second while anything happens, and
/// no more once nothing does: then it stays true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// When that was.
    pub at: SystemTime,
    /// Whether nothing was going on, so that this is still so however long ago it was.
    pub resting: bool,
    /// The breaker before the subscriber.
    pub breaker: Breaker,
    /// Attempts at the subscriber that are being made.
    pub in_flight: u32,
    /// How many may be made at once now.
    pub limit: u32,
    /// Messages taken from the bus and not settled.
    pub unsettled: usize,
    /// Until when an answer asked to be left alone.
    pub retry_after: Option<SystemTime>,
    /// What keeps attempts from being made until somebody changes it.
    pub held: Option<Held>,
    /// The last attempt of any stage that failed.
    pub last_error: Option<LastError>,
    /// The next attempt, where one is known to come.
    pub next: Option<NextAttempt>,
}

impl Doing {
    /// What one does to which nothing has happened yet.
    #[must_use]
    pub fn nothing(route: &SubscriptionRoute, at: SystemTime) -> Self {
        let policy = &route.policy;
        Self {
            at,
            resting: true,
            breaker: Breaker::Closed,
            in_flight: 0,
            limit: Gate::new(policy.max_in_flight, policy.rate).limit(Duration::ZERO),
            unsettled: 0,
            retry_after: None,
            held: Held::by(route.flow),
            last_error: None,
            next: None,
        }
    }
}

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Nothing.
    Closed,
    /// One attempt is to show whether the subscriber is back.
    HalfOpen,
    /// It lets nothing through.
    Open {
        /// Until then.
        until: SystemTime,
    },
}

impl Breaker {
    /// The stable short name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::HalfOpen => "HalfOpen",
            Self::Open { .. } => "Open",
        }
    }

    /// Its value as a metric.
    pub(crate) const fn level(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// What keeps a subscription from making attempts until somebody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// `spec.paused`.
    Paused,
    /// Its spec became invalid.
    InvalidSpec,
    /// Its subscriber answered 410, and `onGone` is `pause`.
    Gone,
}

impl Held {
    pub(crate) const fn by(flow: Flow) -> Option<Self> {
        match flow {
            Flow::Running => None,
            Flow::Paused => Some(Self::Paused),
            Flow::Held => Some(Self::InvalidSpec),
        }
    }

    /// The stable short name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::InvalidSpec => "InvalidSpec",
            Self::Gone => "Gone",
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastError {
    /// What it was for.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub at: SystemTime,
}

/// An attempt that will be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextAttempt {
    /// What it is for.
    pub stage: Stage,
    /// When, as far as it is known; it may be held up longer.
    pub at: SystemTime,
    /// Which attempt of its message it will be, from 1.
    pub attempt: u32,
}
