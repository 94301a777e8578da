//! The memory bus, and what it counts.

use std::sync::Arc;

use busway_buskit::metrics::{BusCounter, BusCounters};
use busway_core::{budget::MemoryBudget, world::Clock};

use crate::buses::memory::{MemoryBus, Stats};

/// A memory bus, and a reader of its counters.
pub(crate) fn open(budget: &MemoryBudget, clock: &Arc<dyn Clock>) -> (Arc<MemoryBus>, BusCounters) {
    let bus = Arc::new(MemoryBus::new(budget.clone(), Arc::clone(clock)));
    let counted = Arc::clone(&bus);
    (bus, Arc::new(move || counters(&counted.stats())))
}

/// The counters, as `/metrics` and the page about it have them.
pub(crate) fn counters(stats: &Stats) -> Vec<BusCounter> {
    let counter = |name, help, value| BusCounter { name, help, value };
    vec![
        counter(
            "busway_memory_shed",
            "Messages that a full queue of the memory bus, or the full process, gave up",
            stats.shed,
        ),
        counter(
            "busway_memory_shed_dropped",
            "Of those, the ones that did not reach the dead-letter sink because too many waited for it",
            stats.dropped,
        ),
        counter(
            "busway_memory_discarded",
            "Messages discarded with their deleted Subscription or Channel",
            stats.discarded,
        ),
    ]
}
