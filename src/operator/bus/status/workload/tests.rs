#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use busway_api::{ConditionType::Dispatching, Truth};
use serde_json::{Value, json};

use super::*;

fn deployment(status: Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "fast-bus-dispatcher", "generation": 2 },
        "spec": { "replicas": 2, "selector": {}, "template": {} },
        "status": status,
    }))
    .unwrap()
}

fn pod(status: Value) -> Arc<Pod> {
    let labels = json!({ "app.kubernetes.io/component": "dispatcher" });
    let pod = json!({ "metadata": { "name": "p-1", "labels": labels }, "status": status });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn judged(status: Value, pods: Vec<Arc<Pod>>) -> (Truth, String, String) {
    let found = Found {
        pods,
        ..Found::default()
    };
    let said = judge(
        Dispatching,
        Some(&deployment(status)),
        &found,
        Component::Dispatcher,
    );
    (said.truth, said.reason.into_owned(), said.message)
}

#[test]
fn all_pods_of_this_spec_are_wanted() {
    let all = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
    assert_eq!(judged(all, Vec::new()).0, Truth::True);
    let old_spec = json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
    assert_eq!(judged(old_spec, Vec::new()).1, "RollingOut");
    let old_pod_left = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 3 });
    let (truth, reason, _) = judged(old_pod_left, Vec::new());
    assert_eq!((truth, reason.as_str()), (Truth::Unknown, "RollingOut"));
    let none = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2 });
    assert_eq!(judged(none, Vec::new()).0, Truth::False);
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    let none = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2 });
    let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\"" } });
    let container = json!({ "name": "d", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": waiting });
    let (truth, reason, message) =
        judged(none, vec![pod(json!({ "containerStatuses": [container] }))]);
    assert_eq!((truth, reason.as_str()), (Truth::False, "Unavailable"));
    assert!(
        message.ends_with("pod p-1: ImagePullBackOff: Back-off pulling image \"x\""),
        "{message}"
    );
}

#[test]
fn a_crash_says_how_it_ended_and_not_how_long_it_waits() {
    let none = json!({ "observedGeneration": 2 });
    let container = json!({
        "name": "d", "image": "x", "imageID": "", "ready": false, "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s restarting" } },
        "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
    });
    let (_, _, message) = judged(none, vec![pod(json!({ "containerStatuses": [container] }))]);
    assert!(
        message.ends_with("pod p-1: CrashLoopBackOff, ended with 137 (OOMKilled)"),
        "{message}"
    );
}

#[test]
fn a_quota_and_pod_security_are_told_apart() {
    let refused = |message: &str| {
        json!({ "observedGeneration": 2, "conditions": [
            { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message },
        ]})
    };
    let quota = judged(
        refused("pods \"p\" is forbidden: exceeded quota: tight"),
        Vec::new(),
    );
    assert_eq!(quota.1, "Unavailable");
    assert!(quota.2.contains("exceeded quota: tight"), "{}", quota.2);
    let security = judged(
        refused("violates PodSecurity \"restricted:latest\": privileged"),
        Vec::new(),
    );
    assert_eq!(
        (security.0, security.1.as_str()),
        (Truth::False, "PodRefused")
    );
}

#[test]
fn a_pod_that_fits_on_no_node_says_so() {
    let none = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2 });
    let unscheduled = json!({ "conditions": [
        { "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" },
    ]});
    let (_, _, message) = judged(none, vec![pod(unscheduled)]);
    assert!(
        message.ends_with("pod p-1: 0/3 nodes are available"),
        "{message}"
    );
}
