//! What one process shows of itself on its admin and debug ports.

mod view;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use busway_core::{BusRef, SubscriptionRef, routes::Accepting, serving::DataPlane as _};
use busway_dataplane::{DataPlane, Plane};
use busway_monitor::{Monitor, peers::LoadedPage};
use futures::future::BoxFuture;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};

use self::view::subscription;
use crate::{
    admin::{Introspect, Page},
    metrics::{BusCounters, ProcessMetrics},
};

/// Shows a process's objects, where it keeps them.
pub type Objects = Box<dyn Fn() -> Value + Send + Sync>;

/// One process: its data plane, and the buses that it serves.
pub struct Process {
    data_plane: DataPlane,
    served: RwLock<Vec<Served>>,
    objects: Option<Objects>,
    replica: String,
}

/// One bus that is served.
#[derive(Clone)]
pub struct Served {
    /// Its part of the data plane.
    pub plane: Arc<Plane>,
    /// Its Monitor.
    pub monitor: Monitor,
    /// What the bus counts by itself.
    pub counters: Option<BusCounters>,
}

impl Process {
    /// A process that serves nothing yet. `objects` shows the resources where the process keeps
    /// them itself; else what is routed is shown.
    #[must_use]
    pub fn new(data_plane: DataPlane, replica: String, objects: Option<Objects>) -> Self {
        Self {
            data_plane,
            served: RwLock::default(),
            objects,
            replica,
        }
    }

    /// It serves a bus from now on.
    pub fn add(&self, served: Served) {
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        all.push(served);
    }

    /// It serves a bus no longer.
    pub fn remove(&self, bus: &BusRef) {
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|served| served.plane.name() != bus);
    }

    /// What is served.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        let all = self.served.read().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

impl Introspect for Process {
    fn ready(&self) -> Result<(), String> {
        if self.data_plane.is_ready() {
            Ok(())
        } else {
            Err("not ready: the resources are not loaded yet, or it is leaving".to_owned())
        }
    }

    fn metrics(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        let mut registry = Registry::default();
        self.data_plane.metrics().register(&mut registry);
        let served = self.served();
        let buses = served.iter().map(|served| {
            let counters = served.counters.as_ref().map(|counters| counters());
            (served.plane.name(), &served.monitor, counters)
        });
        ProcessMetrics::of(buses, self.data_plane.is_ready()).register(&mut registry);
        encode(&mut { to }, &registry)
    }

    fn loaded(&self, since: u64) -> LoadedPage {
        // A process with peers serves one bus.
        let changes = self
            .served()
            .first()
            .map(|served| served.plane.loaded().since(since))
            .unwrap_or_default();
        LoadedPage {
            replica: self.replica.clone(),
            sequence: changes.sequence,
            full: changes.full,
            set: changes
                .set
                .into_iter()
                .map(|(uid, generation)| (uid.as_str().to_owned(), generation))
                .collect(),
            removed: changes
                .removed
                .iter()
                .map(|uid| uid.as_str().to_owned())
                .collect(),
        }
    }

    fn objects(&self) -> Value {
        if let Some(objects) = &self.objects {
            return objects();
        }
        let mut channels = Vec::new();
        for served in self.served() {
            let routes = served.plane.routes();
            for channel in routes.channels.values() {
                let subscriptions: Vec<_> = channel
                    .subscriptions
                    .iter()
                    .map(|route| subscription(&served.plane, route))
                    .collect();
                channels.push(json!({
                    "channel": channel.channel.as_str(),
                    "bus": served.plane.name().to_string(),
                    "uid": channel.uid.as_str(),
                    "generation": channel.generation,
                    "accepting": channel.accepting == Accepting::Yes,
                    "subscriptions": subscriptions,
                }));
            }
        }
        json!({ "channels": channels })
    }

    fn subscription(&self, namespace: &str, name: &str) -> BoxFuture<'_, Result<Value, Value>> {
        let asked = SubscriptionRef::new(namespace, name);
        Box::pin(async move {
            for served in self.served() {
                let routes = served.plane.routes();
                let found = routes.subscriptions().find(|r| r.subscription == asked);
                if let Some(route) = found {
                    let metrics = self.data_plane.metrics();
                    return Ok(view::whole(metrics, &served.plane, route).await);
                }
            }
            Err(view::loaded(&self.served(), asked.namespace()))
        })
    }

    fn subscriptions(&self, page: &Page) -> Value {
        view::page(self.data_plane.metrics(), &self.served(), page)
    }
}
