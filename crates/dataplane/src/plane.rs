//! One bus as the data plane serves it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use busway_core::{
    Bus, BusRef, Routes, SubscriptionRef, Uid,
    budget::MemoryBudget,
    bus::{Backlog, Capabilities},
    routes::Accepting,
    serving::{DataPlane, Health, Loaded},
};
use busway_message::KeepHeaders;
use tokio::{sync::watch, time::timeout};

use crate::metrics::Counts;

/// How long a bus is given to tell a backlog to somebody who looks.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// One bus: its routes, and how its subscriptions do. What the Monitor of that bus is handed.
pub struct Plane {
    pub(crate) name: BusRef,
    pub(crate) bus: Arc<dyn Bus>,
    routes: ArcSwap<Routes>,
    keep: ArcSwap<KeepHeaders>,
    loaded: Loaded,
    health: Mutex<HashMap<Uid, Arc<Mutex<Health>>>>,
    counts: Vec<Arc<Counts>>,
    /// Tells the shards to look again.
    changed: Arc<watch::Sender<u64>>,
    budget: MemoryBudget,
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Plane {
    pub(crate) fn new(
        name: BusRef,
        bus: Arc<dyn Bus>,
        counts: Vec<Arc<Counts>>,
        changed: Arc<watch::Sender<u64>>,
        budget: MemoryBudget,
    ) -> Self {
        Self {
            name,
            bus,
            routes: ArcSwap::default(),
            keep: ArcSwap::default(),
            loaded: Loaded::default(),
            health: Mutex::default(),
            counts,
            changed,
            budget,
        }
    }

    /// The name of its bus.
    #[must_use]
    pub const fn name(&self) -> &BusRef {
        &self.name
    }

    /// What is accepted and not settled for a subscription, where the bus knows it and tells in time.
    pub async fn backlog(&self, subscription: &SubscriptionRef) -> Option<Backlog> {
        if !self.capabilities().backlog {
            return None;
        }
        let asked = timeout(TELL_WITHIN, self.bus.backlog(subscription)).await;
        asked.ok()?.ok()?
    }

    /// The snapshot that is served.
    #[must_use]
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    pub(crate) fn peek(&self) -> Guard<Arc<Routes>> {
        self.routes.load()
    }

    pub(crate) fn keep(&self) -> Guard<Arc<KeepHeaders>> {
        self.keep.load()
    }

    /// The memory of this process for messages.
    pub(crate) const fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    pub(crate) fn counts(&self, shard: usize) -> Arc<Counts> {
        self.counts
            .get(shard)
            .map_or_else(|| Arc::new(Counts::default()), Arc::clone)
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.bus.profile().capabilities
    }

    /// The health record of a subscription that now begins to be consumed.
    pub(crate) fn watch_health(&self, uid: &Uid) -> Arc<Mutex<Health>> {
        let mut all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(uid.clone()).or_default())
    }

    pub(crate) fn forget_health(&self, uid: &Uid) {
        let mut all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(uid);
    }
}

impl DataPlane for Plane {
    fn publish(&self, routes: Arc<Routes>) {
        let receiver = &routes.receiver;
        self.budget.set_limit(receiver.max_memory);
        if self.peek().receiver.keep_headers != receiver.keep_headers {
            let keep = KeepHeaders::new(receiver.keep_headers.iter().cloned());
            self.keep.store(Arc::new(keep));
        }
        let before = self.routes.swap(Arc::clone(&routes));
        // Every shard reads the one pointer: from here on all of them accept by it.
        for channel in routes.channels.values() {
            match channel.accepting {
                Accepting::Yes => self.loaded.set(&channel.uid, channel.generation),
                Accepting::NotProvisioned | Accepting::Revoked => self.loaded.remove(&channel.uid),
            }
        }
        for (name, old) in &before.channels {
            if routes
                .channels
                .get(name)
                .is_none_or(|new| new.uid != old.uid)
            {
                self.loaded.remove(&old.uid);
            }
        }
        self.changed.send_modify(|version| *version += 1);
    }

    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn health(&self, subscription: &Uid) -> Option<Health> {
        let all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let health = Arc::clone(all.get(subscription)?);
        drop(all);
        let health = health.lock().unwrap_or_else(PoisonError::into_inner);
        Some(health.clone())
    }
}
