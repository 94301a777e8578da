use crate::parameters::Parameter;

/// What a bus is and can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Where its state is.
    pub scope: Scope,
    /// What a 202 means.
    pub durability: Durability,
    /// What order it can keep.
    pub ordering: Ordering,
    /// Whether `retry_at` is held by the bus; else the dispatcher waits itself.
    pub can_delay: bool,
    /// Optional parts that it has.
    pub capabilities: Capabilities,
    /// What channels may set, beside what the Bus resource declares.
    pub channel_parameters: Vec<Parameter>,
    /// What subscriptions may set, beside what the Bus resource declares.
    pub subscription_parameters: Vec<Parameter>,
}

impl Profile {
    /// A bus that keeps its state there, promises that much, and has nothing optional: the rest is
    /// said with `..`.
    #[must_use]
    pub const fn plain(scope: Scope, durability: Durability) -> Self {
        Self {
            scope,
            durability,
            ordering: Ordering::No,
            can_delay: false,
            capabilities: Capabilities::NONE,
            channel_parameters: Vec::new(),
            subscription_parameters: Vec::new(),
        }
    }
}

/// Where a bus has its state, and so who runs its hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a broker or on a volume: hooks run on the holder of the bus's Lease only.
    Shared,
    /// In the process: hooks run in every replica.
    PerReplica,
}

/// What a 202 means on a bus; shown in the Bus's condition `Durable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The message is in this process's memory.
    Memory,
    /// It survives a crash of the process, and of the machine as far as the words say.
    Durable {
        /// What exactly, for people.
        detail: String,
    },
}

/// What order a bus can keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// All messages of a subscription go to one consumer at a time, in order.
    SingleConsumer,
    /// Messages of one key go to one consumer, where the channel's key is this attribute.
    ByPublishKey(String),
    /// None.
    No,
}

/// Optional parts of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `dead_letter`, `dead_letters` and `remove_dead_letter`.
    pub dead_letters: bool,
    /// `backlog`.
    pub backlog: bool,
    /// `history`, and the parameter `startPosition`.
    pub history: bool,
    /// `purge`.
    pub purge: bool,
}

impl Capabilities {
    /// None of them.
    pub const NONE: Self = Self {
        dead_letters: false,
        backlog: false,
        history: false,
        purge: false,
    };

    /// With a dead-letter store.
    #[must_use]
    pub const fn with_dead_letters(mut self) -> Self {
        self.dead_letters = true;
        self
    }

    /// With a known backlog.
    #[must_use]
    pub const fn with_backlog(mut self) -> Self {
        self.backlog = true;
        self
    }

    /// With kept history.
    #[must_use]
    pub const fn with_history(mut self) -> Self {
        self.history = true;
        self
    }

    /// With purge.
    #[must_use]
    pub const fn with_purge(mut self) -> Self {
        self.purge = true;
        self
    }
}
