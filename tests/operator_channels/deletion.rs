use busway_testkit::wait;

use crate::support::{
    DEADLINE, answers, bus, channel, condition, get, gone, hold, looks, says, shared, subscription,
};

const PROVISIONED: &str = "channels.busway.dev/provisioned";
const SUBSCRIBED: &str = "channels.busway.dev/subscribed";

#[tokio::test]
async fn a_deletion_whose_hook_cannot_run_says_until_when_it_waits_and_then_ends() {
    let control = shared().await;
    let namespace = control.namespace("bound").await.unwrap();
    control
        .apply_yaml(&bus("ClusterBus", "bound", ""))
        .await
        .unwrap();
    let all = [
        channel("orders", "clusterBus: bound"),
        channel("kept", "clusterBus: bound"),
        subscription("s", "orders"),
    ];
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    hold(&namespace, "channel/orders", PROVISIONED).await;
    hold(&namespace, "channel/kept", PROVISIONED).await;
    hold(&namespace, "subscription/s", SUBSCRIBED).await;
    namespace
        .kubectl_ok(&["delete", "channel/orders", "subscription/s", "--wait=false"])
        .await
        .unwrap();
    for (object, reason) in [
        ("channel/orders", "ChannelDeleted"),
        ("subscription/s", "SubscriptionDeleted"),
    ] {
        looks(&namespace, object, "says until when it waits", |found| {
            condition(found, "Accepted").is_some_and(|c| {
                let message = c["message"].as_str().unwrap_or_default();
                c["reason"] == reason
                    && message.contains("let go without that at")
                    && message.contains("ClusterBus bound")
            })
        })
        .await;
    }
    gone(&namespace, "channel/orders").await;
    gone(&namespace, "subscription/s").await;
    // The bound is for what is being deleted only.
    let kept = get(&namespace, "channel/kept").await.unwrap();
    assert_eq!(kept["metadata"]["finalizers"][0], PROVISIONED);

    // It is told, with the bus that may have something left.
    wait::until("Events tell of what may be left", DEADLINE, || async {
        let events = ["get", "events.events.k8s.io", "-n", "default", "-o", "json"];
        let events = control
            .kubectl_ok(&events)
            .await
            .map_err(|e| format!("{e:#}"))?;
        let about = |object: &str| {
            let events: serde_json::Value = serde_json::from_str(&events).unwrap();
            let all = events["items"].as_array().cloned().unwrap_or_default();
            all.iter().any(|event| {
                event["reason"] == "Orphaned"
                    && event["regarding"]["kind"] == "ClusterBus"
                    && event["regarding"]["name"] == "bound"
                    && event["note"].as_str().unwrap_or_default().contains(object)
            })
        };
        let (channel, subscription) = (
            format!("Channel {namespace}/orders"),
            format!("Subscription {namespace}/s"),
        );
        if about(&channel) && about(&subscription) {
            Ok(())
        } else {
            Err(events)
        }
    })
    .await
    .unwrap();
    hold_no_more(&namespace, "channel/kept").await;
}

#[tokio::test]
async fn a_terminating_namespace_lets_go_what_its_own_bus_carried_once_it_has_no_pod() {
    let control = shared().await;
    let namespace = control.namespace("going").await.unwrap();
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    let all = [channel("orders", "bus: main"), subscription("s", "orders")];
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    hold(&namespace, "channel/orders", PROVISIONED).await;
    hold(&namespace, "subscription/s", SUBSCRIBED).await;
    looks(&namespace, "bus/main", "is held by its workload", |bus| {
        bus["metadata"]["finalizers"].is_array()
    })
    .await;
    control
        .kubectl_ok(&["delete", "namespace", namespace.name(), "--timeout=60s"])
        .await
        .unwrap();
    wait::until("an Event regards the Namespace", DEADLINE, || async {
        let events = ["get", "events.events.k8s.io", "-n", "default", "-o", "json"];
        let events = control
            .kubectl_ok(&events)
            .await
            .map_err(|e| format!("{e:#}"))?;
        let parsed: serde_json::Value = serde_json::from_str(&events).map_err(|e| e.to_string())?;
        let all = parsed["items"].as_array().cloned().unwrap_or_default();
        let told = all.iter().any(|event| {
            event["regarding"]["kind"] == "Namespace"
                && event["regarding"]["name"] == namespace.name()
        });
        if told { Ok(()) } else { Err(events) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_channel_that_nothing_holds_goes_at_once_in_every_way_of_deleting() {
    let control = shared().await;
    let namespace = control.namespace("ways").await.unwrap();
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    for way in ["foreground", "background", "orphan"] {
        namespace
            .apply_yaml(&channel("orders", "bus: main"))
            .await
            .unwrap();
        looks(
            &namespace,
            "service/orders-channel",
            "is this channel's",
            |_| true,
        )
        .await;
        let cascade = format!("--cascade={way}");
        namespace
            .kubectl_ok(&["delete", "channel", "orders", &cascade, "--timeout=60s"])
            .await
            .unwrap();
        if way != "orphan" {
            gone(&namespace, "service/orders-channel").await;
        }
    }
    // What an orphaned channel left is no clash for the next of its name.
    namespace
        .apply_yaml(&channel("orders", "bus: main"))
        .await
        .unwrap();
    let uid = get(&namespace, "channel/orders").await.unwrap()["metadata"]["uid"].clone();
    looks(
        &namespace,
        "service/orders-channel",
        "is the new channel's",
        |service| service["metadata"]["labels"]["channels.busway.dev/owner-uid"] == uid,
    )
    .await;
}

#[tokio::test]
async fn a_hook_that_keeps_failing_is_given_up_and_one_that_still_runs_is_not() {
    let control = shared().await;
    let namespace = control.namespace("failing").await.unwrap();
    let serving = bus("ClusterBus", "failing", "");
    control.apply_yaml(&serving).await.unwrap();
    answers(control, "failing", true).await;
    for name in ["runs", "fails"] {
        let object = format!("channel/{name}");
        namespace
            .apply_yaml(&channel(name, "clusterBus: failing"))
            .await
            .unwrap();
        hold(&namespace, &object, PROVISIONED).await;
        says(&namespace, &object, "Serviceable", "True", "Reachable").await;
    }
    // What the data plane would say of a broker that does not answer.
    let status = r#"{"apiVersion": "channels.busway.dev/v1alpha1", "kind": "Channel", "metadata": {"name": "fails"}, "status": {"conditions": [
        {"type": "Provisioned", "status": "False", "reason": "UnprovisionFailed", "message": "no broker", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}"#;
    let by_data_plane = [
        "--server-side",
        "--subresource=status",
        "--field-manager=busway-dispatcher",
    ];
    namespace.apply_with(&by_data_plane, status).await.unwrap();
    namespace
        .kubectl_ok(&["delete", "channel/runs", "channel/fails", "--wait=false"])
        .await
        .unwrap();
    looks(&namespace, "channel/fails", "says what fails", |found| {
        condition(found, "Accepted").is_some_and(|c| {
            let message = c["message"].as_str().unwrap_or_default();
            message.contains("UnprovisionFailed: no broker")
        })
    })
    .await;
    gone(&namespace, "channel/fails").await;
    // Deleted at the same time, it waits for its hook without bound.
    let runs = get(&namespace, "channel/runs").await.unwrap();
    assert_eq!(runs["metadata"]["finalizers"][0], PROVISIONED);
    let accepted = condition(&runs, "Accepted").unwrap();
    assert_eq!(accepted["message"], "the channel is being deleted");
    hold_no_more(&namespace, "channel/runs").await;
}

async fn hold_no_more(namespace: &busway_testkit::control::Namespace, object: &str) {
    let nothing = r#"{"metadata":{"finalizers":null}}"#;
    namespace
        .kubectl_ok(&["patch", object, "--type=merge", "-p", nothing])
        .await
        .unwrap();
}
