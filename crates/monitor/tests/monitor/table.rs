//! The table of hooks: when which is called.

use busway_core::bus::Scope;
use serde_json::json;

use crate::rig::{Rig, Setup, bus_spec, permanent, settle, standard, transient};

#[tokio::test(start_paused = true)]
async fn a_channel_and_its_subscription_become_ready_with_each_hook_called_once_in_order() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    let calls = rig.bus.calls();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert_eq!(calls[0], "sync_bus main");
    assert!(calls[1].starts_with("provision shop/orders uid-"));
    assert!(calls[2].starts_with("subscribe shop/mail uid-"));
    assert_eq!(
        rig.routed("shop/mail").as_deref(),
        Some("Running http://mail.shop.svc.cluster.local/")
    );
    assert!(rig.plane.routes().loaded);
}

#[tokio::test(start_paused = true)]
async fn channel_hooks_wait_until_sync_bus_has_succeeded_once() {
    let setup = Setup::new(Scope::Shared);
    setup.bus.fault(
        "sync_bus main",
        [transient("BrokerAway"), transient("BrokerAway")],
    );
    let rig = setup.run();
    rig.standard();
    rig.until_condition("ClusterBus", "main", "Synced", "False/BrokerAway")
        .await;
    assert_eq!(rig.bus.count("provision"), 0);
    rig.until_condition("Channel", "shop/orders", "Ready", "False/WaitingForBus")
        .await;
    rig.until_ready("Subscription", "shop/mail").await;
    assert_eq!(rig.bus.count("sync_bus"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_later_failure_of_sync_bus_stops_nothing_that_runs() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.bus.fault("sync_bus main", [permanent("BadSettings")]);
    let mut spec = bus_spec(&json!([]), &json!([]));
    spec["memory"]["maxMessages"] = json!(5);
    rig.cluster.apply("ClusterBus", "main", &spec);
    rig.until_condition("ClusterBus", "main", "Ready", "False/BadSettings")
        .await;
    rig.cluster
        .apply("Channel", "shop/more", &json!({"clusterBus": "main"}));
    rig.until_ready("Channel", "shop/more").await;
    assert!(rig.routed("shop/mail").is_some());
}

#[tokio::test(start_paused = true)]
async fn changed_defaults_of_the_bus_resolve_every_channel_and_subscription_anew() {
    let rig = Rig::ready(Scope::Shared).await;
    let parameters = json!([{"name": "maxAge", "default": "1h"}]);
    rig.cluster
        .apply("ClusterBus", "main", &bus_spec(&parameters, &parameters));
    rig.until_calls("provision shop/orders", 2).await;
    rig.until_calls("subscribe shop/mail", 2).await;
    assert!(
        rig.bus
            .calls()
            .iter()
            .any(|c| c.starts_with("provision") && c.ends_with("maxAge=1h"))
    );
    rig.until_ready("Channel", "shop/orders").await;
    let channel = rig.cluster.get("Channel", "shop/orders").unwrap();
    assert_eq!(
        channel["status"]["resolvedParameters"],
        json!({"maxAge": "1h"})
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_again_when_nothing_relevant_changed() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.cluster.edit_meta("Channel", "shop/orders", |meta| {
        meta["labels"] = json!({"a": "b"})
    });
    rig.cluster.relist();
    settle().await;
    assert_eq!(rig.bus.calls().len(), 3, "{:?}", rig.bus.calls());
}

#[tokio::test(start_paused = true)]
async fn hooks_are_called_again_after_a_restart_and_accepting_does_not_wait_for_them() {
    let rig = Rig::ready(Scope::Shared).await;
    settle().await;
    let bus = crate::bus::FakeBus::new(Scope::Shared);
    bus.fault(
        "provision shop/orders",
        std::iter::repeat_n(transient("Slow"), 3),
    );
    let setup = Setup {
        bus: bus.clone(),
        ..Setup::again(&rig, bus)
    };
    rig.stop().await;
    let rig = setup.run();
    rig.until_calls("provision shop/orders", 1).await;
    settle().await;
    assert!(
        rig.routed("shop/mail").is_some(),
        "it is served by what the status says"
    );
    rig.until_calls("subscribe shop/mail", 1).await;
    rig.until_ready("Channel", "shop/orders").await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_a_missing_channel_is_not_called_for_and_goes_on_when_it_comes() {
    let rig = Setup::new(Scope::Shared).run();
    rig.cluster
        .apply("ClusterBus", "main", &bus_spec(&json!([]), &json!([])));
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "mail"}),
    );
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Ready",
        "False/ChannelNotFound",
    )
    .await;
    settle().await;
    assert_eq!(rig.bus.count("subscribe"), 0);
    assert_eq!(
        rig.cluster
            .writes_of(busway_monitor::source::Kind::Subscription, "shop/mail")
            .len(),
        1
    );
    rig.cluster
        .apply("Channel", "shop/orders", &json!({"clusterBus": "main"}));
    rig.until_ready("Subscription", "shop/mail").await;
}

#[tokio::test(start_paused = true)]
async fn objects_of_another_bus_are_never_called_for_nor_written_to() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.cluster
        .apply("ClusterBus", "other", &bus_spec(&json!([]), &json!([])));
    rig.cluster
        .apply("Channel", "shop/foreign", &json!({"clusterBus": "other"}));
    rig.cluster.apply(
        "Subscription",
        "shop/foreign",
        &json!({"channel": "foreign", "subscriber": "mail"}),
    );
    settle().await;
    assert!(rig.bus.calls().iter().all(|c| !c.contains("foreign")));
    for kind in ["Channel", "Subscription"] {
        assert!(rig.cluster.get(kind, "shop/foreign").unwrap()["status"].is_null());
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_of_a_channel_that_is_not_provisioned_says_so_and_waits() {
    let setup = Setup::new(Scope::Shared);
    setup
        .bus
        .fault("provision shop/orders", [permanent("NoTopic")]);
    let rig = setup.run();
    rig.standard();
    rig.until_condition("Channel", "shop/orders", "Ready", "False/NoTopic")
        .await;
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Ready",
        "False/ChannelNotReady",
    )
    .await;
    settle().await;
    assert_eq!(
        (rig.bus.count("provision"), rig.bus.count("subscribe")),
        (1, 0)
    );
    rig.cluster.apply(
        "Channel",
        "shop/orders",
        &json!({"clusterBus": "main", "deletionPolicy": "Retain"}),
    );
    rig.until_ready("Subscription", "shop/mail").await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_may_ask_for_another_subscribe() {
    let rig = Rig::ready(Scope::Shared).await;
    let subscription = busway_core::SubscriptionRef::new("shop", "mail");
    rig.monitor.requeue_subscription(&subscription);
    rig.until_calls("subscribe shop/mail", 2).await;
    settle().await;
    assert_eq!(rig.bus.count("subscribe shop/mail"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handle_tells_what_is_provisioned() {
    let rig = Rig::ready(Scope::Shared).await;
    assert!(rig.monitor.wait_for_cache_sync().await.is_ok());
    assert!(rig.monitor.channel("shop", "orders").is_some());
    assert!(rig.monitor.channel("shop", "nothing").is_none());
    assert!(rig.monitor.subscription("shop", "mail").is_some());
    let all = rig.monitor.subscriptions("shop", "orders").unwrap();
    assert_eq!(all.len(), 1);
    let unknown = rig.monitor.subscriptions("shop", "nothing").unwrap_err();
    assert_eq!(unknown.reason(), "UnknownChannel");
    let monitor = rig.monitor.clone();
    let cluster = rig.stop().await;
    assert!(monitor.wait_for_cache_sync().await.is_err(), "it ended");
    drop(cluster);
}

#[tokio::test(start_paused = true)]
async fn hooks_of_one_key_never_overlap_and_others_run_beside_them_within_the_bound() {
    let mut setup = Setup::new(Scope::Shared);
    setup.bus = crate::bus::FakeBus::slow(Scope::Shared, std::time::Duration::from_secs(1));
    setup.concurrency = 8;
    let rig = setup.run();
    standard(&rig.cluster);
    for n in 0..50 {
        let name = format!("shop/s{n}");
        rig.cluster.apply(
            "Subscription",
            &name,
            &json!({"channel": "orders", "subscriber": "mail"}),
        );
    }
    rig.until_calls("subscribe", 10).await;
    // Edits while hooks run.
    for n in 0..50 {
        let name = format!("shop/s{n}");
        let spec =
            json!({"channel": "orders", "subscriber": "mail", "delivery": {"timeout": "7s"}});
        rig.cluster.apply("Subscription", &name, &spec);
    }
    for n in 0..50 {
        rig.until_ready("Subscription", &format!("shop/s{n}")).await;
    }
    assert_eq!(rig.bus.overlaps(), Vec::<String>::new());
    assert_eq!(rig.bus.most_at_once(), 8);
}
