use crate::support::{answers, bus, channel, condition, get, looks, says, shared, subscription};

#[tokio::test]
async fn a_channel_that_names_no_bus_is_put_on_the_newest_default_once() {
    let control = shared().await;
    let namespace = control.namespace("default").await.unwrap();
    namespace.apply_yaml(&channel("orders", "")).await.unwrap();
    let why = says(
        &namespace,
        "channel/orders",
        "Ready",
        "False",
        "NoDefaultBus",
    )
    .await;
    assert!(why.contains("no ClusterBus is the default"), "{why}");

    let mark = |name: &str| {
        let annotated = format!(
            "metadata: {{name: {name}, annotations: {{channels.busway.dev/is-default-bus: 'true'}}}}"
        );
        bus("ClusterBus", name, "").replace(&format!("metadata: {{name: {name}}}"), &annotated)
    };
    control.apply_yaml(&mark("chosen")).await.unwrap();
    let put_on =
        |bus: &'static str| move |found: &serde_json::Value| found["spec"]["clusterBus"] == bus;
    looks(
        &namespace,
        "channel/orders",
        "is on chosen",
        put_on("chosen"),
    )
    .await;
    says(&namespace, "channel/orders", "Accepted", "True", "Accepted").await;

    // A newer default is for new channels.
    control.apply_yaml(&mark("a-newer-one")).await.unwrap();
    let newer = [
        "annotate",
        "clusterbus",
        "chosen",
        "channels.busway.dev/is-default-bus=false",
        "--overwrite",
    ];
    control.kubectl_ok(&newer).await.unwrap();
    namespace.apply_yaml(&channel("later", "")).await.unwrap();
    looks(
        &namespace,
        "channel/later",
        "is on the newer one",
        put_on("a-newer-one"),
    )
    .await;
    let first = get(&namespace, "channel/orders").await.unwrap();
    assert_eq!(first["spec"]["clusterBus"], "chosen");

    for cluster_bus in ["chosen", "a-newer-one"] {
        let unmark = [
            "annotate",
            "clusterbus",
            cluster_bus,
            "channels.busway.dev/is-default-bus-",
        ];
        control.kubectl_ok(&unmark).await.unwrap();
    }
}

#[tokio::test]
async fn a_bus_that_is_missing_is_named_and_found_when_it_comes() {
    let control = shared().await;
    let namespace = control.namespace("missing").await.unwrap();
    let all = [
        channel("orders", "bus: later"),
        channel("other", "clusterBus: never"),
        subscription("s", "orders"),
        subscription("lost", "nowhere"),
    ];
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    let why = says(
        &namespace,
        "channel/orders",
        "Ready",
        "False",
        "BusNotFound",
    )
    .await;
    assert_eq!(why, format!("there is no Bus {namespace}/later"));
    let why = says(
        &namespace,
        "channel/other",
        "Accepted",
        "False",
        "BusNotFound",
    )
    .await;
    assert_eq!(why, "there is no ClusterBus never");
    let why = says(
        &namespace,
        "subscription/s",
        "Ready",
        "False",
        "BusNotFound",
    )
    .await;
    assert_eq!(why, format!("there is no Bus {namespace}/later"));
    let why = says(
        &namespace,
        "subscription/lost",
        "Ready",
        "False",
        "ChannelNotFound",
    )
    .await;
    assert_eq!(why, format!("there is no channel {namespace}/nowhere"));

    namespace
        .apply_yaml(&bus("Bus", "later", ""))
        .await
        .unwrap();
    namespace
        .apply_yaml(&channel("nowhere", "bus: later"))
        .await
        .unwrap();
    for object in [
        "channel/orders",
        "subscription/s",
        "channel/nowhere",
        "subscription/lost",
    ] {
        says(&namespace, object, "Accepted", "True", "Accepted").await;
        // What only the operator said is not left behind.
        looks(&namespace, object, "has no stale Ready", |found| {
            condition(found, "Ready").is_none_or(|ready| {
                ready["status"] != "False" || ready["reason"] == "DispatcherUnavailable"
            })
        })
        .await;
    }
}

#[tokio::test]
async fn a_channel_of_a_namespace_that_is_not_allowed_says_so_until_it_is() {
    let control = shared().await;
    let namespace = control.namespace("tier").await.unwrap();
    let gold = bus(
        "ClusterBus",
        "gold-only",
        ", allowedNamespaces: {matchLabels: {tier: gold}}",
    );
    control.apply_yaml(&gold).await.unwrap();
    answers(control, "gold-only", true).await;
    namespace
        .apply_yaml(&channel("orders", "clusterBus: gold-only"))
        .await
        .unwrap();
    let why = says(
        &namespace,
        "channel/orders",
        "Accepted",
        "False",
        "NamespaceNotAllowed",
    )
    .await;
    assert!(
        why.contains("gold-only") && why.contains(namespace.name()),
        "{why}"
    );
    let refused = get(&namespace, "service/orders-channel").await;
    assert!(
        refused.is_err(),
        "nothing is made for a channel that may not be"
    );

    let label = |label: &'static str| {
        let arguments = ["label", "namespace", namespace.name(), label].map(ToOwned::to_owned);
        async move {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            control.kubectl_ok(&arguments).await.unwrap();
        }
    };
    label("tier=gold").await;
    says(&namespace, "channel/orders", "Accepted", "True", "Accepted").await;
    says(
        &namespace,
        "channel/orders",
        "Serviceable",
        "True",
        "Reachable",
    )
    .await;
    looks(&namespace, "service/orders-channel", "is there", |_| true).await;

    // No longer allowed: it goes on, with its Service.
    label("tier-").await;
    says(
        &namespace,
        "channel/orders",
        "Accepted",
        "False",
        "NamespaceNotAllowed",
    )
    .await;
    get(&namespace, "service/orders-channel").await.unwrap();
    // Since when is the bus's to know, where nobody of the namespace may write.
    looks(&namespace, "clusterbus/gold-only", "remembers it", |bus| {
        let known = bus["status"]["namespaces"].as_array();
        known.into_iter().flatten().any(|one| {
            one["name"] == namespace.name() && one["uid"].is_string() && one["revoked"].is_string()
        })
    })
    .await;
    label("tier=gold").await;
    says(&namespace, "channel/orders", "Accepted", "True", "Accepted").await;
    looks(
        &namespace,
        "clusterbus/gold-only",
        "allows it again",
        |now| {
            let known = now["status"]["namespaces"].as_array();
            let mut known = known.into_iter().flatten();
            known.any(|one| one["name"] == namespace.name() && one["revoked"].is_null())
        },
    )
    .await;
}

#[tokio::test]
async fn an_object_that_is_to_be_left_alone_is_and_says_so() {
    let control = shared().await;
    let namespace = control.namespace("paused").await.unwrap();
    let paused = channel("orders", "clusterBus: none-such").replace(
        "{name: orders}",
        "{name: orders, annotations: {channels.busway.dev/pause-reconcile: 'true'}}",
    );
    namespace.apply_yaml(&paused).await.unwrap();
    says(
        &namespace,
        "channel/orders",
        "ReconcilePaused",
        "True",
        "PausedByAnnotation",
    )
    .await;
    let found = get(&namespace, "channel/orders").await.unwrap();
    assert!(condition(&found, "Accepted").is_none(), "{found:#}");
    namespace
        .kubectl_ok(&[
            "annotate",
            "channel",
            "orders",
            "channels.busway.dev/pause-reconcile-",
        ])
        .await
        .unwrap();
    says(
        &namespace,
        "channel/orders",
        "Accepted",
        "False",
        "BusNotFound",
    )
    .await;
    looks(
        &namespace,
        "channel/orders",
        "is no longer paused",
        |found| condition(found, "ReconcilePaused").is_none(),
    )
    .await;
}
