//! Which subscriptions have series.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use busway_core::{SubscriptionRef, serving::Health};

use super::{
    Metrics,
    subscription::{Latencies, Latency, SubscriptionCounts},
    table::SUBSCRIPTION_TABLE,
};
use crate::doing::Doing;

/// How many subscriptions of a process have histograms of their own, unless
/// [`Settings`](crate::Settings) say otherwise: 32 series each, most of what a
/// subscription has; a process may serve ten times as many.
pub const OWN_HISTOGRAMS: usize = 1_000;

/// The most that may be asked for: 3.2 million series of one process, more than Prometheus takes in
/// one scrape on an ordinary machine.
pub const MOST_OWN_HISTOGRAMS: u32 = 100_000;

/// Those that have series, and what the others share.
#[derive(Debug)]
pub(crate) struct Registry {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By bus and name.
    all: BTreeMap<(Arc<str>, SubscriptionRef), Arc<SubscriptionCounts>>,
    /// How many of them have histograms of their own.
    own: usize,
    /// By bus and shard; a counter never goes down, so these stay.
    shared: BTreeMap<(Arc<str>, usize), Arc<Latency>>,
}

/// One subscription as people look at it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it was doing a moment ago.
    pub doing: Option<Doing>,
    /// What was counted, without what is 0.
    pub counts: Vec<Count>,
}

/// One count of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The metric's name, without `_total`.
    pub metric: &'static str,
    /// Its labels, without those that name the subscription.
    pub labels: Vec<(&'static str, &'static str)>,
    /// How many.
    pub value: u64,
}

impl Registry {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(
        &self,
        bus: &str,
        name: &SubscriptionRef,
        shard: usize,
        health: Arc<Mutex<Health>>,
    ) -> Arc<SubscriptionCounts> {
        let mut inner = self.lock();
        let bus: Arc<str> = bus.into();
        let before = inner.all.remove(&(Arc::clone(&bus), name.clone()));
        inner.gone(before.as_deref());
        let latencies = if inner.own < self.most {
            inner.own += 1;
            Latencies::Own(Latency::default())
        } else {
            let shared = inner.shared.entry((Arc::clone(&bus), shard)).or_default();
            Latencies::Shared(Arc::clone(shared))
        };
        let counts = Arc::new(SubscriptionCounts::new(name.clone(), health, latencies));
        inner.all.insert((bus, name.clone()), Arc::clone(&counts));
        counts
    }

    fn leave(&self, bus: &str, counts: &Arc<SubscriptionCounts>) {
        let mut inner = self.lock();
        let key = (Arc::from(bus), counts.name.clone());
        let is_it = |known: &Arc<SubscriptionCounts>| Arc::ptr_eq(known, counts);
        if inner.all.get(&key).is_some_and(is_it) {
            inner.all.remove(&key);
            inner.gone(Some(counts));
        }
    }

    /// All that have series, in order: a scrape writes them without holding anything up.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<SubscriptionCounts>)> {
        let inner = self.lock();
        let all = inner.all.iter();
        all.map(|((bus, _), counts)| (Arc::clone(bus), Arc::clone(counts)))
            .collect()
    }

    /// What those without histograms of their own share, by bus.
    pub(super) fn shared(&self) -> Vec<(Arc<str>, Arc<Latency>)> {
        let inner = self.lock();
        let shared = inner.shared.iter();
        shared
            .map(|((bus, _), latency)| (Arc::clone(bus), Arc::clone(latency)))
            .collect()
    }
}

impl Inner {
    fn gone(&mut self, counts: Option<&SubscriptionCounts>) {
        if counts.is_some_and(|counts| matches!(counts.latencies, Latencies::Own(_))) {
            self.own = self.own.saturating_sub(1);
        }
    }
}

impl Metrics {
    /// Something happened to a subscription for the first time: it has series from now on.
    pub(crate) fn enter(
        &self,
        bus: &str,
        name: &SubscriptionRef,
        shard: usize,
        health: Arc<Mutex<Health>>,
    ) -> Arc<SubscriptionCounts> {
        self.inner.subscriptions.enter(bus, name, shard, health)
    }

    /// A subscription is served no longer: its series end.
    pub(crate) fn leave(&self, bus: &str, counts: &Arc<SubscriptionCounts>) {
        self.inner.subscriptions.leave(bus, counts);
    }

    /// What a subscription was doing a moment ago, and what was counted; nothing before its first
    /// message. `bus` is the bus's name, as the label.
    #[must_use]
    pub fn subscription(&self, bus: &str, name: &SubscriptionRef) -> Option<Watched> {
        let key = (Arc::from(bus), name.clone());
        let found = self.inner.subscriptions.lock().all.get(&key).cloned()?;
        Some(Watched {
            doing: found.doing(),
            counts: found.counts().collect(),
        })
    }
}

impl SubscriptionCounts {
    /// What is not 0.
    fn counts(&self) -> impl Iterator<Item = Count> {
        let rows = SUBSCRIPTION_TABLE
            .iter()
            .zip(super::subscription::OWN_OFFSETS);
        rows.flat_map(move |(row, offset)| {
            let cells = (0..row.cells()).map(move |at| (at, self.read(offset + at)));
            cells
                .filter(|(_, value)| *value > 0)
                .map(move |(at, value)| Count {
                    metric: row.name,
                    labels: row.labels_at(at).collect(),
                    value,
                })
        })
    }
}

#[cfg(test)]
mod tests;
