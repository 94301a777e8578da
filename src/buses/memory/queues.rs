//! All queues of a bus, and what they give up when the process has too little memory.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use busway_core::{
    budget::{MemoryBudget, Relief},
    bus::WhenFull,
};

use super::{
    SharedQueue,
    config::SHED_BATCH,
    provision::Topology,
    stats::{Counters, Stats},
};

pub(super) struct Queues {
    /// Hooks write it, publishers and consumers read it; never held across an await.
    topology: RwLock<Topology>,
    budget: MemoryBudget,
    pub(super) counters: Counters,
}

impl Queues {
    pub(super) fn new(budget: MemoryBudget) -> Self {
        Self {
            topology: RwLock::default(),
            budget,
            counters: Counters::default(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Topology> {
        self.topology
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> Stats {
        let held = self.all().iter().map(|q| q.lock().backlog().count).sum();
        self.counters.read(held)
    }

    fn all(&self) -> Vec<Arc<SharedQueue>> {
        self.read().queues().cloned().collect()
    }

    /// Sheds the oldest messages of the queue that holds most, until there is room for so many bytes
    /// or it is time to look for another queue; tells whether there was anything to shed.
    pub(super) fn shed_from_largest(&self, needed: usize) -> bool {
        let queues = self.all();
        let largest = queues
            .iter()
            .map(|queue| (queue.lock().sheddable_bytes(), queue))
            .filter(|(bytes, _)| *bytes > 0)
            .max_by_key(|(bytes, _)| *bytes);
        let Some((_, queue)) = largest else {
            return false;
        };
        let has_room = || self.budget.used().saturating_add(needed) <= self.budget.limit();
        let (shed, wake) = queue.lock().shed_until(SHED_BATCH, has_room);
        self.counters.add_shed(shed);
        wake.wake();
        true
    }
}

impl Relief for Queues {
    fn relieve(&self, bytes: usize) -> bool {
        let when_full = self.read().settings.when_full;
        when_full == WhenFull::DropOldest && self.shed_from_largest(bytes)
    }
}
