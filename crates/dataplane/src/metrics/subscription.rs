//! What is counted for one subscription.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use busway_core::{SubscriptionRef, serving::Health};

use super::table::{Own, SUBSCRIPTION_TABLE};
use crate::{doing::Doing, observer::Stage};

/// Upper bounds of the buckets for attempts, in milliseconds; the last one has none.
pub(crate) const ATTEMPT_BOUNDS_MS: &[u64] = &[
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 30_000,
];
/// Upper bounds of the buckets from acceptance to the end, in milliseconds: as far as retries go.
pub(crate) const SETTLE_BOUNDS_MS: &[u64] = &[
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000, 300_000, 3_600_000,
];

const CELLS: usize = {
    let mut cells = 0;
    let mut row = 0;
    while row < SUBSCRIPTION_TABLE.len() {
        cells += SUBSCRIPTION_TABLE[row].cells();
        row += 1;
    }
    cells
};

/// Where a row's cells begin.
pub(crate) const OWN_OFFSETS: [usize; SUBSCRIPTION_TABLE.len()] = {
    let mut offsets = [0; SUBSCRIPTION_TABLE.len()];
    let mut cells = 0;
    let mut row = 0;
    while row < SUBSCRIPTION_TABLE.len() {
        offsets[row] = cells;
        cells += SUBSCRIPTION_TABLE[row].cells();
        row += 1;
    }
    offsets
};

/// Adds to a cell that one thread writes and any reads: no locked instruction is needed.
fn bump(cell: &AtomicU64, by: u64) {
    let now = cell.load(Ordering::Relaxed);
    cell.store(now.wrapping_add(by), Ordering::Relaxed);
}

/// A histogram that one thread writes.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    buckets: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(),
            micros: AtomicU64::default(),
        }
    }

    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.iter().position(|ms| micros <= *ms * 1000);
        if let Some(bucket) = self.buckets.get(bucket.unwrap_or(self.bounds.len())) {
            bump(bucket, 1);
        }
        bump(&self.micros, micros);
    }

    pub(crate) fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            buckets: self
                .buckets
                .iter()
                .map(|bucket| bucket.load(Ordering::Relaxed))
                .collect(),
            micros: self.micros.load(Ordering::Relaxed),
        }
    }
}

/// A histogram as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distribution {
    pub(crate) bounds: &'static [u64],
    pub(crate) buckets: Vec<u64>,
    pub(crate) micros: u64,
}

impl Distribution {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.wrapping_add(*more);
        }
        self.micros = self.micros.wrapping_add(other.micros);
    }
}

/// How long things take: of one subscription, or of those of a shard that have none of their own.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) attempt: Histogram,
    pub(crate) settle: Histogram,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            attempt: Histogram::new(ATTEMPT_BOUNDS_MS),
            settle: Histogram::new(SETTLE_BOUNDS_MS),
        }
    }
}

/// Whose histograms a subscription writes to.
#[derive(Debug)]
pub(crate) enum Latencies {
    /// Its own.
    Own(Latency),
    /// Those of all that came when the bound on own ones was reached.
    Shared(Arc<Latency>),
}

impl Latencies {
    fn get(&self) -> &Latency {
        match self {
            Self::Own(own) => own,
            Self::Shared(shared) => shared,
        }
    }
}

/// The counts of one subscription. Only its shard writes them.
#[derive(Debug)]
pub(crate) struct SubscriptionCounts {
    pub(crate) name: SubscriptionRef,
    cells: [AtomicU64; CELLS],
    pub(crate) latencies: Latencies,
    pub(crate) health: Arc<Mutex<Health>>,
    doing: Mutex<Option<Doing>>,
}

impl SubscriptionCounts {
    pub(crate) fn new(
        name: SubscriptionRef,
        health: Arc<Mutex<Health>>,
        latencies: Latencies,
    ) -> Self {
        Self {
            name,
            cells: [const { AtomicU64::new(0) }; CELLS],
            latencies,
            health,
            doing: Mutex::default(),
        }
    }

    /// Adds one to the series at a place among the label's values.
    pub(crate) fn one(&self, family: Own, at: usize) {
        let offset = OWN_OFFSETS.get(family as usize);
        if let Some(cell) = offset.and_then(|offset| self.cells.get(offset + at)) {
            bump(cell, 1);
        }
    }

    /// An attempt ended; `place` is that among the values of stage and outcome.
    pub(crate) fn attempted(&self, stage: Stage, place: usize, took: Duration) {
        self.one(Own::Attempts, place);
        if stage == Stage::Subscriber {
            self.latencies.get().attempt.note(took);
        }
    }

    pub(crate) fn settled_after(&self, took: Duration) {
        self.latencies.get().settle.note(took);
    }

    pub(crate) fn read(&self, cell: usize) -> u64 {
        self.cells
            .get(cell)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Writes down what it is doing, unless somebody is just reading that: a shard waits for nobody.
    /// Whether it was written.
    pub(crate) fn write(&self, doing: Doing) -> bool {
        match self.doing.try_lock() {
            Ok(mut last) => *last = Some(doing),
            Err(std::sync::TryLockError::Poisoned(last)) => *last.into_inner() = Some(doing),
            Err(std::sync::TryLockError::WouldBlock) => return false,
        }
        true
    }

    pub(crate) fn doing(&self) -> Option<Doing> {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health<T>(&self, read: impl FnOnce(&Health) -> T) -> T {
        read(&self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
