use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::Shed;

/// What a memory bus holds, and what it ended by itself. All but `held` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages accepted and not settled, counted per subscription. At the end of the process this
    /// is what was lost.
    pub held: u64,
    /// Shed because a queue or the process was full.
    pub shed: u64,
    /// Of those, the ones that nobody saw again: too many were waiting for the dead-letter sink.
    pub dropped: u64,
    /// Discarded with their deleted subscription or channel.
    pub discarded: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    shed: AtomicU64,
    dropped: AtomicU64,
    discarded: AtomicU64,
}

impl Counters {
    pub(super) fn add_shed(&self, shed: Shed) {
        self.shed.fetch_add(shed.shed, Ordering::Relaxed);
        self.dropped.fetch_add(shed.dropped, Ordering::Relaxed);
    }

    pub(super) fn add_discarded(&self, count: u64) {
        self.discarded.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn read(&self, held: u64) -> Stats {
        Stats {
            held,
            shed: self.shed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
        }
    }
}
