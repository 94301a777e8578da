use anyhow::ensure;
use busway_testkit::{control::Namespace, wait};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, IMAGE, bus, endpoint_is_ready, get, gone, looked_after, pods_run, says, until,
};

const CHILDREN: &[&str] = &[
    "serviceaccount/fast-bus-dispatcher",
    "role/fast-bus-dispatcher",
    "rolebinding/fast-bus-dispatcher",
    "rolebinding/fast-bus-dispatcher-channels",
    "lease/fast-bus",
    "service/fast-bus",
    "deployment/fast-bus-dispatcher",
];

async fn there(namespace: &Namespace, object: &str) -> Value {
    until(namespace, object, "is there", |_| Ok::<_, String>(())).await
}

#[tokio::test]
async fn a_bus_is_ready_when_its_pods_serve_it_and_its_dispatcher_says_so() {
    let (namespace, _operator) = looked_after("serves", &[]).await;
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    for child in CHILDREN {
        let found = there(&namespace, child).await;
        let metadata = &found["metadata"];
        assert_eq!(
            metadata["labels"]["app.kubernetes.io/managed-by"], "busway-operator",
            "{child}"
        );
        assert_eq!(metadata.get("ownerReferences"), None, "{child}");
    }
    says(
        &namespace,
        "bus/fast",
        "Dispatching",
        "False Unavailable Deployment fast-bus-dispatcher: 0 of 1",
    )
    .await;
    says(&namespace, "bus/fast", "Serviceable", "False NoEndpoint").await;
    says(&namespace, "bus/fast", "Ready", "False Unavailable").await;

    pods_run(&namespace).await;
    says(&namespace, "bus/fast", "Dispatching", "True Available").await;
    says(&namespace, "bus/fast", "Provisioning", "True Available").await;
    endpoint_is_ready(&namespace, "fast-bus").await;
    says(&namespace, "bus/fast", "Serviceable", "True Reachable").await;
    let said = says(&namespace, "bus/fast", "Ready", "Unknown Pending").await;
    assert!(said.contains("Synced"), "{said}");

    synced(&namespace).await;
    says(&namespace, "bus/fast", "Ready", "True AllGood").await;
    let found = get(&namespace, "bus/fast").await.unwrap();
    let status = &found["status"];
    let host = format!("http://fast-bus.{}.svc.cluster.local", namespace.name());
    assert_eq!(status["address"]["url"], host.as_str());
    assert_eq!(status["service"], "fast-bus");
    assert_eq!(status["replicas"], 1);
    let scale = ["scale", "bus/fast", "--replicas=2"];
    namespace.kubectl_ok(&scale).await.unwrap();
    until(
        &namespace,
        "deployment/fast-bus-dispatcher",
        "has two pods",
        |found| {
            ensure!(
                found["spec"]["replicas"] == 2,
                "{:#}",
                found["spec"]["replicas"]
            );
            Ok(())
        },
    )
    .await;
    there(&namespace, "pdb/fast-bus-dispatcher").await;
}

/// Plays the dispatcher.
async fn synced(namespace: &Namespace) {
    let found = get(namespace, "bus/fast").await.unwrap();
    let said = json!({
        "apiVersion": "channels.busway.dev/v1alpha1",
        "kind": "Bus",
        "metadata": { "name": "fast", "namespace": namespace.name() },
        "status": { "conditions": [{
            "type": "Synced", "status": "True", "reason": "Synced", "message": "",
            "observedGeneration": found["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    });
    let by_data_plane = [
        "--server-side",
        "--subresource=status",
        "--field-manager=busway-dispatcher",
    ];
    namespace
        .apply_with(&by_data_plane, &said.to_string())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_somebody_changes_or_deletes_is_put_back() {
    let (namespace, _operator) = looked_after("drift", &[]).await;
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    for child in CHILDREN {
        let uid = there(&namespace, child).await["metadata"]["uid"].clone();
        namespace.kubectl_ok(&["delete", child]).await.unwrap();
        until(&namespace, child, "is made again", |found| {
            ensure!(found["metadata"]["uid"] != uid, "it is the old one");
            Ok(())
        })
        .await;
    }

    let image =
        r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"else"}]"#;
    let at = "/spec/template/spec/containers/0/image";
    put_back(
        &namespace,
        "deployment/fast-bus-dispatcher",
        &["--type=json", "-p", image],
        at,
        json!(IMAGE),
    )
    .await;
    let port = r#"[{"op":"replace","path":"/spec/ports/0/port","value":81}]"#;
    put_back(
        &namespace,
        "service/fast-bus",
        &["--type=json", "-p", port],
        "/spec/ports/0/port",
        json!(80),
    )
    .await;
    let rules = r#"{"rules":[]}"#;
    put_back(
        &namespace,
        "role/fast-bus-dispatcher",
        &["--type=merge", "-p", rules],
        "/rules/0/resources/0",
        json!("leases"),
    )
    .await;
    // Of this the API server takes one only.
    let scaled = bus("fast", json!({ "memory": {}, "replicas": 2 }));
    namespace.apply_yaml(&scaled).await.unwrap();
    there(&namespace, "pdb/fast-bus-dispatcher").await;
    let other = r#"{"spec":{"maxUnavailable":null,"minAvailable":2}}"#;
    let patch = ["--type=merge", "-p", other];
    let at = "/spec/maxUnavailable";
    put_back(&namespace, "pdb/fast-bus-dispatcher", &patch, at, json!(1)).await;
    // Without its label it is not watched any more.
    let label = r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":null,"channels.busway.dev/owner-uid":null}}}"#;
    let at = "/metadata/labels/app.kubernetes.io~1managed-by";
    put_back(
        &namespace,
        "service/fast-bus",
        &["--type=merge", "-p", label],
        at,
        json!("busway-operator"),
    )
    .await;
    says(&namespace, "bus/fast", "Serviceable", "False NoEndpoint").await;
}

async fn put_back(namespace: &Namespace, object: &str, patch: &[&str], at: &str, value: Value) {
    let before = there(namespace, object).await;
    namespace
        .kubectl_ok(&[&["patch", object], patch].concat())
        .await
        .unwrap();
    let what = format!("has {value} at {at} again");
    until(namespace, object, &what, |found| {
        ensure!(found.pointer(at) == Some(&value), "{:?}", found.pointer(at));
        let version = "/metadata/resourceVersion";
        ensure!(
            found.pointer(version) != before.pointer(version),
            "not changed yet"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_the_bus_no_longer_says_disappears() {
    let (namespace, _operator) = looked_after("removed", &[]).await;
    let full = json!({
        "memory": {},
        "replicas": 2,
        "podAnnotations": { "team": "shop" },
        "networkPolicy": { "enabled": true },
    });
    namespace.apply_yaml(&bus("fast", full)).await.unwrap();
    for child in [
        "pdb/fast-bus-dispatcher",
        "networkpolicy/fast-bus-dispatcher",
    ] {
        there(&namespace, child).await;
    }
    let deployment = "deployment/fast-bus-dispatcher";
    until(&namespace, deployment, "is as asked", |found| {
        let team = &found["spec"]["template"]["metadata"]["annotations"]["team"];
        ensure!(
            team == "shop" && found["spec"]["replicas"] == 2,
            "{:#}",
            found["spec"]
        );
        Ok(())
    })
    .await;

    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    gone(&namespace, "networkpolicy/fast-bus-dispatcher").await;
    let found = until(&namespace, deployment, "lost its annotation", |found| {
        let team = &found["spec"]["template"]["metadata"]["annotations"]["team"];
        ensure!(team.is_null(), "{team}");
        Ok(())
    })
    .await;
    assert_eq!(
        found["spec"]["replicas"], 2,
        "a number that nobody says is an autoscaler's"
    );
    namespace
        .kubectl_ok(&["scale", deployment, "--replicas=3"])
        .await
        .unwrap();
    namespace
        .kubectl_ok(&["annotate", "bus/fast", "touched=yes"])
        .await
        .unwrap();
    says(
        &namespace,
        "bus/fast",
        "Dispatching",
        "False Unavailable Deployment fast-bus-dispatcher: 0 of 3",
    )
    .await;

    let one = json!({ "memory": {}, "replicas": 1 });
    namespace.apply_yaml(&bus("fast", one)).await.unwrap();
    gone(&namespace, "pdb/fast-bus-dispatcher").await;
}

#[tokio::test]
async fn a_bus_that_is_paused_is_left_alone_and_says_so() {
    let (namespace, operator) = looked_after("paused", &[]).await;
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let pause = "channels.busway.dev/pause-reconcile";
    namespace
        .kubectl_ok(&["annotate", "bus/fast", &format!("{pause}=true")])
        .await
        .unwrap();
    says(
        &namespace,
        "bus/fast",
        "ReconcilePaused",
        "True PausedByAnnotation",
    )
    .await;
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;

    namespace
        .kubectl_ok(&["delete", "service/fast-bus"])
        .await
        .unwrap();
    // Something else is reconciled after it: then it would have been, too.
    namespace
        .apply_yaml(&bus("other", json!({ "memory": {} })))
        .await
        .unwrap();
    there(&namespace, "service/other-bus").await;
    says(&namespace, "bus/other", "Serviceable", "False").await;
    gone(&namespace, "service/fast-bus").await;

    namespace
        .kubectl_ok(&["annotate", "bus/fast", &format!("{pause}-")])
        .await
        .unwrap();
    there(&namespace, "service/fast-bus").await;
    wait::until("nothing is said of a pause", DEADLINE, || async {
        let found = get(&namespace, "bus/fast").await?;
        let text = found["status"].to_string();
        ensure!(!text.contains("ReconcilePaused"), "{text}");
        Ok(())
    })
    .await
    .unwrap();
    drop(operator);
}

#[tokio::test]
async fn a_provisioner_comes_and_goes_with_what_the_bus_says() {
    let (namespace, _operator) =
        looked_after("apart", &["--third-party-buses", "Namespaced"]).await;
    let theirs = json!({ "name": "theirs", "image": "registry.test/theirs:1" });
    let apart = json!({ "dispatcher": theirs, "provisioner": theirs });
    namespace.apply_yaml(&bus("fast", apart)).await.unwrap();
    for child in [
        "deployment/fast-bus-provisioner",
        "lease/fast-bus-provisioner",
    ] {
        there(&namespace, child).await;
    }
    let name = "Deployment fast-bus-provisioner";
    let said = format!("False Unavailable {name}");
    says(&namespace, "bus/fast", "Provisioning", &said).await;
    pods_run(&namespace).await;
    says(&namespace, "bus/fast", "Provisioning", "True").await;

    let alone = json!({ "dispatcher": theirs });
    namespace.apply_yaml(&bus("fast", alone)).await.unwrap();
    gone(&namespace, "deployment/fast-bus-provisioner").await;
    gone(&namespace, "lease/fast-bus-provisioner").await;
    pods_run(&namespace).await;
    says(&namespace, "bus/fast", "Provisioning", "True").await;
    let found = get(&namespace, "deployment/fast-bus-dispatcher")
        .await
        .unwrap();
    assert!(!found.to_string().contains("PROVISIONER"), "{found:#}");
}
