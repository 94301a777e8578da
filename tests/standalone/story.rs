use busway_testkit::{client, wait};

use crate::support::{
    DEADLINE, channel, cluster_bus, dispatcher, got, one_of_each, ready, received, shared, sink,
    subscription,
};

#[tokio::test]
async fn a_post_to_a_channel_reaches_its_subscribers_through_a_real_api_server() {
    let control = shared().await;
    let namespace = control.namespace("story").await.unwrap();
    let (first, first_at) = sink(&[]).await;
    let (second, second_at) = sink(&[]).await;
    let mut serving = dispatcher(control, "story", &[]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();

    namespace.apply_yaml(&cluster_bus("story")).await.unwrap();
    namespace
        .apply_yaml(&channel("orders", "story"))
        .await
        .unwrap();
    namespace
        .apply_yaml(&subscription("first", "orders", first_at))
        .await
        .unwrap();
    namespace
        .apply_yaml(&subscription("second", "orders", first_at))
        .await
        .unwrap();
    for object in [
        "clusterbus/story",
        "channel/orders",
        "subscription/first",
        "subscription/second",
    ] {
        ready(&namespace, object, "True").await;
    }

    let path = format!("/{}/orders", namespace.name());
    let answer = client::post(messages, &path, &[], "hello").await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    got(&first, 2).await;

    // People see it.
    let all = control.kubectl_ok(&["get", "busway", "-A"]).await.unwrap();
    for part in [
        "clusterbus.channels.busway.dev/story",
        "channel.channels.busway.dev/orders",
        "True",
    ] {
        assert!(all.contains(part), "{all}");
    }
    let explained = control
        .kubectl_ok(&["explain", "subscription.spec.delivery"])
        .await
        .unwrap();
    for part in ["backoffDelay", "deadLetterSink", "DESCRIPTION"] {
        assert!(explained.contains(part), "{explained}");
    }

    // An edit takes effect without a restart.
    namespace
        .apply_yaml(&subscription("second", "orders", second_at))
        .await
        .unwrap();
    ready(&namespace, "subscription/second", "True").await;
    client::post(messages, &path, &[], "again").await.unwrap();
    got(&first, 3).await;
    got(&second, 1).await;

    // Deleted, it gets nothing more; the other goes on.
    namespace
        .kubectl_ok(&["delete", "subscription", "first", "--timeout=60s"])
        .await
        .unwrap();
    let debug = serving.address("debug", DEADLINE).await.unwrap();
    let served = format!("/subscriptions/{}/second", namespace.name());
    wait::until(
        "the debug port tells what was settled",
        DEADLINE,
        || async {
            let now = client::get(debug, &served)
                .await
                .map_err(|e| e.to_string())?;
            let now: serde_json::Value =
                serde_json::from_str(&now.text()).map_err(|e| e.to_string())?;
            let settled = &now["counts"]["settled"][0];
            if settled["how"] == "Delivered" && now["doing"]["breaker"]["state"] == "Closed" {
                Ok(())
            } else {
                Err(format!("{now:#}"))
            }
        },
    )
    .await
    .unwrap();
    let served = format!("/subscriptions/{}/first", namespace.name());
    wait::until(
        "the deleted subscription is not served",
        DEADLINE,
        || async {
            match client::get(debug, &served).await {
                Ok(answer) if answer.status == 404 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
    .unwrap();
    let before = received(&first);
    client::post(messages, &path, &[], "third").await.unwrap();
    got(&second, 2).await;
    assert_eq!(received(&first), before);

    // The namespace goes with everything in it, and the channel with it.
    control
        .kubectl_ok(&["delete", "namespace", namespace.name(), "--timeout=60s"])
        .await
        .unwrap();
    wait::until("the channel is unknown", DEADLINE, || async {
        match client::post(messages, &path, &[], "x").await {
            Ok(answer) if answer.status == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    serving.signal("TERM").await.unwrap();
    assert!(
        serving.ended(DEADLINE).await.unwrap().success(),
        "{:?}",
        serving.output()
    );
}

#[tokio::test]
async fn what_is_missing_is_named_and_a_channel_that_comes_later_is_found() {
    let control = shared().await;
    let namespace = control.namespace("missing").await.unwrap();
    let (sink, at) = sink(&[]).await;
    let serving = dispatcher(control, "missing", &[]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    namespace.apply_yaml(&cluster_bus("missing")).await.unwrap();
    namespace
        .apply_yaml(&subscription("early", "orders", at))
        .await
        .unwrap();
    let why = ready(&namespace, "subscription/early", "False").await;
    assert!(why.starts_with("ChannelNotFound"), "{why}");
    namespace
        .apply_yaml(&channel("elsewhere", "no-such-bus"))
        .await
        .unwrap();
    let why = ready(&namespace, "channel/elsewhere", "False").await;
    assert!(why.starts_with("BusNotFound"), "{why}");

    namespace
        .apply_yaml(&channel("orders", "missing"))
        .await
        .unwrap();
    ready(&namespace, "subscription/early", "True").await;
    let path = format!("/{}/orders", namespace.name());
    assert_eq!(
        client::post(messages, &path, &[], "x")
            .await
            .unwrap()
            .status,
        202
    );
    got(&sink, 1).await;
}

#[tokio::test]
async fn deletes_clean_up_in_every_order() {
    let control = shared().await;
    let namespace = control.namespace("orders").await.unwrap();
    let (_sink, at) = sink(&[]).await;
    let _serving = dispatcher(control, "every-order", &[]);
    for order in [
        ["clusterbus/every-order", "channel/c", "subscription/s"],
        ["channel/c", "clusterbus/every-order", "subscription/s"],
        ["subscription/s", "channel/c", "clusterbus/every-order"],
        ["channel/c", "subscription/s", "clusterbus/every-order"],
    ] {
        one_of_each(&namespace, "every-order", at).await;
        ready(&namespace, "subscription/s", "True").await;
        for object in order {
            namespace
                .kubectl_ok(&["delete", object, "--timeout=60s"])
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_field_whose_behaviour_is_not_there_yet_is_refused_in_the_status() {
    let control = shared().await;
    let namespace = control.namespace("notyet").await.unwrap();
    let _serving = dispatcher(control, "notyet", &[]);
    namespace.apply_yaml(&cluster_bus("notyet")).await.unwrap();
    namespace.apply_yaml(&channel("c", "notyet")).await.unwrap();
    let later = channel("later", "notyet").replace("spec: {", "spec: {allowedSenders: [anybody], ");
    namespace.apply_yaml(&later).await.unwrap();
    let why = ready(&namespace, "channel/later", "False").await;
    assert!(
        why.starts_with("NotYetSupported") && why.contains("allowedSenders"),
        "{why}"
    );
}
