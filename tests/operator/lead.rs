use anyhow::ensure;
use busway_testkit::{control::Namespace, wait};
use serde_json::json;

use crate::support::{DEADLINE, bus, get, looked_after, operator, says, shared};

const HOLDS: &str = "holds the Lease";

async fn holder(namespace: &Namespace) -> anyhow::Result<String> {
    let lease = get(namespace, "lease/busway-operator").await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    Ok(holder.to_owned())
}

#[tokio::test]
async fn of_two_operators_one_works_and_hands_over_when_it_is_told_to_go() {
    let (namespace, mut first) = looked_after("leads", &[]).await;
    first.line_with(HOLDS, DEADLINE).await.unwrap();
    let second = operator(shared().await, namespace.name(), &["--scope", "own"]);
    second.address("admin", DEADLINE).await.unwrap();
    let held = holder(&namespace).await.unwrap();
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
    let output = second.output();
    assert!(
        !output.iter().any(|line| line.contains("\"object\"")),
        "the second wrote: {output:?}"
    );
    assert_eq!(holder(&namespace).await.unwrap(), held);

    first.signal("TERM").await.unwrap();
    let ended = first.ended(DEADLINE).await.unwrap();
    assert!(ended.success(), "{ended}: {:?}", first.output());
    first
        .line_with("gave the Lease back", DEADLINE)
        .await
        .unwrap();
    second.line_with(HOLDS, DEADLINE).await.unwrap();
    namespace
        .apply_yaml(&bus("later", json!({ "memory": {} })))
        .await
        .unwrap();
    says(&namespace, "bus/later", "Dispatching", "False Unavailable").await;
}

#[tokio::test]
async fn an_operator_whose_lease_somebody_took_ends() {
    let (namespace, mut operator) = looked_after("loses", &[]).await;
    operator.line_with(HOLDS, DEADLINE).await.unwrap();
    let taken = r#"{"spec":{"holderIdentity":"another"}}"#;
    namespace
        .kubectl_ok(&[
            "patch",
            "lease/busway-operator",
            "--type=merge",
            "-p",
            taken,
        ])
        .await
        .unwrap();
    let ended = operator.ended(DEADLINE).await.unwrap();
    assert!(!ended.success(), "{ended}");
    let output = operator.output().join("\n");
    assert!(output.contains("the Lease was lost"), "{output}");
    wait::until("the other keeps it", DEADLINE, || async {
        let holder = holder(&namespace).await?;
        ensure!(holder == "another", "{holder}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_operator_that_is_killed_is_replaced_when_its_lease_runs_out() {
    let (namespace, mut first) = looked_after("killed", &[]).await;
    first.line_with(HOLDS, DEADLINE).await.unwrap();
    let second = operator(shared().await, namespace.name(), &["--scope", "own"]);
    namespace
        .apply_yaml(&bus("fast", json!({ "memory": {} })))
        .await
        .unwrap();
    first.signal("KILL").await.unwrap();
    first.ended(DEADLINE).await.unwrap();
    second.line_with(HOLDS, DEADLINE).await.unwrap();
    says(&namespace, "bus/fast", "Dispatching", "False Unavailable").await;
}
