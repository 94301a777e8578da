//! The Monitor as its users see it.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use busway_core::{
    Bus, BusRef, ChannelRef, SubscriptionRef,
    bus::{ChannelSpec, SubscriptionSpec},
    serving::DataPlane,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    options::Options,
    replicas::{Alone, Replicas},
    source::Source,
};

/// Requests of a bus to be subscribed again that wait at once; more are dropped, since the first
/// ones already bring the same work.
const REQUEUES: usize = 1024;

/// Why a Monitor cannot go on, or does not know an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// The Monitor ended before it had seen all resources once.
    #[error("the resources could not be read: {0}")]
    NotSynced(String),
    /// `run` was called a second time.
    #[error("the monitor runs already")]
    AlreadyRuns,
    /// No such channel is provisioned on this bus; a receiver answers 404.
    #[error("channel {0} is not known")]
    UnknownChannel(ChannelRef),
}

impl MonitorError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotSynced(_) => "NotSynced",
            Self::AlreadyRuns => "AlreadyRuns",
            Self::UnknownChannel(_) => "UnknownChannel",
        }
    }
}

/// Whether the Monitor has seen all resources once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    Waiting(String),
    /// From the cache: the age of what is served at the time of loading.
    Cached {
        saved_at: std::time::SystemTime,
    },
    Live,
    Ended,
}

/// What the owner task shows of its world.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) channels: RwLock<HashMap<ChannelRef, Arc<ChannelSpec>>>,
    pub(crate) subscriptions: RwLock<HashMap<SubscriptionRef, Arc<SubscriptionSpec>>>,
    pub(crate) sync: watch::Sender<Sync>,
    /// Writes that the API server refused for good.
    pub(crate) refused: std::sync::atomic::AtomicU64,
}

/// Watches the resources of one bus, calls its hooks, publishes Routes, writes status.
///
/// Cheap to clone: every clone is a handle on the same Monitor.
#[derive(Clone)]
pub struct Monitor {
    component: Arc<str>,
    source: Arc<dyn Source>,
    bus: Arc<dyn Bus>,
    data_plane: Option<Arc<dyn DataPlane>>,
    replicas: Arc<dyn Replicas>,
    options: Arc<Options>,
    shown: Arc<Shown>,
    leaving: CancellationToken,
    requeue: mpsc::Sender<SubscriptionRef>,
    requeued: Arc<std::sync::Mutex<Option<mpsc::Receiver<SubscriptionRef>>>>,
}

impl Monitor {
    /// A Monitor of `bus`. `component` is its name as event source and field manager
    /// (`busway-dispatcher`, `busway-provisioner`).
    pub fn new(component: &str, source: Arc<dyn Source>, bus: Arc<dyn Bus>) -> Self {
        let (requeue, requeued) = mpsc::channel(REQUEUES);
        Self {
            component: component.into(),
            source,
            bus,
            data_plane: None,
            replicas: Arc::new(Alone::default()),
            options: Arc::default(),
            shown: Arc::new(Shown {
                channels: RwLock::default(),
                subscriptions: RwLock::default(),
                sync: watch::Sender::new(Sync::Waiting("nothing was read yet".to_owned())),
                refused: std::sync::atomic::AtomicU64::new(0),
            }),
            leaving: CancellationToken::new(),
            requeue,
            requeued: Arc::new(std::sync::Mutex::new(Some(requeued))),
        }
    }

    /// With a data plane to publish Routes to; a provisioner has none.
    #[must_use]
    pub fn data_plane(mut self, data_plane: Arc<dyn DataPlane>) -> Self {
        self.data_plane = Some(data_plane);
        self
    }

    /// With other replicas that must have loaded an object before it is Ready.
    #[must_use]
    pub fn replicas(mut self, replicas: Arc<dyn Replicas>) -> Self {
        self.replicas = replicas;
        self
    }

    /// With these settings.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// Syncs, then reconciles until `shutdown`; ends only when hooks in flight have ended.
    ///
    /// # Errors
    /// When it runs already. Trouble with the source is no error: it is waited out.
    pub async fn run(
        &self,
        bus_ref: BusRef,
        concurrency: usize,
        shutdown: CancellationToken,
    ) -> Result<(), MonitorError> {
        let requeued = self
            .requeued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or(MonitorError::AlreadyRuns)?;
        let parts = crate::engine::Given {
            component: Arc::clone(&self.component),
            bus_ref,
            source: Arc::clone(&self.source),
            bus: Arc::clone(&self.bus),
            data_plane: self.data_plane.clone(),
            replicas: Arc::clone(&self.replicas),
            options: Arc::clone(&self.options),
            shown: Arc::clone(&self.shown),
            leaving: self.leaving.clone(),
            concurrency: concurrency.max(1),
        };
        Engine::new(parts, requeued).run(shutdown).await;
        self.shown.sync.send_replace(Sync::Ended);
        Ok(())
    }

    /// Waits until all resources were seen once (or were read from the cache).
    ///
    /// # Errors
    /// When the Monitor ended before.
    pub async fn wait_for_cache_sync(&self) -> Result<(), MonitorError> {
        let mut last = String::new();
        let mut sync = self.shown.sync.subscribe();
        loop {
            match &*sync.borrow_and_update() {
                Sync::Waiting(why) => last.clone_from(why),
                Sync::Cached { .. } | Sync::Live => return Ok(()),
                Sync::Ended => return Err(MonitorError::NotSynced(last)),
            }
            if sync.changed().await.is_err() {
                return Err(MonitorError::NotSynced(last));
            }
        }
    }

    /// Whether the resources are those of the source, and not of the cache.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(&*self.shown.sync.borrow(), Sync::Live)
    }

    /// How old the resources are that are served, when they are from the cache and the API server was
    /// not reached since; for the metric `routes_age_seconds`.
    #[must_use]
    pub fn routes_age(&self) -> Option<Duration> {
        match &*self.shown.sync.borrow() {
            Sync::Cached { saved_at } => Some(
                self.options
                    .clock
                    .now()
                    .duration_since(*saved_at)
                    .unwrap_or_default(),
            ),
            Sync::Waiting(_) | Sync::Live | Sync::Ended => None,
        }
    }

    /// Status writes that the API server refused for good since the start.
    #[must_use]
    pub fn refused_writes(&self) -> u64 {
        self.shown
            .refused
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The channel of that name, if it is provisioned.
    #[must_use]
    pub fn channel(&self, namespace: &str, name: &str) -> Option<Arc<ChannelSpec>> {
        let channels = self.shown.channels.read();
        let channels = channels.unwrap_or_else(PoisonError::into_inner);
        channels.get(&ChannelRef::new(namespace, name)).cloned()
    }

    /// The subscription of that name, if it is subscribed.
    #[must_use]
    pub fn subscription(&self, namespace: &str, name: &str) -> Option<Arc<SubscriptionSpec>> {
        let all = self.shown.subscriptions.read();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.get(&SubscriptionRef::new(namespace, name)).cloned()
    }

    /// The subscriptions of a provisioned channel, by name.
    ///
    /// # Errors
    /// [`MonitorError::UnknownChannel`] when it is not provisioned.
    pub fn subscriptions(
        &self,
        namespace: &str,
        channel: &str,
    ) -> Result<Vec<Arc<SubscriptionSpec>>, MonitorError> {
        let Some(channel) = self.channel(namespace, channel) else {
            return Err(MonitorError::UnknownChannel(ChannelRef::new(
                namespace, channel,
            )));
        };
        let all = self.shown.subscriptions.read();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = all
            .values()
            .filter(|s| s.channel == channel.channel && s.channel_uid == channel.uid)
            .cloned()
            .collect();
        found.sort_by(|a, b| a.subscription.cmp(&b.subscription));
        Ok(found)
    }

    /// This process begins to leave, and reconciles on: the other replicas count it no more, and its part
    /// of what is shared among them stays as it is.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Asks for another `subscribe`, as a bus does when its long-lived consumer died. Forgotten when
    /// very many ask at once.
    pub fn requeue_subscription(&self, subscription: &SubscriptionRef) {
        let _ = self.requeue.try_send(subscription.clone());
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("component", &self.component)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
