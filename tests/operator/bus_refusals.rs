use anyhow::ensure;
use busway_testkit::wait;
use serde_json::json;

use crate::support::{DEADLINE, bus, get, looked_after, says, until};

#[tokio::test]
async fn somebody_elses_service_is_not_touched_and_is_named() {
    let (namespace, _operator) = looked_after("clash", &[]).await;
    namespace
        .kubectl_ok(&["create", "service", "clusterip", "fast-bus", "--tcp=1234"])
        .await
        .unwrap();
    let before = get(&namespace, "service/fast-bus").await.unwrap();
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    let said = says(&namespace, "bus/fast", "Serviceable", "False NameClash").await;
    assert!(
        said.contains(&format!("Service {namespace}/fast-bus")),
        "{said}"
    );
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    assert_eq!(get(&namespace, "service/fast-bus").await.unwrap(), before);
    wait::until("an event tells of it", DEADLINE, || async {
        let events = namespace
            .kubectl_ok(&["get", "events.events.k8s.io", "-o", "wide"])
            .await?;
        ensure!(events.contains("NameClash"), "{events}");
        Ok(())
    })
    .await
    .unwrap();

    namespace
        .kubectl_ok(&["delete", "service/fast-bus"])
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Serviceable", "False NoEndpoint").await;
}

#[tokio::test]
async fn a_third_partys_containers_are_refused_in_a_namespace_unless_the_admin_allows_them() {
    let (namespace, mut operator) = looked_after("foreign", &[]).await;
    let spec = json!({ "dispatcher": { "name": "theirs", "image": "theirs:1" } });
    namespace.apply_yaml(&bus("theirs", spec)).await.unwrap();
    says(
        &namespace,
        "bus/theirs",
        "Dispatching",
        "False ThirdPartyNotAllowed",
    )
    .await;
    says(
        &namespace,
        "bus/theirs",
        "Ready",
        "False ThirdPartyNotAllowed",
    )
    .await;
    let made = namespace
        .kubectl_ok(&["get", "deploy,svc,sa", "-o", "name"])
        .await
        .unwrap();
    assert_eq!(made.trim(), "serviceaccount/default", "nothing is made");
    operator.signal("TERM").await.unwrap();
    operator.ended(DEADLINE).await.unwrap();

    let control = crate::support::shared().await;
    let allowed = ["--scope", "own", "--third-party-buses", "Namespaced"];
    let mut operator = crate::support::operator(control, namespace.name(), &allowed);
    says(&namespace, "bus/theirs", "Dispatching", "False Unavailable").await;
    operator.signal("TERM").await.unwrap();
    operator.ended(DEADLINE).await.unwrap();

    // What runs ends when the admin takes that back.
    let _operator = crate::support::operator(control, namespace.name(), &["--scope", "own"]);
    crate::support::gone(&namespace, "deployment/theirs-bus-dispatcher").await;
    let refused = "False ThirdPartyNotAllowed";
    says(&namespace, "bus/theirs", "Dispatching", refused).await;
}

#[tokio::test]
async fn a_quota_that_is_full_is_told_in_its_own_words() {
    let (namespace, _operator) = looked_after("quota", &[]).await;
    namespace
        .kubectl_ok(&["create", "quota", "tight", "--hard=pods=0"])
        .await
        .unwrap();
    until(&namespace, "quota/tight", "is counted", |found| {
        ensure!(
            found["status"]["hard"]["pods"] == "0",
            "{:#}",
            found["status"]
        );
        Ok(())
    })
    .await;
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    let what = "says that the quota is full";
    until(&namespace, "bus/fast", what, |found| {
        let said = crate::support::condition(found, "Dispatching");
        ensure!(
            said.starts_with("False Unavailable") && said.contains("exceeded quota: tight"),
            "{said}"
        );
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_the_namespace_refuses_is_told_with_what_it_violates() {
    let allowed = ["--third-party-buses", "Namespaced"];
    let (namespace, _operator) = looked_after("refused", &allowed).await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    namespace
        .kubectl_ok(&["label", "namespace", namespace.name(), enforce])
        .await
        .unwrap();
    let built_in = bus("ours", json!({ "memory": {} }));
    namespace.apply_yaml(&built_in).await.unwrap();
    let privileged = json!({ "dispatcher": {
        "name": "theirs",
        "image": "theirs:1",
        "securityContext": { "privileged": true },
    }});
    namespace
        .apply_yaml(&bus("theirs", privileged))
        .await
        .unwrap();
    let said = says(&namespace, "bus/theirs", "Dispatching", "False PodRefused").await;
    assert!(said.contains("privileged"), "{said}");
    // Ours are made there: what is restricted is enough for them.
    wait::until("the built-in bus has its pod", DEADLINE, || async {
        let pods = namespace.kubectl_ok(&["get", "pods", "-o", "name"]).await?;
        ensure!(pods.contains("ours-bus-dispatcher"), "{pods}");
        Ok(())
    })
    .await
    .unwrap();
}
