//! Status: one writer, one write, only when it differs.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use busway_core::{bus::Scope, routes::Accepting, serving::Health, world::Clock};
use busway_monitor::{
    Orphans,
    source::{Kind, WriteError},
};
use serde_json::json;
use tokio::time::Instant;

use crate::rig::{Rig, Setup, bus_spec, settle, standard};

#[tokio::test(start_paused = true)]
async fn from_apply_to_ready_there_is_one_write_and_a_restart_writes_nothing() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    for (kind, name) in [
        (Kind::Channel, "shop/orders"),
        (Kind::Subscription, "shop/mail"),
    ] {
        let writes = rig.cluster.writes_of(kind, name);
        assert_eq!(writes.len(), 1, "{writes:#?}");
    }
    let before = rig.cluster.write_count();
    let setup = Setup::again(&rig, crate::bus::FakeBus::new(Scope::Shared));
    rig.stop().await;
    let rig = setup.run();
    rig.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    assert_eq!(rig.cluster.write_count(), before);
    assert_eq!(
        rig.cluster
            .notes()
            .iter()
            .filter(|n| n.regarding.name == "mail")
            .count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_is_told_meanwhile() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.plane.stick(true);
    rig.cluster.apply(
        "Subscription",
        "shop/late",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_condition(
        "Subscription",
        "shop/late",
        "Ready",
        "False/WaitingForReplicas",
    )
    .await;
    rig.plane.stick(false);
    rig.until_ready("Subscription", "shop/late").await;
}

#[tokio::test(start_paused = true)]
async fn a_status_holds_addresses_counts_and_the_generation() {
    let rig = Rig::ready(Scope::Shared).await;
    let bus = rig.cluster.get("ClusterBus", "main").unwrap();
    assert_eq!(
        bus["status"]["address"],
        json!({"url": "http://127.0.0.1:8080"})
    );
    rig.until_ready("ClusterBus", "main").await;
    rig.until_condition("ClusterBus", "main", "Durable", "False/InMemory")
        .await;
    let channel = rig.cluster.get("Channel", "shop/orders").unwrap();
    assert_eq!(
        channel["status"]["addresses"],
        json!([
            {"name": "path", "url": "http://127.0.0.1:8080/shop/orders"},
            {"name": "host", "url": "http://orders-channel.shop.svc.cluster.local"},
        ])
    );
    assert_eq!(
        (
            &channel["status"]["subscriptions"],
            &channel["status"]["observedGeneration"]
        ),
        (&json!(1), &json!(1))
    );
    rig.cluster.apply(
        "Subscription",
        "shop/two",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    settle().await;
    settle().await;
    let channel = rig.cluster.get("Channel", "shop/orders").unwrap();
    assert_eq!(channel["status"]["subscriptions"], json!(2));
    let subscription = rig.cluster.get("Subscription", "shop/mail").unwrap();
    assert_eq!(
        subscription["status"]["subscriberUrl"],
        "http://mail.shop.svc.cluster.local/"
    );
}

#[tokio::test(start_paused = true)]
async fn writes_that_meet_a_conflict_or_an_absent_server_are_repeated_and_refused_ones_are_not() {
    let setup = Setup::new(Scope::Shared);
    let away = || WriteError::Unavailable("503".to_owned());
    setup
        .cluster
        .fail_writes("shop/orders", vec![away(), WriteError::Conflict, away()]);
    setup
        .cluster
        .fail_writes("shop/mail", vec![WriteError::Refused("no".to_owned())]);
    let rig = setup.run();
    rig.standard();
    rig.until_ready("Channel", "shop/orders").await;
    settle().await;
    assert_eq!(rig.monitor.refused_writes(), 1);
    assert!(rig.cluster.get("Subscription", "shop/mail").unwrap()["status"].is_null());
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_ready("Subscription", "shop/mail").await;
}

#[tokio::test(start_paused = true)]
async fn a_condition_keeps_its_time_while_its_status_is_the_same() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    let at = |rig: &Rig| {
        rig.cluster
            .raw_condition("Subscription", "shop/mail", "Ready")
            .unwrap()["lastTransitionTime"]
            .clone()
    };
    let first = at(&rig);
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    settle().await;
    let ready = rig
        .cluster
        .raw_condition("Subscription", "shop/mail", "Ready")
        .unwrap();
    assert_eq!(ready["observedGeneration"], json!(2));
    assert_eq!(at(&rig), first);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_wiped_is_written_again_and_other_edits_write_nothing() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    let writes = || rig.cluster.writes_of(Kind::Channel, "shop/orders").len();
    let before = writes();
    rig.cluster.edit_meta("Channel", "shop/orders", |meta| {
        meta["annotations"] = json!({"a": "b"});
    });
    settle().await;
    assert_eq!(writes(), before);
    rig.cluster.wipe_status("Channel", "shop/orders");
    rig.until_ready("Channel", "shop/orders").await;
    assert_eq!(writes(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_status_is_not_written_again_because_the_watch_lags() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    let writes = || rig.cluster.writes_of(Kind::Channel, "shop/orders").len();
    let before = writes();
    rig.cluster.wipe_status("Channel", "shop/orders");
    rig.cluster.lag();
    for _ in 0..2 {
        settle().await;
        assert_eq!(writes(), before + 1);
    }
    rig.cluster.catch_up();
    settle().await;
    assert_eq!(writes(), before + 1);
    // One that was undone before it was seen is written again all the same.
    rig.cluster.wipe_status("Channel", "shop/orders");
    rig.cluster.lag();
    settle().await;
    rig.cluster.wipe_status("Channel", "shop/orders");
    rig.cluster.catch_up();
    rig.until_ready("Channel", "shop/orders").await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_subscriber_is_told_and_is_no_part_of_ready() {
    let rig = Rig::ready(Scope::Shared).await;
    let uid = rig.cluster.get("Subscription", "shop/mail").unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    rig.plane.set_health(
        &uid,
        Health {
            failing_since: Some(std::time::SystemTime::now() - Duration::from_secs(90)),
            last_error: Some("503".to_owned()),
            ..Health::default()
        },
    );
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Delivering",
        "False/SubscriberFailing",
    )
    .await;
    rig.until_ready("Subscription", "shop/mail").await;
    rig.plane.set_health(&uid, Health::default());
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Delivering",
        "True/SubscriberAnswers",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_of_no_bus_is_put_on_the_default_one_and_of_an_unknown_bus_says_so() {
    let rig = Setup::new(Scope::Shared).run();
    rig.cluster.apply("Channel", "shop/orders", &json!({}));
    rig.cluster
        .apply("Channel", "shop/lost", &json!({"clusterBus": "nowhere"}));
    rig.until_condition("Channel", "shop/orders", "Ready", "False/NoDefaultBus")
        .await;
    rig.until_condition("Channel", "shop/lost", "Ready", "False/BusNotFound")
        .await;
    rig.cluster
        .apply("ClusterBus", "main", &bus_spec(&json!([]), &json!([])));
    rig.cluster.edit_meta("ClusterBus", "main", |meta| {
        meta["annotations"] = json!({"channels.busway.dev/is-default-bus": "true"});
    });
    rig.until_ready("Channel", "shop/orders").await;
    assert_eq!(
        rig.cluster.get("Channel", "shop/orders").unwrap()["spec"]["clusterBus"],
        "main"
    );
}

#[tokio::test(start_paused = true)]
async fn what_no_bus_owns_is_left_to_the_one_who_writes_for_it() {
    let mut setup = Setup::new(Scope::Shared);
    setup.options.orphans = Orphans::NotMine;
    let rig = setup.run();
    standard(&rig.cluster);
    rig.cluster
        .apply("Channel", "shop/lost", &json!({"clusterBus": "nowhere"}));
    rig.until_ready("Subscription", "shop/mail").await;
    settle().await;
    assert!(rig.cluster.get("Channel", "shop/lost").unwrap()["status"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_allowed_gets_no_channel_and_one_that_was_goes_on() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.cluster.namespace("farm", &json!({"team": "farm"}));
    let mut spec = bus_spec(&json!([]), &json!([]));
    spec["allowedNamespaces"] = json!({"matchLabels": {"team": "none"}});
    rig.cluster.apply("ClusterBus", "main", &spec);
    rig.cluster
        .apply("Channel", "farm/milk", &json!({"clusterBus": "main"}));
    rig.until_condition("Channel", "farm/milk", "Ready", "False/NamespaceNotAllowed")
        .await;
    rig.until_condition(
        "Channel",
        "shop/orders",
        "Accepted",
        "False/NamespaceNotAllowed",
    )
    .await;
    settle().await;
    assert_eq!(rig.bus.count("provision farm/milk"), 0);
    assert!(rig.routed("shop/mail").is_some());
    rig.cluster.namespace("farm", &json!({"team": "none"}));
    rig.until_ready("Channel", "farm/milk").await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_no_longer_allowed_takes_messages_until_its_grace_is_over() {
    /// A wall clock that goes with tokio's.
    struct Going(SystemTime, Instant);
    impl Clock for Going {
        fn now(&self) -> SystemTime {
            self.0 + self.1.elapsed()
        }
    }
    let mut setup = Setup::new(Scope::Shared);
    setup.options.clock = Arc::new(Going(SystemTime::now(), Instant::now()));
    let rig = setup.run();
    rig.standard();
    rig.until_ready("Channel", "shop/orders").await;
    rig.until_ready("Subscription", "shop/mail").await;
    let accepting = || {
        let routes = rig.plane.routes();
        routes.channel("shop/orders").map(|c| c.accepting)
    };
    let mut spec = bus_spec(&json!([]), &json!([]));
    spec["allowedNamespaces"] = json!({"matchLabels": {"team": "none"}});
    spec["revokeGrace"] = json!("1h");
    rig.cluster.apply("ClusterBus", "main", &spec);
    rig.until_condition(
        "Channel",
        "shop/orders",
        "Accepted",
        "False/NamespaceNotAllowed",
    )
    .await;
    settle().await;
    assert_eq!(accepting(), Some(Accepting::Yes));
    tokio::time::sleep(Duration::from_mins(59)).await;
    assert_eq!(accepting(), Some(Accepting::Yes));
    tokio::time::sleep(Duration::from_mins(2)).await;
    rig.until_condition(
        "Channel",
        "shop/orders",
        "Routable",
        "False/NamespaceNotAllowed",
    )
    .await;
    assert_eq!(accepting(), Some(Accepting::Revoked));
    assert!(
        rig.routed("shop/mail").is_some(),
        "what was taken is delivered"
    );
    rig.cluster.namespace("shop", &json!({"team": "none"}));
    rig.until_ready("Channel", "shop/orders").await;
    assert_eq!(accepting(), Some(Accepting::Yes));
}
