//! A running data plane.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use busway_core::{Bus, BusRef, budget::MemoryBudget, bus::Durability};
use tokio::sync::watch;

use crate::{
    connections::Connections,
    listen::{self, Listener},
    metrics::{Family, Metrics, OWN_HISTOGRAMS},
    plane::Plane,
    receiver::Inbox,
    shard::{self, Running},
    world::World,
};

/// What a process sets, beside what the routes of each bus say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster domain, for channels addressed by host.
    pub cluster_domain: String,
    /// How long connections are still accepted after a drain began, so that nobody is refused who
    /// has not yet heard of it: 5 s in a cluster, 0 in dev mode.
    pub lame_duck: Duration,
    /// Bytes of messages that this process holds; shared with a bus that keeps them in memory. Its
    /// limit follows [`ReceiverSettings::max_memory`](busway_core::routes::ReceiverSettings).
    pub budget: MemoryBudget,
    /// How many subscriptions have latency histograms of their own in the metrics; the rest share
    /// one for each bus.
    pub own_histograms: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_domain: busway_core::address::DEFAULT_CLUSTER_DOMAIN.to_owned(),
            lame_duck: Duration::ZERO,
            budget: MemoryBudget::new(busway_core::routes::ReceiverSettings::default().max_memory),
            own_histograms: OWN_HISTOGRAMS,
        }
    }
}

/// How far a data plane is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It serves, and says `connection: close`.
    LameDuck,
    /// It accepts nothing more, and finishes what is in flight.
    Draining,
    /// It stops.
    Stopped,
}

/// What every shard shares.
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    pub(crate) planes: ArcSwap<Vec<Arc<Plane>>>,
    pub(crate) changed: Arc<watch::Sender<u64>>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) shards: usize,
    /// What takes messages instead of the planes.
    pub(crate) inbox: Option<Arc<dyn Inbox>>,
}

/// What a drain left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Messages that a bus in memory still held when the grace ended.
    pub lost: u64,
}

/// Receiver and dispatcher of one process, serving one or several buses. Cloning shares it.
#[derive(Clone)]
pub struct DataPlane {
    shared: Arc<Shared>,
    running: Arc<Mutex<Vec<Running>>>,
    address: Option<SocketAddr>,
}

impl std::fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataPlane")
            .field("address", &self.address)
            .field("shards", &self.shared.shards)
            .finish_non_exhaustive()
    }
}

impl DataPlane {
    /// Listens on TCP and serves with so many shards, each a thread with its own runtime.
    ///
    /// # Errors
    /// When the address cannot be bound, or a thread not started.
    pub fn start(
        listen: SocketAddr,
        shards: NonZeroUsize,
        settings: Settings,
        world: World,
    ) -> io::Result<Self> {
        Self::start_with(listen, shards, settings, world, None)
    }

    pub(crate) fn start_with(
        listen: SocketAddr,
        shards: NonZeroUsize,
        settings: Settings,
        world: World,
        inbox: Option<Arc<dyn Inbox>>,
    ) -> io::Result<Self> {
        let (address, listeners) = listen::tcp(listen, shards.get())?;
        let mut this = Self::new(shards.get(), settings, world, inbox);
        this.address = Some(address);
        let running = listeners
            .into_iter()
            .enumerate()
            .map(|(shard, listener)| shard::thread(shard, &this.shared, listener))
            .collect::<io::Result<Vec<_>>>()?;
        this.keep(running);
        Ok(this)
    }

    /// Serves as one shard on the caller's runtime, for simulations and tests: to be called within
    /// a `LocalSet` or a `LocalRuntime`.
    ///
    /// # Errors
    /// When the listener cannot be started.
    pub fn start_local(
        listener: Option<Listener>,
        settings: Settings,
        world: World,
    ) -> io::Result<Self> {
        let this = Self::new(1, settings, world, None);
        this.keep(vec![shard::local(&this.shared, listener)?]);
        Ok(this)
    }

    fn new(shards: usize, settings: Settings, world: World, inbox: Option<Arc<dyn Inbox>>) -> Self {
        let metrics = Metrics::new(shards, settings.budget.clone(), settings.own_histograms);
        Self {
            shared: Arc::new(Shared {
                world,
                metrics,
                settings,
                planes: ArcSwap::default(),
                changed: Arc::new(watch::Sender::new(0)),
                phase: watch::Sender::new(Phase::Serving),
                connections: Arc::default(),
                shards,
                inbox,
            }),
            running: Arc::default(),
            address: None,
        }
    }

    fn keep(&self, running: Vec<Running>) {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *all = running;
    }

    /// Begins to serve a bus; its Monitor publishes routes to the plane that is returned. Before
    /// the first loaded routes of every bus, an unknown channel is answered 503.
    #[must_use]
    pub fn add(&self, name: &BusRef, bus: Arc<dyn Bus>) -> Arc<Plane> {
        let plane = Arc::new(Plane::new(
            name.clone(),
            bus,
            self.shared.metrics.bus(&name.to_string()),
            Arc::clone(&self.shared.changed),
            self.shared.settings.budget.clone(),
        ));
        self.shared.planes.rcu(|planes| {
            let others = planes.iter().filter(|p| p.name != *name).cloned();
            others.chain([Arc::clone(&plane)]).collect::<Vec<_>>()
        });
        self.shared.changed.send_modify(|version| *version += 1);
        plane
    }

    /// Serves a bus no longer: its subscriptions stop at once.
    pub fn remove(&self, name: &BusRef) {
        self.shared.planes.rcu(|planes| {
            let others = planes.iter().filter(|p| p.name != *name).cloned();
            others.collect::<Vec<_>>()
        });
        self.shared.changed.send_modify(|version| *version += 1);
    }

    /// Where it listens, when that is TCP.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Its metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Whether there is a bus, each has had its first full load, and nobody drains it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let planes = self.shared.planes.load();
        *self.shared.phase.borrow() == Phase::Serving
            && !planes.is_empty()
            && planes.iter().all(|plane| plane.peek().loaded)
    }

    /// Resolves when a shard has ended; without a drain that is a reason to end the process.
    pub async fn stopped(&self) {
        let mut ended: Vec<_> = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().map(Running::ended).collect()
        };
        let ended = ended
            .iter_mut()
            .map(|ended| Box::pin(async { while ended.changed().await.is_ok() {} }));
        if ended.len() > 0 {
            futures::future::select_all(ended).await;
        }
    }

    /// Leaves: not ready at once, accepts nothing more after the lame duck, and finishes what is
    /// in flight within `grace`; a bus in memory is delivered meanwhile. What is left then is handed
    /// back. Returns when every shard has ended.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let phase = &self.shared.phase;
        phase.send_replace(Phase::LameDuck);
        tokio::time::sleep(self.shared.settings.lame_duck).await;
        phase.send_replace(Phase::Draining);
        // A shard ends by itself when nothing is left on it.
        let over = tokio::time::timeout(grace, self.all_stopped()).await;
        let drained = if over.is_err() {
            self.count_lost().await
        } else {
            Drained::default()
        };
        phase.send_replace(Phase::Stopped);
        self.all_stopped().await;
        drained
    }

    async fn all_stopped(&self) {
        let ended: Vec<_> = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.iter().map(Running::ended).collect()
        };
        for mut ended in ended {
            while ended.changed().await.is_ok() {}
        }
    }

    async fn count_lost(&self) -> Drained {
        let mut lost = 0;
        for plane in self.shared.planes.load().iter() {
            if plane.bus.profile().durability != Durability::Memory {
                continue;
            }
            let mut here = 0;
            for subscription in plane.routes().subscriptions() {
                if let Ok(Some(backlog)) = plane.bus.backlog(&subscription.subscription).await {
                    here += backlog.count;
                }
            }
            if here > 0 {
                tracing::warn!(bus = %plane.name, messages = here, "lost on shutdown: the grace period ended");
                plane.counts(0).add(Family::LostOnShutdown, 0, here);
            }
            lost += here;
        }
        Drained { lost }
    }
}
