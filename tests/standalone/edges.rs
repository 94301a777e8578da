//! Names at their limits, names that look alike, and channels that are another dispatcher's.

use std::net::SocketAddr;

use busway_testkit::{client, control::ControlPlane, wait};

use crate::support::{
    DEADLINE, channel, cluster_bus, dispatcher, got, ready, received, shared, sink, subscription,
};

/// Puts what [`crate::support`] writes into a namespace.
fn inside(namespace: &str, manifest: &str) -> String {
    manifest.replace(
        "metadata: {",
        &format!("metadata: {{namespace: {namespace}, "),
    )
}

/// Waits until Ready is True, in a namespace that the test named itself.
async fn ready_in(control: &ControlPlane, namespace: &str, object: &str) {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#;
    let get = ["--namespace", namespace, "get", object, "--output", path];
    let ready = || async {
        match control.kubectl_ok(&get).await {
            Ok(seen) if seen.contains(r#""status":"True""#) => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(format!("{error:#}")),
        }
    };
    wait::until(&format!("{object} is Ready"), DEADLINE, ready)
        .await
        .unwrap();
}

async fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &'static str) -> u16 {
    let answer = client::post(to, path, headers, body).await.unwrap();
    answer.status.as_u16()
}

#[tokio::test]
async fn names_of_the_greatest_length_work_from_end_to_end() {
    let control = shared().await;
    // The most that Kubernetes, and a Channel's own rule, allow.
    let namespace = "n".repeat(63);
    let (bus, name) = (format!("b{}", ".long".repeat(50)), "c".repeat(55));
    let bus = format!("{bus}{}", "r".repeat(253 - bus.len()));
    let longest = "s".repeat(253);
    control
        .kubectl_ok(&["create", "namespace", &namespace])
        .await
        .unwrap();
    let (subscriber, at) = sink(&[]).await;
    let cache = tempfile::tempdir().unwrap();
    let kept = ["--cache-dir", cache.path().to_str().unwrap()];
    let serving = dispatcher(control, &bus, &kept);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    for manifest in [
        cluster_bus(&bus),
        inside(&namespace, &channel(&name, &bus)),
        inside(&namespace, &subscription(&longest, &name, at)),
    ] {
        control.apply_yaml(&manifest).await.unwrap();
    }
    for object in [
        format!("clusterbus/{bus}"),
        format!("channel/{name}"),
        format!("subscription/{longest}"),
    ] {
        ready_in(control, &namespace, &object).await;
    }

    let path = format!("/{namespace}/{name}");
    assert_eq!(post(messages, &path, &[], "by path").await, 202);
    let host = format!("{name}-channel.{namespace}.svc.cluster.local:8080");
    assert_eq!(
        post(messages, "/", &[("host", &host)], "by host").await,
        202
    );
    got(&subscriber, 2).await;
    wait::until("the resources are kept", DEADLINE, async || {
        let files: Vec<_> = std::fs::read_dir(cache.path()).unwrap().collect();
        if files.is_empty() {
            Err("no file")
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();

    control
        .kubectl_ok(&["delete", "namespace", &namespace, "--timeout=60s"])
        .await
        .unwrap();
}

#[tokio::test]
async fn names_that_look_alike_get_each_their_own_messages() {
    let control = shared().await;
    let short = control.namespace("alike").await.unwrap();
    let long = format!("{}-a", short.name());
    control
        .kubectl_ok(&["create", "namespace", &long])
        .await
        .unwrap();
    let serving = dispatcher(control, "alike", &[]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    control.apply_yaml(&cluster_bus("alike")).await.unwrap();
    // Joined by a hyphen, both channels are one, and both subscriptions are.
    let ((one, one_at), (two, two_at)) = (sink(&[]).await, sink(&[]).await);
    for (namespace, name, of, at) in [
        (short.name(), "a-b", "a-s", one_at),
        (&long, "b", "s", two_at),
    ] {
        for manifest in [channel(name, "alike"), subscription(of, name, at)] {
            let manifest = inside(namespace, &manifest);
            control.apply_yaml(&manifest).await.unwrap();
        }
        ready_in(control, namespace, &format!("subscription/{of}")).await;
    }

    let (first, second) = (format!("/{}/a-b", short.name()), format!("/{long}/b"));
    for _ in 0..3 {
        assert_eq!(post(messages, &first, &[], "for-one").await, 202);
    }
    assert_eq!(post(messages, &second, &[], "for-two").await, 202);
    got(&one, 3).await;
    got(&two, 1).await;

    // One goes, and the other stays.
    short
        .kubectl_ok(&["delete", "channel/a-b", "subscription/a-s", "--timeout=60s"])
        .await
        .unwrap();
    wait::until("the deleted channel is unknown", DEADLINE, || async {
        match post(messages, &first, &[], "for-one").await {
            404 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    assert_eq!(post(messages, &second, &[], "for-two").await, 202);
    got(&two, 2).await;
    for (sink, others) in [(&one, "for-two"), (&two, "for-one")] {
        let output = sink.output();
        assert!(
            output.iter().all(|line| !line.contains(others)),
            "{output:?}"
        );
    }
    assert_eq!(received(&two), 2);
}

#[tokio::test]
async fn a_channel_of_another_bus_is_unknown_to_this_ones_dispatcher() {
    let control = shared().await;
    let namespace = control.namespace("two-buses").await.unwrap();
    let (ours, theirs) = (
        dispatcher(control, "ours", &[]),
        dispatcher(control, "theirs", &[]),
    );
    for bus in ["ours", "theirs"] {
        namespace.apply_yaml(&cluster_bus(bus)).await.unwrap();
        namespace.apply_yaml(&channel(bus, bus)).await.unwrap();
        ready(&namespace, &format!("channel/{bus}"), "True").await;
    }
    for (serving, own, other) in [(&ours, "ours", "theirs"), (&theirs, "theirs", "ours")] {
        let messages = serving.address("messages", DEADLINE).await.unwrap();
        let path = |name: &str| format!("/{}/{name}", namespace.name());
        assert_eq!(post(messages, &path(own), &[], "x").await, 202);
        assert_eq!(post(messages, &path(other), &[], "x").await, 404);
    }
}
