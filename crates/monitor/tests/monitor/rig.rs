//! One process: a Monitor with a fake bus and a fake data plane, on a cluster in memory.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_core::{
    BusRef, Routes, Uid,
    bus::{Retry, Scope},
    routes::Accepting,
    serving::{DataPlane, Health, Loaded},
};
use busway_monitor::{Loopback, Monitor, Options, Orphans, Parts, Replicas, source::Source};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{bus::FakeBus, cluster::Cluster};

/// Loads at once what is published, unless it is told to wait.
#[derive(Default)]
pub(crate) struct FakePlane {
    loaded: Loaded,
    routes: Mutex<Arc<Routes>>,
    snapshots: Mutex<usize>,
    stuck: Mutex<bool>,
    health: Mutex<HashMap<String, Health>>,
}

impl FakePlane {
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.lock().unwrap().clone()
    }

    pub(crate) fn snapshots(&self) -> usize {
        *self.snapshots.lock().unwrap()
    }

    /// Stops, or begins again, to load what is published.
    pub(crate) fn stick(&self, stuck: bool) {
        *self.stuck.lock().unwrap() = stuck;
        self.load();
    }

    pub(crate) fn set_health(&self, uid: &str, health: Health) {
        self.health.lock().unwrap().insert(uid.to_owned(), health);
    }

    fn load(&self) {
        if *self.stuck.lock().unwrap() {
            return;
        }
        let routes = self.routes();
        let mut served = HashSet::new();
        for channel in routes.channels.values() {
            if channel.accepting == Accepting::Yes {
                self.loaded.set(&channel.uid, channel.generation);
                served.insert(channel.uid.clone());
            }
            for s in &channel.subscriptions {
                self.loaded.set(&s.uid, s.generation);
                served.insert(s.uid.clone());
            }
        }
        for (uid, _) in self.loaded.since(0).set {
            if !served.contains(&uid) {
                self.loaded.remove(&uid);
            }
        }
    }
}

impl DataPlane for FakePlane {
    fn publish(&self, routes: Arc<Routes>) {
        *self.routes.lock().unwrap() = routes;
        *self.snapshots.lock().unwrap() += 1;
        self.load();
    }

    fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    fn health(&self, subscription: &Uid) -> Option<Health> {
        self.health
            .lock()
            .unwrap()
            .get(subscription.as_str())
            .cloned()
    }
}

pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) bus: Arc<FakeBus>,
    pub(crate) plane: Arc<FakePlane>,
    pub(crate) monitor: Monitor,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// What differs from test to test.
pub(crate) struct Setup {
    pub(crate) cluster: Cluster,
    pub(crate) bus: Arc<FakeBus>,
    pub(crate) bus_ref: BusRef,
    pub(crate) options: Options,
    pub(crate) replicas: Option<Arc<dyn Replicas>>,
    pub(crate) concurrency: usize,
}

impl Setup {
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            cluster: Cluster::default(),
            bus: FakeBus::new(scope),
            bus_ref: BusRef::Cluster {
                name: "main".to_owned(),
            },
            options: Options {
                parts: Parts::Both,
                orphans: Orphans::Mine,
                loopback: Loopback::Allowed,
                receiver: Some("127.0.0.1:8080".parse().unwrap()),
                ..Options::default()
            },
            replicas: None,
            concurrency: 64,
        }
    }

    /// The same cluster and broker, and another process.
    pub(crate) fn again(rig: &Rig, bus: Arc<FakeBus>) -> Self {
        Self {
            cluster: rig.cluster.clone(),
            bus,
            ..Self::new(Scope::Shared)
        }
    }

    pub(crate) fn cache(mut self, dir: PathBuf) -> Self {
        self.options.cache_dir = Some(dir);
        self
    }

    pub(crate) fn run(self) -> Rig {
        let plane = Arc::new(FakePlane::default());
        let source: Arc<dyn Source> = Arc::new(self.cluster.clone());
        let mut monitor = Monitor::new("busway-test", source, Arc::clone(&self.bus) as _)
            .options(self.options)
            .data_plane(Arc::clone(&plane) as _);
        if let Some(replicas) = self.replicas {
            monitor = monitor.replicas(replicas);
        }
        let shutdown = CancellationToken::new();
        let running = monitor.clone();
        let (bus_ref, concurrency, token) = (self.bus_ref, self.concurrency, shutdown.clone());
        let task = tokio::spawn(async move {
            running.run(bus_ref, concurrency, token).await.unwrap();
        });
        Rig {
            cluster: self.cluster,
            bus: self.bus,
            plane,
            monitor,
            shutdown,
            task,
        }
    }
}

impl Rig {
    /// A shared bus, its ClusterBus `main`, one channel and one subscription, all Ready.
    pub(crate) async fn ready(scope: Scope) -> Self {
        let rig = Setup::new(scope).run();
        rig.standard();
        rig.until_ready("Subscription", "shop/mail").await;
        rig.until_ready("Channel", "shop/orders").await;
        rig
    }

    pub(crate) fn standard(&self) {
        standard(&self.cluster);
    }

    pub(crate) async fn stop(self) -> Cluster {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.cluster
    }

    pub(crate) async fn until_ready(&self, kind: &str, name: &str) {
        self.until_condition(kind, name, "Ready", "True/AllGood")
            .await;
    }

    pub(crate) async fn until_condition(
        &self,
        kind: &str,
        name: &str,
        condition: &str,
        wanted: &str,
    ) {
        until(&format!("{kind} {name} is {condition} {wanted}"), || {
            let seen = self.cluster.condition(kind, name, condition);
            if seen.as_deref() == Some(wanted) {
                Ok(())
            } else {
                Err(self.cluster.get(kind, name).map(|o| o["status"].clone()))
            }
        })
        .await;
    }

    pub(crate) async fn until_calls(&self, call: &str, count: usize) {
        until(&format!("{count} × {call}"), || {
            if self.bus.count(call) >= count {
                Ok(())
            } else {
                Err(self.bus.calls())
            }
        })
        .await;
    }

    pub(crate) async fn until_gone(&self, kind: &str, name: &str) {
        until(&format!("{kind} {name} is gone"), || {
            match self.cluster.get(kind, name) {
                None => Ok(()),
                Some(object) => Err(object),
            }
        })
        .await;
    }

    /// The flow of a subscription as it is routed.
    pub(crate) fn routed(&self, subscription: &str) -> Option<String> {
        let routes = self.plane.routes();
        routes
            .subscriptions()
            .find(|s| s.subscription.as_str() == subscription)
            .map(|s| format!("{:?} {}", s.flow, s.subscriber))
    }
}

pub(crate) fn standard(cluster: &Cluster) {
    cluster.namespace("shop", &json!({"team": "shop"}));
    cluster.apply("ClusterBus", "main", &bus_spec(&json!([]), &json!([])));
    cluster.apply("Channel", "shop/orders", &json!({"clusterBus": "main"}));
    cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "mail"}),
    );
}

pub(crate) fn bus_spec(channel: &Value, subscription: &Value) -> Value {
    json!({"memory": {}, "parameters": {"channel": channel, "subscription": subscription}})
}

/// Virtual time goes on until `look` is Ok.
pub(crate) async fn until<T: Debug>(what: &str, mut look: impl FnMut() -> Result<(), T>) {
    let mut last = None;
    for _ in 0..20_000 {
        match look() {
            Ok(()) => return,
            Err(seen) => last = Some(seen),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("gave up waiting until {what}; last seen: {last:?}");
}

/// Long enough for everything that is under way, shorter than any backoff of minutes.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

pub(crate) fn transient(reason: &'static str) -> crate::bus::Fault {
    crate::bus::Fault::Fails(busway_core::bus::HookError::transient(reason, "not now"))
}

pub(crate) fn permanent(reason: &'static str) -> crate::bus::Fault {
    let error = busway_core::bus::HookError::permanent(reason, "never so");
    assert_eq!(error.retry(), Retry::WhenChanged);
    crate::bus::Fault::Fails(error)
}
