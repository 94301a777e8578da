//! Deletion: in every order, with everything removed from the bus before the object goes.

use std::time::Duration;

use busway_core::bus::Scope;
use serde_json::json;

use crate::{
    bus::FakeBus,
    rig::{Rig, Setup, settle, standard, transient},
};

fn position(rig: &Rig, call: &str) -> usize {
    let calls = rig.bus.calls();
    let found = calls.iter().position(|c| c.starts_with(call));
    found.unwrap_or_else(|| panic!("{call} is not in {calls:?}"))
}

#[tokio::test(start_paused = true)]
async fn finalizers_are_put_on_before_the_first_hook_and_go_after_the_last() {
    let rig = Rig::ready(Scope::Shared).await;
    let finalizers =
        |kind, name| rig.cluster.get(kind, name).unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(
        finalizers("Channel", "shop/orders"),
        json!(["channels.busway.dev/provisioned"])
    );
    assert_eq!(
        finalizers("Subscription", "shop/mail"),
        json!(["channels.busway.dev/subscribed"])
    );
    rig.cluster.delete("Subscription", "shop/mail");
    rig.until_gone("Subscription", "shop/mail").await;
    rig.cluster.delete("Channel", "shop/orders");
    rig.until_gone("Channel", "shop/orders").await;
    assert!(position(&rig, "unsubscribe shop/mail") < position(&rig, "unprovision shop/orders"));
    assert!(rig.plane.routes().channels.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_channel_first_unsubscribes_its_subscriptions_which_stay_and_come_back_with_it() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.cluster.delete("Channel", "shop/orders");
    rig.until_gone("Channel", "shop/orders").await;
    assert!(position(&rig, "unsubscribe shop/mail") < position(&rig, "unprovision shop/orders"));
    rig.until_condition(
        "Subscription",
        "shop/mail",
        "Accepted",
        "False/ChannelNotFound",
    )
    .await;
    settle().await;
    let left = rig.cluster.get("Subscription", "shop/mail").unwrap();
    assert_eq!(
        left["metadata"]["finalizers"],
        json!([]),
        "nothing holds it"
    );
    rig.cluster
        .apply("Channel", "shop/orders", &json!({"clusterBus": "main"}));
    rig.until_ready("Subscription", "shop/mail").await;
    assert_eq!(rig.bus.count("subscribe shop/mail"), 2);
}

#[tokio::test(start_paused = true)]
async fn everything_deleted_at_once_goes_in_order() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.cluster.delete("ClusterBus", "main");
    rig.cluster.delete("Channel", "shop/orders");
    rig.cluster.delete("Subscription", "shop/mail");
    rig.until_gone("Channel", "shop/orders").await;
    rig.until_gone("Subscription", "shop/mail").await;
    assert!(position(&rig, "unsubscribe shop/mail") < position(&rig, "unprovision shop/orders"));
}

#[tokio::test(start_paused = true)]
async fn a_memory_bus_takes_no_finalizers_and_still_removes_what_it_made() {
    let rig = Rig::ready(Scope::PerReplica).await;
    let channel = rig.cluster.get("Channel", "shop/orders").unwrap();
    assert!(channel["metadata"]["finalizers"].is_null());
    rig.cluster.delete("Channel", "shop/orders");
    rig.until_calls("unprovision shop/orders", 1).await;
    assert!(position(&rig, "unsubscribe shop/mail") < position(&rig, "unprovision shop/orders"));
}

#[tokio::test(start_paused = true)]
async fn a_channel_made_again_between_two_looks_is_removed_and_then_provisioned() {
    let rig = Rig::ready(Scope::PerReplica).await;
    rig.cluster.vanish_quietly("Channel", "shop/orders");
    rig.cluster
        .apply("Channel", "shop/orders", &json!({"clusterBus": "main"}));
    rig.until_calls("provision shop/orders", 2).await;
    rig.until_calls("subscribe shop/mail", 2).await;
    rig.until_ready("Subscription", "shop/mail").await;
    let calls = rig.bus.calls();
    let names: Vec<_> = calls.iter().map(|c| c.split(' ').next().unwrap()).collect();
    assert_eq!(
        names[3..],
        ["unsubscribe", "unprovision", "provision", "subscribe"],
        "{calls:?}"
    );
    assert_ne!(
        calls[4].split(' ').nth(2),
        calls[5].split(' ').nth(2),
        "other identities"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_nobody_ran_is_removed_when_a_process_is_back() {
    let rig = Rig::ready(Scope::Shared).await;
    let cluster = rig.stop().await;
    cluster.delete("Channel", "shop/orders");
    cluster.delete("Subscription", "shop/mail");
    let bus = FakeBus::new(Scope::Shared);
    let setup = Setup {
        cluster,
        bus,
        ..Setup::new(Scope::Shared)
    };
    let rig = setup.run();
    rig.until_gone("Channel", "shop/orders").await;
    rig.until_gone("Subscription", "shop/mail").await;
    assert!(position(&rig, "unsubscribe shop/mail") < position(&rig, "unprovision shop/orders"));
    assert_eq!(rig.bus.count("provision shop/orders"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_waits_for_its_last_subscription_goes_on_when_that_is_told_gone_first() {
    let rig = Rig::ready(Scope::Shared).await;
    let cluster = rig.stop().await;
    cluster.answer_after(Duration::from_secs(1));
    cluster.delete("Channel", "shop/orders");
    cluster.delete("Subscription", "shop/mail");
    let setup = Setup {
        cluster,
        bus: FakeBus::new(Scope::Shared),
        ..Setup::new(Scope::Shared)
    };
    let rig = setup.run();
    rig.until_gone("Subscription", "shop/mail").await;
    rig.until_gone("Channel", "shop/orders").await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_unprovision_keeps_the_channel_and_says_why() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.bus.fault(
        "unprovision shop/orders",
        std::iter::repeat_n(transient("BrokerAway"), 4),
    );
    rig.cluster.delete("Channel", "shop/orders");
    rig.until_condition("Channel", "shop/orders", "Provisioned", "False/BrokerAway")
        .await;
    rig.until_gone("Channel", "shop/orders").await;
    assert_eq!(rig.bus.count("unprovision shop/orders"), 5);
}

#[tokio::test(start_paused = true)]
async fn unsubscribe_waits_until_the_replica_has_stopped_but_not_for_ever() {
    let rig = Rig::ready(Scope::Shared).await;
    rig.plane.stick(true);
    rig.cluster.delete("Subscription", "shop/mail");
    settle().await;
    assert_eq!(rig.bus.count("unsubscribe"), 0);
    rig.until_calls("unsubscribe shop/mail", 1).await;
    rig.until_gone("Subscription", "shop/mail").await;

    rig.cluster.delete("Channel", "shop/orders");
    settle().await;
    assert_eq!(rig.bus.count("unprovision"), 0);
    rig.plane.stick(false);
    settle().await;
    assert_eq!(rig.bus.count("unprovision"), 1);
    rig.until_gone("Channel", "shop/orders").await;
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_that_meets_a_conflict_is_written_with_the_newer_version() {
    let setup = Setup::new(Scope::Shared);
    setup.cluster.conflict(3);
    let rig = setup.run();
    standard(&rig.cluster);
    rig.until_ready("Subscription", "shop/mail").await;
}
