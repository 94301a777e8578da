use busway::operator::args::{ChannelService, Scope};
use busway_testkit::control::ControlPlane;
use serde_json::{Value, json};

use crate::support::{
    Running, answers, bus, channel, get, gone, looks, prepared, says, settings, shared,
};

#[tokio::test]
async fn a_channel_on_a_bus_of_its_namespace_gets_a_service_on_the_dispatchers_pods() {
    let control = shared().await;
    let namespace = control.namespace("near").await.unwrap();
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    namespace
        .apply_yaml(&channel("orders", "bus: main"))
        .await
        .unwrap();
    let service = looks(&namespace, "service/orders-channel", "is there", |_| true).await;
    let uid = get(&namespace, "bus/main").await.unwrap()["metadata"]["uid"].clone();
    let owner = get(&namespace, "channel/orders").await.unwrap()["metadata"]["uid"].clone();
    assert_eq!(service["spec"]["type"], "ClusterIP");
    let selector = json!({
        "channels.busway.dev/owner-uid": uid,
        "app.kubernetes.io/component": "dispatcher",
    });
    assert_eq!(service["spec"]["selector"], selector);
    assert_eq!(service["spec"]["ports"][0]["port"], 80);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "messages");
    assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], owner);
    says(
        &namespace,
        "channel/orders",
        "Serviceable",
        "False",
        "NoEndpoint",
    )
    .await;
    let found = get(&namespace, "channel/orders").await.unwrap();
    let expected = json!([
        { "name": "host", "url": format!("http://orders-channel.{namespace}.svc.cluster.local") },
        { "name": "path", "url": format!("http://main-bus.{namespace}.svc.cluster.local/{namespace}/orders") },
    ]);
    assert_eq!(found["status"]["addresses"], expected);

    // The channel takes its Service with it.
    namespace
        .kubectl_ok(&["delete", "channel", "orders", "--timeout=60s"])
        .await
        .unwrap();
    gone(&namespace, "service/orders-channel").await;
}

#[tokio::test]
async fn a_channel_on_a_cluster_bus_gets_a_name_for_it_and_drift_is_put_back() {
    let control = shared().await;
    let namespace = control.namespace("far").await.unwrap();
    control
        .apply_yaml(&bus("ClusterBus", "far", ""))
        .await
        .unwrap();
    answers(control, "far", true).await;
    namespace
        .apply_yaml(&channel("orders", "clusterBus: far"))
        .await
        .unwrap();
    says(
        &namespace,
        "channel/orders",
        "Serviceable",
        "True",
        "Reachable",
    )
    .await;
    let external = |found: &Value| {
        found["spec"]["type"] == "ExternalName"
            && found["spec"]["externalName"] == "far-clusterbus.busway-system.svc.cluster.local"
    };
    looks(
        &namespace,
        "service/orders-channel",
        "names the bus",
        external,
    )
    .await;

    let elsewhere = r#"{"spec":{"externalName":"elsewhere.example.com"}}"#;
    namespace
        .kubectl_ok(&["patch", "service", "orders-channel", "-p", elsewhere])
        .await
        .unwrap();
    looks(
        &namespace,
        "service/orders-channel",
        "names the bus again",
        external,
    )
    .await;
    namespace
        .kubectl_ok(&["delete", "service", "orders-channel"])
        .await
        .unwrap();
    looks(
        &namespace,
        "service/orders-channel",
        "is made again",
        external,
    )
    .await;
    namespace
        .kubectl_ok(&[
            "label",
            "service",
            "orders-channel",
            "channels.busway.dev/owner-uid-",
        ])
        .await
        .unwrap();
    looks(
        &namespace,
        "service/orders-channel",
        "has its label again",
        |found| found["metadata"]["labels"]["channels.busway.dev/owner-uid"].is_string(),
    )
    .await;

    // Its bus's pods are gone: so is what answers at its address.
    answers(control, "far", false).await;
    let why = says(
        &namespace,
        "channel/orders",
        "Serviceable",
        "False",
        "NoEndpoint",
    )
    .await;
    assert!(why.contains("ClusterBus far"), "{why}");
}

#[tokio::test]
async fn a_service_that_is_somebody_elses_is_never_touched_and_its_end_is_noticed() {
    let control = shared().await;
    let namespace = control.namespace("clash").await.unwrap();
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    let theirs = "apiVersion: v1\nkind: Service\nmetadata: {name: orders-channel}\nspec: {selector: {app: theirs}, ports: [{port: 9999}]}\n";
    namespace.apply_yaml(theirs).await.unwrap();
    let before = get(&namespace, "service/orders-channel").await.unwrap();
    namespace
        .apply_yaml(&channel("orders", "bus: main"))
        .await
        .unwrap();
    let why = says(
        &namespace,
        "channel/orders",
        "Accepted",
        "False",
        "NameClash",
    )
    .await;
    assert!(
        why.contains(&format!("Service {namespace}/orders-channel")),
        "{why}"
    );
    assert_eq!(
        get(&namespace, "service/orders-channel").await.unwrap(),
        before
    );
    let addresses = get(&namespace, "channel/orders").await.unwrap()["status"]["addresses"].clone();
    assert_eq!(
        addresses.as_array().unwrap().len(),
        1,
        "by path it works: {addresses}"
    );

    namespace
        .kubectl_ok(&["delete", "service", "orders-channel"])
        .await
        .unwrap();
    says(&namespace, "channel/orders", "Accepted", "True", "Accepted").await;
    let ours = get(&namespace, "service/orders-channel").await.unwrap();
    assert_eq!(ours["spec"]["ports"][0]["port"], 80);
}

#[tokio::test]
async fn the_kind_of_service_is_the_administrators_and_may_be_none() {
    // Of its own: two operators would not agree.
    let control = ControlPlane::start_of(crate::API_SERVER).await.unwrap();
    prepared(&control).await;
    let namespace = control.namespace("kinds").await.unwrap();
    let scope = Scope::Namespaces(vec![namespace.name().to_owned()]);
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    namespace
        .apply_yaml(&channel("orders", "bus: main"))
        .await
        .unwrap();
    for (kind, shown) in [
        (ChannelService::Auto, "ClusterIP"),
        (ChannelService::ExternalName, "ExternalName"),
        (ChannelService::Auto, "ClusterIP"),
    ] {
        let operator = Running::start(&control, settings(kind, scope.clone()), "kinds").await;
        let of_kind = |service: &Value| service["spec"]["type"] == shown;
        looks(&namespace, "service/orders-channel", shown, of_kind).await;
        operator.end().await;
    }
    let none = settings(ChannelService::None, scope);
    let operator = Running::start(&control, none, "kinds").await;
    gone(&namespace, "service/orders-channel").await;
    looks(&namespace, "channel/orders", "has one address", |found| {
        found["status"]["addresses"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    })
    .await;
    // A scope without ClusterBuses says so.
    namespace
        .apply_yaml(&channel("other", "clusterBus: any"))
        .await
        .unwrap();
    let why = says(
        &namespace,
        "channel/other",
        "Accepted",
        "False",
        "BusNotFound",
    )
    .await;
    assert!(why.contains("no ClusterBus"), "{why}");
    operator.end().await;
}
