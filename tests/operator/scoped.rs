//! A release that looks after some namespaces: what the chart gives it is enough, and ends at their border.

use std::{ffi::OsStr, path::Path, process::Command};

use anyhow::ensure;
use busway_testkit::{
    binary::Binary,
    control::{ControlPlane, tool},
    wait,
};
use serde_json::{Value, json};

use crate::support::{DEADLINE, IMAGE, bus, get, object, says, until, with_crds};

const SYSTEM: &str = "busway-system";

/// The chart for `scope.mode: list`, as an Argo CD applies it: without Leases, the definitions being there.
fn chart(namespace: &str) -> String {
    let values = format!(
        "scope.mode=list,scope.namespaces={{{namespace}}},cluster.id=c1,crds.install=false,rbac.aggregate=false"
    );
    let out = Command::new(tool("helm").unwrap())
        .args(["template", "busway", "charts/busway", "--skip-tests"])
        .args(["--namespace", SYSTEM, "--kube-version", "1.33.0"])
        .args(["--set", &values])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(out.stdout).unwrap()).unwrap();
    let kept = all
        .iter()
        .filter(|one| !one.is_null() && one["kind"] != "Lease");
    kept.map(|one| format!("---\n{one}\n")).collect()
}

fn operator(kubeconfig: &Path, namespace: &str) -> Binary {
    let args = [
        "operator",
        "--admin=127.0.0.1:0",
        "--log-format=json",
        "--image",
        IMAGE,
        "--scope=list",
        "--namespaces",
        namespace,
        "--cluster-id=c1",
    ];
    let environment = [
        ("KUBECONFIG", kubeconfig.as_os_str()),
        ("POD_NAMESPACE", OsStr::new(SYSTEM)),
    ];
    Binary::start(Path::new(env!("CARGO_BIN_EXE_busway")), args, &environment).unwrap()
}

#[tokio::test]
async fn an_operator_of_some_namespaces_needs_no_cluster_role_and_makes_its_own_lease() {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let make = ["create", "namespace", SYSTEM];
    control.kubectl_ok(&make).await.unwrap();
    let team = control.namespace("team").await.unwrap();
    let other = control.namespace("other").await.unwrap();
    control.apply_yaml(&chart(team.name())).await.unwrap();
    let account = control.as_service_account(SYSTEM, "busway-operator");
    account.await.unwrap();
    let kubeconfig = format!("{SYSTEM}.busway-operator.kubeconfig");
    let operator = operator(&control.folder().join(kubeconfig), team.name());

    for namespace in [&team, &other] {
        let bus = bus("fast", json!({ "memory": {} }));
        namespace.apply_yaml(&bus).await.unwrap();
    }
    let channel = object("Channel", "orders", json!({ "bus": "fast" }));
    team.apply_yaml(&channel).await.unwrap();
    let begins = "False Unavailable Deployment";
    says(&team, "bus/fast", "Dispatching", begins).await;
    let binding = get(&team, "rolebinding/fast-bus-dispatcher-channels").await;
    let role = &binding.unwrap()["roleRef"];
    assert_eq!(
        (&role["kind"], &role["name"]),
        (&json!("Role"), &json!("busway-dispatcher"))
    );

    // It leads by a Lease that nobody gave it.
    wait::until("the Lease is held", DEADLINE, || async {
        // With the label by which an uninstall finds it.
        let of = [
            "get",
            "lease",
            "-n",
            SYSTEM,
            "-l",
            "channels.busway.dev/lease=operator",
        ];
        let holder = [&of[..], &["-o", "jsonpath={.items[*].spec.holderIdentity}"]].concat();
        let holder = control.kubectl_ok(&holder).await?;
        ensure!(!holder.is_empty(), "nobody holds it");
        Ok(())
    })
    .await
    .unwrap();

    // What the dispatcher may do, it may do here and not elsewhere.
    let dispatcher = control.as_service_account(team.name(), "fast-bus-dispatcher");
    let dispatcher = dispatcher.await.unwrap();
    for (namespace, expected) in [(&team, "yes"), (&other, "no")] {
        for (verb, kind, part) in [
            ("list", "subscriptions", ""),
            ("patch", "channels", ""),
            ("patch", "buses", "status"),
        ] {
            let what = format!("{kind}.channels.busway.dev");
            let part = format!("--subresource={part}");
            let asked = ["auth", "can-i", verb, &what, &part, "-n", namespace.name()];
            let said = dispatcher.run(asked, "").await.unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert_eq!(
                said.trim(),
                expected,
                "{verb} {what} in {}",
                namespace.name()
            );
        }
    }

    // Nobody looks after the other, and the end of a bus needs no more rights than its beginning.
    until(&other, "bus/fast", "is nobody's", |found| {
        let untouched = found["metadata"]["finalizers"].is_null();
        untouched.then_some(()).ok_or("it has a finalizer")
    })
    .await;
    let gone = ["delete", "channel/orders", "bus/fast", "--timeout=60s"];
    team.kubectl_ok(&gone).await.unwrap();
    let refused: Vec<_> = operator
        .output()
        .into_iter()
        .filter(|line| line.contains("forbidden"))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
