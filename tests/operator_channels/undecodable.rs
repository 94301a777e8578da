//! Objects of a form that this version does not know: definitions newer than the operator.

use busway::operator::args::{ChannelService, Scope};
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};
use serde_json::Value;

use crate::support::{
    DEADLINE, Running, bus, channel, condition, get, gone, looks, prepared, says, settings,
    subscription,
};

const WORKLOAD: &str = "deployment/main-bus-dispatcher";

/// As a newer version's definition would: one more value of an enum.
async fn a_newer_value(control: &ControlPlane, kind: &str, field: &str, value: &str) {
    let field = field.replace('.', "/properties/");
    let at = format!(
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum/-"
    );
    let patch = format!(r#"[{{"op": "add", "path": "{at}", "value": "{value}"}}]"#);
    let definition = format!("{kind}.channels.busway.dev");
    let patch = ["patch", "crd", &definition, "--type=json", "-p", &patch];
    control.kubectl_ok(&patch).await.unwrap();
}

/// Applies it; the API server takes a definition up a little later.
async fn apply(namespace: &Namespace, yaml: &str) {
    wait::until("the newer form is taken", DEADLINE, || {
        namespace.apply_yaml(yaml)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_says_so_is_left_as_it_is_and_stops_nobody() {
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    for (kind, field, value) in [
        ("buses", "memory.whenFull", "spill"),
        ("channels", "deletionPolicy", "Archive"),
        ("subscriptions", "delivery.onGone", "forget"),
    ] {
        a_newer_value(&control, kind, field, value).await;
    }
    let namespace = control.namespace("newer").await.unwrap();
    let settings = || settings(ChannelService::Auto, Scope::All);
    let operator = Running::start(&control, settings(), "busway-operator").await;
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    says(
        &namespace,
        "bus/main",
        "Dispatching",
        "False",
        "Unavailable",
    )
    .await;
    let made = get(&namespace, WORKLOAD).await.unwrap();

    let newer_bus = |name: &str| {
        bus("Bus", name, "").replace("memory: {}", "memory: {whenFull: spill}, replicas: 3")
    };
    let newer_channel = channel("newer", "bus: main, deletionPolicy: Archive");
    let newer_subscription = subscription("newer", "orders").replace(
        "subscriber: sink",
        "subscriber: sink, delivery: {onGone: forget}",
    );
    apply(&namespace, &newer_bus("newer")).await;
    apply(&namespace, &newer_bus("main")).await;
    apply(&namespace, &newer_channel).await;
    apply(&namespace, &newer_subscription).await;
    // Made after them, on the same bus.
    let orders = channel("orders", "bus: main");
    namespace.apply_yaml(&orders).await.unwrap();

    holds(&namespace, &made).await;
    operator.end().await;
    let operator = Running::start(&control, settings(), "busway-operator").await;
    // What was put back shows that it works again.
    namespace
        .kubectl_ok(&["delete", "service/orders-channel"])
        .await
        .unwrap();
    looks(&namespace, "service/orders-channel", "is put back", |_| {
        true
    })
    .await;
    holds(&namespace, &made).await;

    // Deleted, it waits for its channels like any other, and goes like any other.
    for doomed in ["bus/newer", "subscription/newer"] {
        namespace
            .kubectl_ok(&["delete", doomed, "--timeout=60s"])
            .await
            .unwrap();
    }
    namespace
        .kubectl_ok(&["delete", "bus/main", "--wait=false"])
        .await
        .unwrap();
    let why = says(
        &namespace,
        "bus/main",
        "DeletionBlocked",
        "True",
        "ChannelsRemain",
    )
    .await;
    assert!(why.starts_with("2 channels on it"), "{why}");
    // Corrected, it is what it says again.
    let good = channel("newer", "bus: main, deletionPolicy: Delete");
    namespace.apply_yaml(&good).await.unwrap();
    looks(&namespace, "channel/newer", "is read again", |found| {
        condition(found, "Accepted").is_some_and(|c| c["reason"] != "Undecodable")
    })
    .await;
    namespace
        .kubectl_ok(&["delete", "channel", "--all", "--timeout=60s"])
        .await
        .unwrap();
    gone(&namespace, "bus/main").await;
    gone(&namespace, WORKLOAD).await;
    operator.end().await;
}

/// What cannot be read says so, what serves is what it was, and others go on.
async fn holds(namespace: &Namespace, made: &Value) {
    for newer in ["channel/newer", "subscription/newer"] {
        let why = says(namespace, newer, "Accepted", "False", "Undecodable").await;
        assert!(why.contains("Archive") || why.contains("forget"), "{why}");
        says(namespace, newer, "Ready", "False", "Undecodable").await;
    }
    let why = says(
        namespace,
        "bus/newer",
        "Dispatching",
        "False",
        "Undecodable",
    )
    .await;
    assert!(why.contains("nothing is made for it"), "{why}");
    let nothing = get(namespace, "deployment/newer-bus-dispatcher").await;
    nothing.unwrap_err();
    let why = says(
        namespace,
        "bus/main",
        "Dispatching",
        "Unknown",
        "Undecodable",
    )
    .await;
    assert!(
        why.contains("left as it is") && why.contains("spill"),
        "{why}"
    );
    let left = get(namespace, WORKLOAD).await.unwrap();
    for field in ["uid", "generation"] {
        assert_eq!(left["metadata"][field], made["metadata"][field], "{field}");
    }
    says(namespace, "channel/orders", "Accepted", "True", "Accepted").await;
    looks(namespace, "service/orders-channel", "is there", |_| true).await;
}
