use std::{path::Path, process::ExitStatus};

use busway::operator::args::{ChannelService, Scope};
use busway_testkit::{
    binary::Binary,
    control::{ControlPlane, Namespace},
    wait,
};

use crate::support::{
    DEADLINE, Running, bus, channel, hold, looks, prepared, settings, subscription,
};

async fn uninstall(control: &ControlPlane, more: &[&str]) -> (ExitStatus, String) {
    let environment = [("KUBECONFIG", control.kubeconfig().as_os_str())];
    let arguments = [&["uninstall"], more].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_busway"));
    let mut running = Binary::start(program, arguments, &environment).unwrap();
    let status = running.ended(DEADLINE * 2).await.unwrap();
    (status, running.output().join("\n"))
}

/// One of each kind, held as by a bus with a broker.
async fn one_of_each(control: &ControlPlane, namespace: &Namespace) {
    control
        .apply_yaml(&bus("ClusterBus", "main", ""))
        .await
        .unwrap();
    let all = [
        bus("Bus", "near", ""),
        channel("orders", "clusterBus: main"),
        channel("local", "bus: near"),
        subscription("s", "orders"),
    ];
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    hold(
        namespace,
        "channel/orders",
        "channels.busway.dev/provisioned",
    )
    .await;
    hold(
        namespace,
        "subscription/s",
        "channels.busway.dev/subscribed",
    )
    .await;
    let workload = |found: &serde_json::Value| found["metadata"]["finalizers"].is_array();
    looks(namespace, "bus/near", "has its finalizer", workload).await;
    looks(namespace, "clusterbus/main", "has its finalizer", workload).await;
}

async fn nothing_is_left(control: &ControlPlane) {
    let kinds = "subscriptions.channels.busway.dev,channels,buses,clusterbuses";
    let left = control
        .kubectl_ok(&["get", kinds, "-A", "-o", "name"])
        .await
        .unwrap();
    assert_eq!(left, "");
}

#[tokio::test]
async fn uninstall_deletes_everything_with_the_operator_and_with_force_without() {
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    let namespace = control.namespace("uninstall").await.unwrap();
    let start = || {
        Running::start(
            &control,
            settings(ChannelService::Auto, Scope::All),
            "busway-operator",
        )
    };
    let operator = start().await;
    one_of_each(&control, &namespace).await;

    // Nobody can be asked, so nothing happens.
    let (status, said) = uninstall(&control, &[]).await;
    assert!(!status.success());
    for part in [
        "1 Subscription",
        "2 Channels",
        "1 Bus",
        "1 ClusterBus",
        "pass --yes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // An operator works, so force is not needed, and refused.
    let (status, said) = uninstall(&control, &["--force", "--yes"]).await;
    assert!(
        !status.success() && said.contains("an operator works"),
        "{said}"
    );
    namespace
        .kubectl_ok(&["get", "channel", "orders"])
        .await
        .unwrap();

    let (status, said) = uninstall(&control, &["--yes"]).await;
    assert!(status.success(), "{said}");
    for part in [
        "waits: SubscriptionDeleted",
        "waits: ChannelDeleted",
        "let go without that at",
        "every Subscription, Channel, Bus and ClusterBus is gone",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    nothing_is_left(&control).await;
    let children = "app.kubernetes.io/managed-by=busway-operator";
    let left = [
        "get",
        "deployments,services",
        "-A",
        "-o",
        "name",
        "-l",
        children,
    ];
    wait::until(
        "the operator and the garbage collector cleaned up",
        DEADLINE,
        || async {
            match control.kubectl_ok(&left).await {
                Ok(left) if left.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
    .unwrap();

    // The operator goes first.
    one_of_each(&control, &namespace).await;
    operator.end().await;
    let (status, said) = uninstall(&control, &["--yes", "--timeout", "2s"]).await;
    assert!(!status.success() && said.contains("--force"), "{said}");
    let (status, said) = uninstall(&control, &["--force", "--yes"]).await;
    assert!(status.success(), "{said}");
    for part in [
        "may be left",
        "Channel uninstall-0/orders (uid",
        "Subscription uninstall-0/s (uid",
        "still there",
        "deployments uninstall-0/near-bus-dispatcher",
        "kubectl delete deployments",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    nothing_is_left(&control).await;

    // There is nothing to do a second time, and that is no failure.
    let (status, said) = uninstall(&control, &["--force", "--yes"]).await;
    assert!(status.success(), "{said}");
}
