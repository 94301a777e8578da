//! How much consumers may hold together: what they hold cannot be shed, and is to leave room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use busway_core::budget::MemoryBudget;

/// From this part of the process's memory on, what is handed out is shared evenly.
const SCARCE_FROM: usize = 2;
/// What is shared then: with the half that was handed out freely it leaves a quarter.
const SHARED: usize = 4;

/// What all consumers of a bus share. While less than half of the process's memory is used, each
/// takes as its credit allows; then each that holds something may hold an equal part of a quarter.
/// So subscribers that hang cannot keep all of it, and what comes in finds room, if by shedding.
#[derive(Clone, Debug)]
pub(super) struct Handout {
    budget: MemoryBudget,
    holders: Arc<AtomicUsize>,
}

/// One consumer that holds something.
#[derive(Debug)]
pub(super) struct Holding(Arc<AtomicUsize>);

impl Handout {
    pub(super) fn new(budget: MemoryBudget) -> Self {
        Self {
            budget,
            holders: Arc::default(),
        }
    }

    /// Counts a consumer that holds something, until it does no longer.
    pub(super) fn hold(&self) -> Holding {
        self.holders.fetch_add(1, Ordering::Relaxed);
        Holding(Arc::clone(&self.holders))
    }

    /// Bytes that one consumer may hold now; one message may pass it.
    pub(super) fn most(&self) -> usize {
        let limit = self.budget.limit();
        if self.budget.used() < limit / SCARCE_FROM {
            return usize::MAX;
        }
        let holders = self.holders.load(Ordering::Relaxed);
        limit / SHARED / holders.max(1)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
