use anyhow::ensure;
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};
use serde_json::json;

use crate::support::{
    DEADLINE, bus, get, gone, looked_after, object, operator, says, shared, until, with_crds,
};

const OURS: &[&str] = &[
    "get",
    "deploy,svc,sa,role,rolebinding,lease,pdb,networkpolicy",
    "-l",
    "app.kubernetes.io/managed-by=busway-operator",
    "-o",
    "name",
];

pub(crate) async fn nothing_is_left(namespace: &Namespace) {
    wait::until("nothing of ours is left", DEADLINE, || async {
        let left = namespace.kubectl_ok(OURS).await?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_deleted_bus_serves_until_its_last_channel_is_gone_whichever_way_it_is_deleted() {
    let (namespace, _operator) = looked_after("blocked", &["--channel-service", "None"]).await;
    for way in ["background", "foreground", "orphan"] {
        namespace
            .apply_yaml(&bus("fast", json!({ "memory": {} })))
            .await
            .unwrap();
        let channel = object("Channel", "orders", json!({ "bus": "fast" }));
        namespace.apply_yaml(&channel).await.unwrap();
        says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
        let cascade = format!("--cascade={way}");
        namespace
            .kubectl_ok(&["delete", "bus/fast", "--wait=false", &cascade])
            .await
            .unwrap();
        let said = says(
            &namespace,
            "bus/fast",
            "DeletionBlocked",
            "True ChannelsRemain",
        )
        .await;
        assert!(
            said.ends_with(&format!("1 channel on it: {namespace}/orders")),
            "{said}"
        );

        // It is looked after until then.
        namespace
            .kubectl_ok(&["delete", "service/fast-bus"])
            .await
            .unwrap();
        until(&namespace, "service/fast-bus", "is put back", |_| {
            Ok::<_, String>(())
        })
        .await;

        namespace
            .kubectl_ok(&["delete", "channel/orders", "--timeout=60s"])
            .await
            .unwrap();
        gone(&namespace, "bus/fast").await;
        nothing_is_left(&namespace).await;
    }
}

#[tokio::test]
async fn definitions_that_are_deleted_with_a_bus_do_not_wait_for_ever() {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let namespace = control.namespace("undefined").await.unwrap();
    let _operator = operator(&control, namespace.name(), &["--scope", "own"]);
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    // Nobody can say any more that no channel is on it: there are none without their definition.
    for kinds in ["channels", "buses"] {
        let definition = format!("{kinds}.channels.busway.dev");
        control
            .kubectl_ok(&["delete", "crd", &definition, "--timeout=60s"])
            .await
            .unwrap();
    }
    nothing_is_left(&namespace).await;
}

#[tokio::test]
async fn what_is_left_of_a_bus_that_went_without_its_operator_is_swept() {
    let (namespace, mut first) = looked_after("swept", &[]).await;
    for name in ["stays", "goes"] {
        namespace
            .apply_yaml(&bus(name, json!({ "memory": {} })))
            .await
            .unwrap();
        says(
            &namespace,
            &format!("bus/{name}"),
            "Dispatching",
            "False Unavailable",
        )
        .await;
    }
    first.signal("TERM").await.unwrap();
    first.ended(DEADLINE).await.unwrap();
    let lift = r#"{"metadata":{"finalizers":[]}}"#;
    namespace
        .kubectl_ok(&["patch", "bus/goes", "--type=merge", "-p", lift])
        .await
        .unwrap();
    namespace.kubectl_ok(&["delete", "bus/goes"]).await.unwrap();
    let left = namespace.kubectl_ok(OURS).await.unwrap();
    assert!(left.contains("goes-bus-dispatcher"), "{left}");

    let _second = operator(shared().await, namespace.name(), &["--scope", "own"]);
    wait::until("what went with its bus is gone", DEADLINE, || async {
        let left = namespace.kubectl_ok(OURS).await?;
        ensure!(!left.contains("goes-bus"), "{left}");
        Ok(())
    })
    .await
    .unwrap();
    let left = namespace.kubectl_ok(OURS).await.unwrap();
    assert!(
        left.contains("deployment.apps/stays-bus-dispatcher"),
        "{left}"
    );
}

#[tokio::test]
async fn what_holds_a_child_is_named() {
    let (namespace, _operator) = looked_after("held", &[]).await;
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let hold = r#"{"metadata":{"finalizers":["example.test/held"]}}"#;
    namespace
        .kubectl_ok(&["patch", "service/fast-bus", "--type=merge", "-p", hold])
        .await
        .unwrap();
    namespace
        .kubectl_ok(&["delete", "bus/fast", "--wait=false"])
        .await
        .unwrap();
    let said = says(
        &namespace,
        "bus/fast",
        "DeletionBlocked",
        "True ChildrenRemain",
    )
    .await;
    assert!(
        said.contains(&format!("Service {namespace}/fast-bus")),
        "{said}"
    );
    let lift = r#"{"metadata":{"finalizers":null}}"#;
    namespace
        .kubectl_ok(&["patch", "service/fast-bus", "--type=merge", "-p", lift])
        .await
        .unwrap();
    gone(&namespace, "bus/fast").await;
    nothing_is_left(&namespace).await;
}

#[tokio::test]
async fn what_is_left_of_a_bus_that_was_removed_by_force_is_not_in_the_way_of_the_next() {
    let (namespace, _operator) = looked_after("forced", &[]).await;
    let made = bus("fast", json!({ "memory": {} }));
    namespace.apply_yaml(&made).await.unwrap();
    let begins = "False Unavailable";
    says(&namespace, "bus/fast", "Dispatching", begins).await;
    let lift = r#"{"metadata":{"finalizers":[],"annotations":{"channels.busway.dev/pause-reconcile":"true"}}}"#;
    namespace
        .kubectl_ok(&["patch", "bus/fast", "--type=merge", "-p", lift])
        .await
        .unwrap();
    namespace.kubectl_ok(&["delete", "bus/fast"]).await.unwrap();
    let left = namespace.kubectl_ok(OURS).await.unwrap();
    assert!(left.contains("fast-bus-dispatcher"), "{left}");

    namespace.apply_yaml(&made).await.unwrap();
    let next = get(&namespace, "bus/fast").await.unwrap();
    let label = "/metadata/labels/channels.busway.dev~1owner-uid";
    until(
        &namespace,
        "deployment/fast-bus-dispatcher",
        "is the next one's",
        |found| {
            let owner = found.pointer(label);
            ensure!(owner == next.pointer("/metadata/uid"), "{owner:?}");
            Ok(())
        },
    )
    .await;
    says(&namespace, "bus/fast", "Dispatching", begins).await;
}
