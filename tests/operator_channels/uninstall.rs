use std::{path::Path, process::ExitStatus, time::Duration};

use busway::operator::args::{ChannelService, Scope};
use busway_testkit::{
    binary::Binary,
    control::{ControlPlane, Namespace, tool},
    wait,
};

use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{
    DEADLINE, Running, SYSTEM, bus, channel, hold, looks, prepared, settings, subscription,
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
        "1 Subscription in uninstall-0",
        "2 Channels in uninstall-0",
        "1 Bus in uninstall-0",
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

/// A bus, a channel and a subscription, held as if a dispatcher had been there.
async fn held_in(namespace: &Namespace) {
    let all = [
        bus("Bus", "near", ""),
        channel("local", "bus: near"),
        subscription("s", "local"),
    ];
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    for (object, finalizer) in [
        ("bus/near", "channels.busway.dev/workload"),
        ("channel/local", "channels.busway.dev/provisioned"),
        ("subscription/s", "channels.busway.dev/subscribed"),
    ] {
        hold(namespace, object, finalizer).await;
    }
}

/// Writes something at intervals until it is dropped.
fn again_and_again(
    control: &ControlPlane,
    args: impl Fn(usize) -> Vec<String> + Send + 'static,
) -> AbortOnDropHandle<()> {
    let kubeconfig = control.kubeconfig().to_owned();
    AbortOnDropHandle::new(tokio::spawn(async move {
        for turn in 0.. {
            let mut kubectl = tokio::process::Command::new(tool("kubectl").unwrap());
            kubectl.args(args(turn)).env("KUBECONFIG", &kubeconfig);
            let _ = kubectl.kill_on_drop(true).output().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }))
}

/// A Lease of an operator that looks after one namespace.
fn lease(of: &str, renewed: &str) -> String {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "of-the-team",
            "namespace": SYSTEM,
            "labels": { "channels.busway.dev/lease": "operator" },
            "annotations": { "channels.busway.dev/namespaces": of },
        },
        "spec": { "holderIdentity": "one", "leaseDurationSeconds": 3, "renewTime": renewed },
    })
    .to_string()
}

#[tokio::test]
async fn uninstall_of_some_namespaces_lets_others_be_and_trusts_no_clock() {
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    let (mine, theirs) = (
        control.namespace("mine").await.unwrap(),
        control.namespace("theirs").await.unwrap(),
    );
    for namespace in [&mine, &theirs] {
        held_in(namespace).await;
    }
    control
        .apply_yaml(&bus("ClusterBus", "main", ""))
        .await
        .unwrap();
    let force = |namespace: &Namespace| {
        let name = namespace.name().to_owned();
        let control = &control;
        async move { uninstall(control, &["--force", "--yes", "--namespace", &name]).await }
    };

    // By its clock the Lease is from long ago, and somebody renews it.
    let old = lease(mine.name(), "1999-01-01T00:00:00.000000Z");
    control.apply_yaml(&old).await.unwrap();
    // Another product's operator.
    let others = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "others",
            "namespace": SYSTEM,
            "labels": { "app.kubernetes.io/component": "operator" },
        },
        "spec": { "holderIdentity": "other", "leaseDurationSeconds": 3 },
    });
    control.apply_yaml(&others.to_string()).await.unwrap();
    let renewed = again_and_again(&control, |turn| {
        let time = format!(
            "1999-01-01T00:{:02}:{:02}.000000Z",
            turn / 60 % 60,
            turn % 60
        );
        let patch = json!({ "spec": { "renewTime": time } }).to_string();
        let args = [
            "patch",
            "lease",
            "of-the-team",
            "others",
            "-n",
            SYSTEM,
            "--type=merge",
            "-p",
            &patch,
        ];
        args.map(str::to_owned).to_vec()
    });
    let (status, said) = force(&mine).await;
    assert!(
        !status.success() && said.contains("an operator works: one"),
        "{said}"
    );
    // It looks after the one and not after the other. An object that is written to all the time is lifted all the same.
    let edited = theirs.name().to_owned();
    let edits = again_and_again(&control, move |turn| {
        let note = format!("turn={turn}");
        let args = [
            "annotate",
            "channel",
            "local",
            "-n",
            &edited,
            "--overwrite",
            &note,
        ];
        args.map(str::to_owned).to_vec()
    });
    let (status, said) = force(&theirs).await;
    assert!(status.success(), "{said}");
    drop((renewed, edits));
    let name = theirs.name();
    for part in [
        format!("let go without its hook: Subscription {name}/s (uid"),
        format!("let go without its hook: Channel {name}/local (uid"),
        format!("ClusterBus in {name} is gone"),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!said.contains(mine.name()), "{said}");

    let there = async |namespace: &Namespace| {
        let kinds = "subscriptions.channels.busway.dev,channels,buses";
        let left = namespace.kubectl_ok(&["get", kinds, "-o", "name"]).await;
        left.unwrap().lines().count()
    };
    assert_eq!((there(&mine).await, there(&theirs).await), (3, 0));

    // By its clock it is fresh for ages, and nobody renews it.
    let new = lease(mine.name(), "2199-01-01T00:00:00.000000Z");
    control.apply_yaml(&new).await.unwrap();
    let (status, said) = force(&mine).await;
    assert!(status.success(), "{said}");
    assert_eq!(there(&mine).await, 0);
    control
        .kubectl_ok(&["get", "clusterbus", "main"])
        .await
        .unwrap();
}

#[tokio::test]
async fn what_somebody_else_holds_is_said_and_what_was_let_go_is_not_lost() {
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    let namespace = control.namespace("shared").await.unwrap();
    held_in(&namespace).await;
    let both = json!({ "metadata": { "finalizers": [
        "channels.busway.dev/provisioned", "example.com/mine",
    ] } });
    let patch = [
        "patch",
        "channel/local",
        "--type=merge",
        "-p",
        &both.to_string(),
    ];
    namespace.kubectl_ok(&patch).await.unwrap();
    let (status, said) = uninstall(&control, &["--force", "--yes"]).await;
    assert!(!status.success());
    for part in [
        "let go without its hook: Subscription shared-0/s (uid",
        "let go without its hook: Channel shared-0/local (uid",
        "1 Channel left, held by somebody else's finalizers",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
