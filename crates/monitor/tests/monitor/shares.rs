//! Totals among replicas, and what else is around a process.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_core::{
    Uid,
    bus::Scope,
    egress::{Bundle, Surroundings},
    gate::MaxInFlight,
    routes::SubscriptionRoute,
};
use busway_monitor::Replicas;
use serde_json::json;
use tokio::sync::watch;

use crate::rig::{Rig, Setup, settle, standard};

/// Other replicas that have loaded everything.
struct Others {
    there: Mutex<Option<Vec<IpAddr>>>,
    changed: watch::Sender<u64>,
}

impl Others {
    fn new(there: Option<u8>) -> Arc<Self> {
        let others = Self {
            there: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        if let Some(there) = there {
            others.are(there);
        }
        Arc::new(others)
    }

    fn are(&self, there: u8) {
        let all = (1..=there).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        *self.there.lock().unwrap() = Some(all);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Replicas for Others {
    fn without(&self, _: &Uid, _: i64) -> Vec<String> {
        Vec::new()
    }

    fn any_serves(&self, _: &Uid) -> bool {
        false
    }

    fn ready(&self) -> Option<usize> {
        self.there.lock().unwrap().as_ref().map(Vec::len)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.there.lock().unwrap().clone().unwrap_or_default()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn limited(rig: &Rig) {
    standard(&rig.cluster);
    let delivery = json!({"maxInFlight": 9, "rate": {"perSecond": 6.0, "burst": 4}});
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "mail", "delivery": delivery}),
    );
    let auto = json!({"maxInFlight": "auto"});
    rig.cluster.apply(
        "Subscription",
        "shop/auto",
        &json!({"channel": "orders", "subscriber": "auto", "delivery": auto}),
    );
}

fn route(rig: &Rig, name: &str) -> Arc<SubscriptionRoute> {
    let routes = rig.plane.routes();
    let mut all = routes.subscriptions();
    let found = all.find(|s| s.subscription.name() == name);
    Arc::clone(found.unwrap())
}

/// In flight, a second, at once; messages in a queue.
fn limits(rig: &Rig) -> (MaxInFlight, f64, u32, usize) {
    let policy = &route(rig, "mail").policy;
    let rate = policy.rate.unwrap();
    let memory = rig.bus.memory().unwrap();
    (
        policy.max_in_flight,
        rate.per_second,
        rate.burst,
        memory.max_messages,
    )
}

async fn ready(setup: Setup) -> Rig {
    let rig = setup.run();
    limited(&rig);
    rig.until_ready("Subscription", "shop/mail").await;
    rig.until_ready("Subscription", "shop/auto").await;
    rig
}

#[tokio::test(start_paused = true)]
async fn two_monitors_keep_to_a_total_together_and_one_alone_has_it_whole() {
    let alone = ready(Setup::new(Scope::PerReplica)).await;
    let whole = (MaxInFlight::Number(9), 6.0, 4, 10_000);
    assert_eq!(limits(&alone), whole);
    let (one, other) = (Others::new(Some(1)), Others::new(Some(1)));
    let mut setup = Setup::new(Scope::PerReplica);
    setup.replicas = Some(one.clone());
    let first = ready(setup).await;
    let mut setup = Setup::new(Scope::PerReplica);
    setup.cluster = first.cluster.follower();
    setup.replicas = Some(other);
    let second = setup.run();
    second.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    let half = (MaxInFlight::Number(4), 3.0, 2, 5_000);
    assert_eq!((limits(&first), limits(&second)), (half, half));
    // The second goes: what is left has the total, when it has stayed away.
    one.are(0);
    settle().await;
    assert_eq!(limits(&first), half);
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!(limits(&first), whole);
}

#[tokio::test(start_paused = true)]
async fn routes_change_only_by_numbers_that_stay_and_only_where_there_is_a_total() {
    let others = Others::new(Some(2));
    let mut setup = Setup::new(Scope::PerReplica);
    setup.replicas = Some(others.clone());
    let rig = ready(setup).await;
    settle().await;
    let (mail, auto) = (route(&rig, "mail"), route(&rig, "auto"));
    assert_eq!(mail.policy.max_in_flight, MaxInFlight::Number(3));
    assert_eq!(auto.policy.max_in_flight, MaxInFlight::Auto);
    // A rolling update: one more, each time for a moment.
    for _ in 0..3 {
        others.are(3);
        tokio::time::sleep(Duration::from_secs(2)).await;
        others.are(2);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(Arc::ptr_eq(&route(&rig, "mail"), &mail));
    others.are(8);
    settle().await;
    assert_eq!(
        limits(&rig),
        (MaxInFlight::Number(1), 6.0 / 9.0, 1, 10_000 / 9)
    );
    assert!(Arc::ptr_eq(&route(&rig, "auto"), &auto));
}

#[tokio::test(start_paused = true)]
async fn until_the_others_are_known_there_are_as_many_as_the_bus_asks_for() {
    let others = Others::new(None);
    let mut setup = Setup::new(Scope::PerReplica);
    setup.replicas = Some(others.clone());
    let rig = setup.run();
    limited(&rig);
    rig.cluster
        .apply("ClusterBus", "main", &json!({"memory": {}, "replicas": 3}));
    rig.until_ready("Subscription", "shop/mail").await;
    settle().await;
    assert_eq!(limits(&rig).0, MaxInFlight::Number(3));
    others.are(0);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(limits(&rig).0, MaxInFlight::Number(9));
}

#[tokio::test(start_paused = true)]
async fn in_a_rolling_update_neither_the_new_nor_the_leaving_replica_counts_both() {
    let whole = (MaxInFlight::Number(9), 6.0, 4, 10_000);
    let others = Others::new(Some(1));
    let mut setup = Setup::new(Scope::PerReplica);
    setup.replicas = Some(others.clone());
    let rig = setup.run();
    limited(&rig);
    rig.cluster
        .apply("ClusterBus", "main", &json!({"memory": {}, "replicas": 1}));
    rig.until_ready("Subscription", "shop/mail").await;
    assert_eq!(limits(&rig), whole, "the old one is still there");
    others.are(0);
    let mail = route(&rig, "mail");
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Its own successor is ready, and it drains.
    others.are(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.monitor.leave();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(limits(&rig), whole);
    assert!(Arc::ptr_eq(&route(&rig, "mail"), &mail));
}

#[tokio::test(start_paused = true)]
async fn what_is_around_a_process_and_a_bundle_that_changes_reach_the_routes_and_the_status() {
    let (around, seen) = watch::channel(Arc::<Surroundings>::default());
    let others = Others::new(Some(1));
    let mut setup = Setup::new(Scope::PerReplica);
    setup.options.around = seen;
    setup.replicas = Some(others.clone());
    let rig = ready(setup).await;
    let egress = || rig.plane.routes().egress.clone();
    assert_eq!(egress().replicas, [IpAddr::from([10, 0, 0, 1])]);
    assert_eq!(egress().authorities.len(), 0);
    let tell = |authorities: &[&[u8]], problem: Option<&str>| {
        around.send_replace(Arc::new(Surroundings {
            pod: vec![[10, 0, 0, 9].into()],
            bundle: Some(Bundle {
                authorities: Arc::new(authorities.iter().map(|der| der.to_vec()).collect()),
                problem: problem.map(str::to_owned),
            }),
            ..Surroundings::default()
        }));
    };
    let bundled = json!({"memory": {}, "egress": {"caBundle": {"configMap": "cas"}}});
    rig.cluster.apply("ClusterBus", "main", &bundled);
    let no = "False/CaBundleInvalid";
    rig.until_condition("ClusterBus", "main", "Synced", no)
        .await;
    tell(&[b"one"], None);
    rig.until_condition("ClusterBus", "main", "Synced", "True/Synced")
        .await;
    assert_eq!(*egress().authorities, [b"one"]);
    assert_eq!(egress().around.pod, [IpAddr::from([10, 0, 0, 9])]);
    tell(&[b"one"], Some("certificate 2 is not in PEM form"));
    rig.until_condition("ClusterBus", "main", "Synced", no)
        .await;
    let message = rig
        .cluster
        .raw_condition("ClusterBus", "main", "Synced")
        .unwrap()["message"]
        .to_string();
    assert!(message.contains("cas") && message.contains("certificate 2"));
    assert_eq!(*egress().authorities, [b"one"], "it goes on");
    rig.until_ready("Channel", "shop/orders").await;
    // Without the field nothing of it is left, whatever is still mounted.
    rig.cluster
        .apply("ClusterBus", "main", &json!({"memory": {}}));
    rig.until_condition("ClusterBus", "main", "Synced", "True/Synced")
        .await;
    settle().await;
    assert_eq!(egress().authorities.len(), 0);
    others.are(2);
    settle().await;
    assert_eq!(egress().replicas.len(), 2);
}
