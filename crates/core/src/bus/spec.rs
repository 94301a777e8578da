use crate::{BusRef, ChannelRef, SubscriptionRef, Uid, parameters::ResolvedParameters};

/// A Bus or ClusterBus, as its hooks see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusSpec {
    /// Its name.
    pub bus: BusRef,
    /// Its identity.
    pub uid: Uid,
    /// The settings of a memory bus, where it is one.
    pub memory: Option<MemorySettings>,
    /// Bytes of messages that this process may hold (`limits.memory`).
    pub max_memory: usize,
}

/// `spec.memory`: bounds per subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// What happens to a message for a full queue.
    pub when_full: WhenFull,
    /// Messages per subscription, those in flight included.
    pub max_messages: usize,
    /// Bytes per subscription, those in flight included.
    pub max_bytes: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            when_full: WhenFull::DropOldest,
            max_messages: 10_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What a full memory queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// That subscription's oldest message goes to its dead-letter sink; nobody else is touched.
    DropOldest,
    /// The sender is refused (429), and the message is in no queue.
    Reject,
}

/// A Channel, as its hooks see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelSpec {
    /// Its name.
    pub channel: ChannelRef,
    /// Its identity; a re-created channel has another.
    pub uid: Uid,
    /// Defaults, then arguments.
    pub parameters: ResolvedParameters,
    /// What deleting the channel does to what backs it.
    pub retention: Retention,
}

/// What deleting a channel does to what backs it (`deletionPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, with its mark.
    Retain,
}

/// A Subscription, as its hooks see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionSpec {
    /// Its name.
    pub subscription: SubscriptionRef,
    /// Its identity; a re-created subscription has another.
    pub uid: Uid,
    /// The channel it is of.
    pub channel: ChannelRef,
    /// The identity of that channel.
    pub channel_uid: Uid,
    /// Defaults, then arguments.
    pub parameters: ResolvedParameters,
    /// How long one attempt may take: an engine's own redelivery time must be longer.
    pub timeout: std::time::Duration,
}
