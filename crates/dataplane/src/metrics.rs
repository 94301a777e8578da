//! Counters per shard, summed when they are read; and those of each subscription.

mod encode;
mod markdown;
mod registry;
mod subscription;
mod table;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use busway_core::{
    budget::MemoryBudget,
    outcome::{Cause, Failure, Outcome},
};
use prometheus_client::registry::Registry;

pub use markdown::markdown;
use registry::Registry as Subscriptions;
pub use registry::{Count, MOST_OWN_HISTOGRAMS, OWN_HISTOGRAMS, Watched};
pub(crate) use subscription::SubscriptionCounts;
pub(crate) use table::{BUCKETS_MS, BUS_CALLS, Family, OUTCOMES, Own};
pub use table::{Definition, Kind, SUBSCRIPTION_TABLE, Scope, TABLE};

/// The metrics of a data plane. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Vec<Arc<Counts>>,
    buses: Mutex<Vec<Bus>>,
    subscriptions: Subscriptions,
    budget: MemoryBudget,
}

/// A bus that was removed keeps its counts, for when it comes back: a counter never goes down.
#[derive(Debug)]
struct Bus {
    name: String,
    shards: Vec<Arc<Counts>>,
}

impl Metrics {
    /// Of so many shards; so many subscriptions may have histograms of their own.
    pub(crate) fn new(shards: usize, budget: MemoryBudget, own_histograms: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                process: (0..shards).map(|_| Arc::new(Counts::default())).collect(),
                buses: Mutex::default(),
                subscriptions: Subscriptions::new(own_histograms),
                budget,
            }),
        }
    }

    /// Adds these metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    pub(crate) fn process(&self, shard: usize) -> Arc<Counts> {
        self.inner
            .process
            .get(shard)
            .map_or_else(|| Arc::new(Counts::default()), Arc::clone)
    }

    /// The counts of a bus, one for each shard.
    pub(crate) fn bus(&self, name: &str) -> Vec<Arc<Counts>> {
        let mut buses = self
            .inner
            .buses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bus) = buses.iter().find(|bus| bus.name == name) {
            return bus.shards.clone();
        }
        let shards: Vec<_> = self.inner.process.iter().map(|_| Arc::default()).collect();
        buses.push(Bus {
            name: name.to_owned(),
            shards: shards.clone(),
        });
        shards
    }
}

const CELLS: usize = {
    let mut cells = 0;
    let mut rest = TABLE;
    while let [row, tail @ ..] = rest {
        cells += row.cells();
        rest = tail;
    }
    cells
};

const OFFSETS: [usize; TABLE.len()] = {
    let mut offsets = [0; TABLE.len()];
    let mut cells = 0;
    let mut row = 0;
    while row < TABLE.len() {
        offsets[row] = cells;
        cells += TABLE[row].cells();
        row += 1;
    }
    offsets
};

/// One shard's counts, of the process or of one bus. Gauges wrap around zero: only their sum over
/// the shards means something.
#[derive(Debug)]
pub(crate) struct Counts {
    cells: Box<[AtomicU64]>,
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    micros: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            cells: (0..CELLS).map(|_| AtomicU64::default()).collect(),
            buckets: Default::default(),
            micros: AtomicU64::default(),
        }
    }
}

impl Counts {
    fn cell(&self, family: Family, at: usize) -> Option<&AtomicU64> {
        let offset = OFFSETS.get(family as usize)?;
        self.cells.get(offset + at)
    }

    /// Counts one.
    pub(crate) fn one(&self, family: Family) {
        self.add(family, 0, 1);
    }

    /// Adds to the series at a place among the label's values.
    pub(crate) fn add(&self, family: Family, at: usize, by: u64) {
        if let Some(cell) = self.cell(family, at) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Takes from a gauge.
    pub(crate) fn sub(&self, family: Family, at: usize, by: u64) {
        if let Some(cell) = self.cell(family, at) {
            cell.fetch_sub(by, Ordering::Relaxed);
        }
    }

    /// Notes how long an attempt took.
    pub(crate) fn attempt_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MS
            .iter()
            .position(|bound| micros <= *bound * 1000)
            .unwrap_or(BUCKETS_MS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// A guard that holds a gauge up by one.
#[derive(Debug)]
pub(crate) struct Up {
    counts: Arc<Counts>,
    family: Family,
    at: usize,
}

impl Up {
    pub(crate) fn new(counts: &Arc<Counts>, family: Family, at: usize) -> Self {
        counts.add(family, at, 1);
        Self {
            counts: Arc::clone(counts),
            family,
            at,
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.counts.sub(self.family, self.at, 1);
    }
}

/// The place of an outcome among the label's values.
pub(crate) const fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Status(200..=299) => 0,
        Outcome::Status(410) => 3,
        Outcome::Status(429) => 4,
        Outcome::Status(400..=499) => 2,
        Outcome::Status(500..) => 5,
        Outcome::Status(_) => 1,
        Outcome::Failed(Failure::Dns) => 6,
        Outcome::Failed(Failure::Connect) => 7,
        Outcome::Failed(Failure::Tls) => 8,
        Outcome::Failed(Failure::Timeout) => 9,
        Outcome::Failed(Failure::Reset) => 10,
        Outcome::Failed(Failure::Forbidden(_)) => 11,
    }
}

pub(crate) fn cause_index(cause: Cause) -> usize {
    Cause::ALL.iter().position(|c| *c == cause).unwrap_or(0)
}

#[cfg(test)]
mod tests;
