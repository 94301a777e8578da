//! Hooks that fail, panic and hang.

use std::time::Duration;

use busway_core::bus::Scope;
use busway_monitor::source::Severity;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    bus::Fault,
    rig::{Setup, bus_spec, permanent, settle, transient},
};

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_in_condition_and_event_and_tried_again_ever_less_often() {
    let setup = Setup::new(Scope::Shared);
    setup.bus.fault(
        "provision shop/orders",
        std::iter::repeat_n(transient("BrokerAway"), 9),
    );
    let rig = setup.run();
    rig.standard();
    rig.until_condition("Channel", "shop/orders", "Provisioned", "False/BrokerAway")
        .await;
    let started = Instant::now();
    rig.until_ready("Channel", "shop/orders").await;
    assert_eq!(rig.bus.count("provision shop/orders"), 10);
    let took = started.elapsed();
    // 1 + 2 + … + 256 s, jittered down to the half.
    assert!(
        took > Duration::from_secs(250) && took < Duration::from_secs(520),
        "{took:?}"
    );
    let notes = rig.cluster.notes();
    let warnings: Vec<_> = notes
        .iter()
        .filter(|n| n.severity == Severity::Warning)
        .collect();
    assert_eq!(warnings.len(), 1, "repeats are one event: {warnings:?}");
    assert_eq!(
        (warnings[0].reason.as_str(), warnings[0].action),
        ("SyncFailed", "Provision")
    );
    assert!(warnings[0].message.contains("not now"));
    assert!(
        notes
            .iter()
            .any(|n| n.reason == "Synced" && n.regarding.name == "orders")
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_cannot_mend_waits_for_a_change_of_the_object_or_the_bus() {
    let setup = Setup::new(Scope::Shared);
    setup.bus.fault(
        "subscribe shop/mail",
        [permanent("BadCursor"), permanent("BadCursor")],
    );
    let rig = setup.run();
    rig.standard();
    rig.until_condition("Subscription", "shop/mail", "Ready", "False/BadCursor")
        .await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(rig.bus.count("subscribe"), 1);
    let mut spec = bus_spec(&json!([]), &json!([]));
    spec["memory"]["maxMessages"] = json!(7);
    rig.cluster.apply("ClusterBus", "main", &spec);
    rig.until_calls("subscribe shop/mail", 2).await;
    settle().await;
    assert_eq!(rig.bus.count("subscribe"), 2);
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_ready("Subscription", "shop/mail").await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_spec_does_not_wait_for_the_backoff() {
    let setup = Setup::new(Scope::Shared);
    setup.bus.fault(
        "subscribe shop/mail",
        std::iter::repeat_n(transient("BrokerAway"), 12),
    );
    let rig = setup.run();
    rig.standard();
    rig.until_calls("subscribe shop/mail", 12).await;
    let edited = Instant::now();
    rig.cluster.apply(
        "Subscription",
        "shop/mail",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_ready("Subscription", "shop/mail").await;
    assert!(
        edited.elapsed() < Duration::from_secs(5),
        "{:?}",
        edited.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_hang_count_as_failures_and_stop_nobody_else() {
    let setup = Setup::new(Scope::Shared);
    setup
        .bus
        .fault("subscribe shop/mail", [Fault::Panics, Fault::Hangs]);
    let rig = setup.run();
    rig.standard();
    rig.cluster.apply(
        "Subscription",
        "shop/other",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Subscribed",
        "False/HookPanicked",
    )
    .await;
    rig.until_ready("Subscription", "shop/other").await;
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Subscribed",
        "False/HookTimedOut",
    )
    .await;
    rig.until_ready("Subscription", "shop/mail").await;
    assert_eq!(rig.bus.overlaps(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn run_ends_only_when_hooks_in_flight_have_ended() {
    let mut setup = Setup::new(Scope::Shared);
    setup.bus = crate::bus::FakeBus::slow(Scope::Shared, Duration::from_secs(20));
    let bus = setup.bus.clone();
    let rig = setup.run();
    rig.standard();
    rig.until_calls("provision", 1).await;
    let began = Instant::now();
    rig.stop().await;
    assert!(
        began.elapsed() > Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(bus.count("subscribe"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_is_never_remembered_as_done() {
    let setup = Setup::new(Scope::Shared);
    setup
        .bus
        .fault("provision shop/orders", [permanent("NoTopic")]);
    let rig = setup.run();
    rig.standard();
    rig.until_condition("Channel", "shop/orders", "Ready", "False/NoTopic")
        .await;
    settle().await;
    assert!(rig.monitor.channel("shop", "orders").is_none());
    let route = rig
        .plane
        .routes()
        .channel("shop/orders")
        .map(|c| c.accepting);
    assert_eq!(route, Some(busway_core::routes::Accepting::NotProvisioned));
    // It may have made half of it: removed when the channel is.
    rig.cluster.delete("Channel", "shop/orders");
    rig.until_gone("Channel", "shop/orders").await;
    assert_eq!(rig.bus.count("unprovision shop/orders"), 1);
}
