use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_testkit::{binary::Binary, control::ControlPlane, wait};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    bus_deletion::nothing_is_left,
    support::{DEADLINE, IMAGE, bus, gone, object, says},
};

const SYSTEM: &str = "busway-system";
/// How often it is looked whether the operator ended.
const LOOK: Duration = Duration::from_millis(500);

/// A control plane with what is installed on clusters, and an operator under the account that comes with it.
async fn installed() -> (ControlPlane, Kept) {
    let control = ControlPlane::start().await.unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/busway.yaml");
    let manifests = manifests.to_string_lossy().into_owned();
    let apply = ["apply", "--server-side", "-f", &manifests];
    // The CRDs are served a moment after they are stored, and a default ClusterBus needs them.
    wait::until("everything is applied", DEADLINE, || {
        control.kubectl_ok(&apply)
    })
    .await
    .unwrap();
    control
        .as_service_account(SYSTEM, "busway-operator")
        .await
        .unwrap();
    let file = format!("{SYSTEM}.busway-operator.kubeconfig");
    let operator = Kept::start(control.folder().join(file));
    (control, operator)
}

/// An operator that is started again when it ends, as a kubelet does: one that lost its Lease ends.
struct Kept {
    refused: Arc<Mutex<BTreeSet<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Kept {
    fn start(kubeconfig: PathBuf) -> Self {
        let refused: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let kept = Arc::clone(&refused);
        let task = tokio::spawn(async move {
            loop {
                let mut operator = once(&kubeconfig);
                let mut seen = 0;
                loop {
                    let ended = operator.ended(LOOK).await;
                    let output = operator.output();
                    let new = output.iter().skip(seen);
                    let refused = new.filter(|line| line.contains("forbidden")).cloned();
                    kept.lock().unwrap().extend(refused);
                    seen = output.len();
                    if ended.is_ok() {
                        break;
                    }
                }
            }
        });
        Self {
            refused,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

fn once(kubeconfig: &Path) -> Binary {
    let args = [
        "operator",
        "--admin",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--image",
        IMAGE,
    ];
    let environment = [
        ("KUBECONFIG", kubeconfig.as_os_str()),
        ("POD_NAMESPACE", OsStr::new(SYSTEM)),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_busway"));
    Binary::start(program, args, &environment).unwrap()
}

#[tokio::test]
async fn the_account_that_is_installed_is_enough_and_outlives_the_api_server() {
    let (control, operator) = installed().await;
    let team = control.namespace("team").await.unwrap();
    let everything = json!({ "memory": {}, "replicas": 2, "networkPolicy": { "enabled": true } });
    team.apply_yaml(&bus("fast", everything.clone()))
        .await
        .unwrap();
    team.apply_yaml(&object("ClusterBus", "all", everything))
        .await
        .unwrap();
    team.apply_yaml(&object("Channel", "here", json!({ "bus": "fast" })))
        .await
        .unwrap();
    team.apply_yaml(&object("Channel", "there", json!({ "clusterBus": "all" })))
        .await
        .unwrap();
    for bus in ["bus/fast", "clusterbus/all"] {
        says(&team, bus, "Dispatching", "False Unavailable Deployment").await;
    }

    let refused = operator.refused.lock().unwrap().clone();
    assert!(refused.is_empty(), "{refused:#?}");
    control.stop_apiserver();
    control.start_apiserver().await.unwrap();
    team.kubectl_ok(&[
        "delete",
        "service/fast-bus",
        "networkpolicy/fast-bus-dispatcher",
    ])
    .await
    .unwrap();
    team.apply_yaml(&bus("later", json!({ "memory": {} })))
        .await
        .unwrap();
    says(
        &team,
        "bus/later",
        "Dispatching",
        "False Unavailable Deployment",
    )
    .await;
    for object in ["service/fast-bus", "networkpolicy/fast-bus-dispatcher"] {
        crate::support::until(&team, object, "is put back", |_| Ok::<_, String>(())).await;
    }

    // An API server that has just started knows nobody's rights for a moment.
    operator.refused.lock().unwrap().clear();
    for bus in ["bus/fast", "bus/later", "clusterbus/all"] {
        team.kubectl_ok(&["delete", bus, "--wait=false"])
            .await
            .unwrap();
    }
    says(&team, "bus/fast", "DeletionBlocked", "True ChannelsRemain").await;
    says(
        &team,
        "clusterbus/all",
        "DeletionBlocked",
        "True ChannelsRemain",
    )
    .await;
    team.kubectl_ok(&["delete", "channel", "--all", "--timeout=60s"])
        .await
        .unwrap();
    for bus in ["bus/fast", "bus/later", "clusterbus/all"] {
        gone(&team, bus).await;
    }
    nothing_is_left(&team).await;
    let refused = operator.refused.lock().unwrap().clone();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test]
async fn the_operator_may_read_no_secret_and_grant_nothing_that_it_does_not_hold() {
    let (control, operator) = installed().await;
    drop(operator);
    let account = control
        .as_service_account(SYSTEM, "busway-operator")
        .await
        .unwrap();
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("get", "configmaps"),
        ("impersonate", "serviceaccounts"),
        ("escalate", "roles"),
        ("create", "serviceaccounts --subresource=token"),
    ] {
        let said = account
            .run(["auth", "can-i", verb, what, "-A"], "")
            .await
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said.trim(), "no", "{verb} {what}");
    }
    let grant = [
        "create",
        "rolebinding",
        "grab",
        "--clusterrole=cluster-admin",
        "--user=me",
        "-n",
        SYSTEM,
    ];
    let refused = account.run(grant, "").await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("attempting to grant"),
        "{said}"
    );
}
