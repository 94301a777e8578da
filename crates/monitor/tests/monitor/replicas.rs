//! Several replicas: who runs hooks, who writes, and what "every ready replica" means.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use busway_core::{Uid, bus::Scope};
use busway_monitor::{Parts, Replicas, Role};
use tokio::sync::watch;

use crate::{
    bus::FakeBus,
    rig::{Rig, Setup, settle},
};

/// One other replica, which has loaded what the test says.
struct Other {
    serves: Mutex<HashSet<String>>,
    changed: watch::Sender<u64>,
}

impl Other {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            serves: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    fn set(&self, uids: &[&str]) {
        *self.serves.lock().unwrap() = uids.iter().map(|&u| u.to_owned()).collect();
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Replicas for Other {
    fn without(&self, object: &Uid, _: i64) -> Vec<String> {
        if self.serves.lock().unwrap().contains(object.as_str()) {
            Vec::new()
        } else {
            vec!["pod-2".to_owned()]
        }
    }

    fn any_serves(&self, object: &Uid) -> bool {
        self.serves.lock().unwrap().contains(object.as_str())
    }

    fn ready(&self) -> Option<usize> {
        Some(1)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn uid(rig: &Rig, kind: &str, name: &str) -> String {
    let object = rig.cluster.get(kind, name).unwrap();
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn ready_means_every_ready_replica_and_removal_waits_until_all_have_stopped() {
    let other = Other::new();
    let mut setup = Setup::new(Scope::Shared);
    setup.replicas = Some(other.clone());
    let rig = setup.run();
    rig.standard();
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Dispatching",
        "False/WaitingForReplicas",
    )
    .await;
    let message = rig
        .cluster
        .raw_condition("Subscription", "shop/mail", "Ready")
        .unwrap()["message"]
        .to_string();
    assert!(message.contains("pod-2"), "{message}");
    let (channel, mail) = (
        uid(&rig, "Channel", "shop/orders"),
        uid(&rig, "Subscription", "shop/mail"),
    );
    other.set(&[&channel, &mail]);
    rig.until_ready("Subscription", "shop/mail").await;
    rig.until_ready("Channel", "shop/orders").await;
    rig.cluster.delete("Subscription", "shop/mail");
    settle().await;
    assert_eq!(rig.bus.count("unsubscribe"), 0, "pod-2 still delivers");
    other.set(&[&channel]);
    rig.until_gone("Subscription", "shop/mail").await;
}

#[tokio::test(start_paused = true)]
async fn shared_hooks_run_on_the_holder_of_the_lease_only_and_all_serve() {
    let leader = Rig::ready(Scope::Shared).await;
    settle().await;
    let writes = leader.cluster.write_count();
    let mut setup = Setup::new(Scope::Shared);
    setup.cluster = leader.cluster.follower();
    let follower = setup.run();
    settle().await;
    assert_eq!(follower.bus.calls(), Vec::<String>::new());
    assert_eq!(follower.routed("shop/mail"), leader.routed("shop/mail"));
    assert!(follower.routed("shop/mail").is_some());
    assert_eq!(
        leader.cluster.write_count(),
        writes,
        "and it writes nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn hooks_of_a_memory_bus_run_in_every_replica_and_the_lease_chooses_who_writes() {
    let leader = Rig::ready(Scope::PerReplica).await;
    settle().await;
    let writes = leader.cluster.write_count();
    let mut setup = Setup::new(Scope::PerReplica);
    setup.cluster = leader.cluster.follower();
    let follower = setup.run();
    follower.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    assert!(follower.routed("shop/mail").is_some());
    assert_eq!(leader.cluster.write_count(), writes);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_cancels_hooks_and_writing_but_never_serving() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.bus
        .fault("provision shop/slow", [crate::bus::Fault::Hangs]);
    rig.cluster.apply(
        "Channel",
        "shop/slow",
        &serde_json::json!({"clusterBus": "main"}),
    );
    rig.until_calls("provision shop/slow", 1).await;
    rig.cluster.lead(false);
    settle().await;
    let (writes, calls) = (rig.cluster.write_count(), rig.bus.calls().len());
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &serde_json::json!({"channel": "orders", "subscriber": "web"}),
    );
    settle().await;
    assert_eq!(
        (rig.cluster.write_count(), rig.bus.calls().len()),
        (writes, calls)
    );
    assert!(
        rig.routed("shop/mail").unwrap().contains("web.shop"),
        "edits take effect"
    );
    rig.cluster.lead(true);
    rig.until_ready("Channel", "shop/slow").await;
    rig.until_ready("Subscription", "shop/mail").await;
    assert_eq!(rig.bus.overlaps(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_beside_a_provisioner_runs_no_hook_and_reads_the_outcome() {
    let rig = Rig::ready(Scope::Shared).await;
    let mut setup = Setup::new(Scope::Shared);
    setup.cluster = rig.cluster.follower();
    setup.cluster.lead(true);
    setup.bus = FakeBus::new(Scope::Shared);
    setup.options.role = Role::DispatcherOnly;
    setup.options.parts = Parts::DataPlane;
    let dispatcher = setup.run();
    settle().await;
    assert_eq!(dispatcher.bus.calls(), Vec::<String>::new());
    assert!(dispatcher.routed("shop/mail").is_some());
}
