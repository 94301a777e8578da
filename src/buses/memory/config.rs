//! What the memory bus is, its bounds, and what a message counts for against the process's budget.

use std::time::Duration;

use busway_core::bus::{
    BusSpec, Capabilities, Durability, MemorySettings, Ordering, Profile, Scope,
};

use super::MemoryBus;

/// Added to a message's bytes: its header table and bookkeeping, so that a flood of empty messages
/// counts for what it really takes.
pub(super) const MESSAGE_OVERHEAD: usize = 1024;

/// What a queue takes for one message besides the message, which all queues share.
pub(super) const ENTRY_COST: usize = 128;

/// Shed messages of one queue that wait for the dead-letter sink, or are on their way there. Few: it
/// is the memory of a subscription that has already too much.
pub(super) const MAX_SHED_MESSAGES: usize = 128;

/// As [`MAX_SHED_MESSAGES`], in bytes; one message may pass it.
pub(super) const MAX_SHED_BYTES: usize = 1024 * 1024;

/// Messages shed from one queue before looking again for the one that holds most: looking costs a
/// lock per queue.
pub(super) const SHED_BATCH: usize = 64;

/// What a refused sender is told to wait: long enough not to hammer, short enough to find the room
/// that deliveries make all the time.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) fn profile() -> Profile {
    Profile {
        ordering: Ordering::SingleConsumer,
        can_delay: true,
        capabilities: Capabilities::NONE.with_backlog(),
        ..Profile::plain(Scope::PerReplica, Durability::Memory)
    }
}

impl MemoryBus {
    /// Takes the bus's settings, for what comes from now on.
    pub(super) fn apply(&self, bus: &BusSpec) {
        self.budget.set_limit(bus.max_memory);
        self.write().settings = bus.memory.unwrap_or_default();
    }
}

/// Whether a use of a queue fits its settings.
pub(super) const fn fits(messages: usize, bytes: usize, settings: &MemorySettings) -> bool {
    messages <= settings.max_messages && bytes <= settings.max_bytes
}
