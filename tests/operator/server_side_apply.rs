//! Whose a field is, when several managers apply one object.

use anyhow::ensure;
use busway_testkit::control::Namespace;
use serde_json::{Value, json};

use crate::support::{DEADLINE, bus, get, looked_after, operator, says, shared, until};

const CHILDREN: &[&str] = &[
    "serviceaccount/fast-bus-dispatcher",
    "role/fast-bus-dispatcher",
    "rolebinding/fast-bus-dispatcher",
    "rolebinding/fast-bus-dispatcher-channels",
    "lease/fast-bus",
    "service/fast-bus",
    "networkpolicy/fast-bus-dispatcher",
    "deployment/fast-bus-dispatcher",
];

/// `kubectl apply --server-side` as `somebody`; what it said when it was refused.
async fn apply(namespace: &Namespace, object: Value, more: &[&str]) -> Result<String, String> {
    let options = [&["--server-side", "--field-manager=somebody"], more].concat();
    let said = namespace.apply_with(&options, &object.to_string()).await;
    said.map_err(|error| format!("{error:#}"))
}

fn service(namespace: &Namespace, spec: Value, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "fast-bus", "namespace": namespace.name(), "labels": labels },
        "spec": spec,
    })
}

async fn versions(namespace: &Namespace) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for child in CHILDREN {
        let found = get(namespace, child).await.unwrap();
        // A controller writes the status of a Deployment; nobody else but us its spec.
        let version = match child.split_once('/') {
            Some(("deployment", _)) => found["metadata"]["generation"].clone(),
            _ => found["metadata"]["resourceVersion"].clone(),
        };
        all.push((*child, version));
    }
    all
}

#[tokio::test]
async fn an_operator_that_starts_anew_applies_all_and_changes_nothing() {
    let (namespace, mut first) = looked_after("again", &[]).await;
    let spec = json!({ "memory": {}, "networkPolicy": { "enabled": true } });
    namespace.apply_yaml(&bus("fast", spec)).await.unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let before = versions(&namespace).await;
    first.signal("TERM").await.unwrap();
    first.ended(DEADLINE).await.unwrap();

    let _second = operator(shared().await, namespace.name(), &["--scope", "own"]);
    // What it does to a bus that was changed since, it does after it has looked at all.
    let changed = bus("later", json!({ "memory": {} }));
    namespace.apply_yaml(&changed).await.unwrap();
    says(&namespace, "bus/later", "Dispatching", "False Unavailable").await;
    let touch = ["annotate", "bus/fast", "example.test/touched=yes"];
    namespace.kubectl_ok(&touch).await.unwrap();
    let replace = ["delete", "service/fast-bus"];
    namespace.kubectl_ok(&replace).await.unwrap();
    until(&namespace, "service/fast-bus", "is put back", |_| {
        Ok::<_, String>(())
    })
    .await;
    let mut after = versions(&namespace).await;
    let is_service = |(child, _): &(&str, Value)| child.starts_with("service/");
    let mut before = before;
    before.retain(|one| !is_service(one));
    after.retain(|one| !is_service(one));
    assert_eq!(after, before);
}

#[tokio::test]
async fn anothers_fields_stay_and_ours_are_a_conflict_to_them_that_force_does_not_win() {
    let (namespace, _operator) = looked_after("fields", &[]).await;
    let fast = bus("fast", json!({ "memory": {} }));
    namespace.apply_yaml(&fast).await.unwrap();
    says(&namespace, "bus/fast", "Serviceable", "False NoEndpoint").await;

    // What is not ours is theirs, and stays while ours is put back.
    let theirs = service(
        &namespace,
        json!({ "sessionAffinity": "ClientIP" }),
        json!({ "example.test/team": "a" }),
    );
    apply(&namespace, theirs, &[]).await.unwrap();
    // What is ours is a conflict.
    let port = json!({ "ports": [{ "port": 80, "name": "messages", "protocol": "TCP", "targetPort": 1234 }] });
    let ours = service(&namespace, port, json!({ "example.test/team": "a" }));
    let said = apply(&namespace, ours.clone(), &["--dry-run=server"]).await;
    let said = said.unwrap_err();
    assert!(
        said.contains("conflict") && said.contains("busway-operator"),
        "{said}"
    );
    // Taken by force it is taken back; two managers do not fight for it, since the other applied once.
    apply(&namespace, ours, &["--force-conflicts"])
        .await
        .unwrap();
    let found = until(&namespace, "service/fast-bus", "is ours again", |found| {
        let ports = found["spec"]["ports"].as_array().cloned();
        let ports = ports.unwrap_or_default();
        let target = ports.iter().find(|port| port["port"] == 80);
        let target = target.map(|port| port["targetPort"].clone());
        ensure!(target == Some(json!("messages")), "{:#}", found["spec"]);
        Ok(())
    })
    .await;
    assert_eq!(found["metadata"]["labels"]["example.test/team"], "a");
}

#[tokio::test]
async fn a_status_has_each_managers_conditions_and_ours_are_taken_back() {
    let (namespace, _operator) = looked_after("managers", &[]).await;
    let fast = bus("fast", json!({ "memory": {} }));
    namespace.apply_yaml(&fast).await.unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let condition = |kind: &str, reason: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let status = |conditions: Value| {
        json!({
            "apiVersion": "channels.busway.dev/v1alpha1",
            "kind": "Bus",
            "metadata": { "name": "fast", "namespace": namespace.name() },
            "status": { "conditions": conditions },
        })
    };
    let to_status = ["--subresource=status"];
    let synced = status(json!([condition("Synced", "Synced")]));
    apply(&namespace, synced, &to_status).await.unwrap();
    let both = json!([
        condition("Synced", "Synced"),
        condition("Dispatching", "Available")
    ]);
    let said = apply(&namespace, status(both.clone()), &to_status).await;
    let said = said.unwrap_err();
    assert!(said.contains("conflict"), "{said}");
    let forced = ["--subresource=status", "--force-conflicts"];
    apply(&namespace, status(both), &forced).await.unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    says(&namespace, "bus/fast", "Synced", "True Synced").await;
}
