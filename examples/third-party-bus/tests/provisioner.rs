//! A provisioner and a dispatcher, each a process: one runs the hooks, the other carries messages.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{ffi::OsStr, path::Path, time::Duration};

use busway_testkit::{
    binary::Binary,
    client,
    control::{ControlPlane, Namespace},
    subscriber::Subscriber,
    wait,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(120);
const BUS: &str = "sqlite-apart";

fn start(control: &ControlPlane, file: &Path, part: &str, more: &[&str]) -> Binary {
    let environment = [
        ("SQLITE_FILE", file.as_os_str()),
        ("KUBECONFIG", control.kubeconfig().as_os_str()),
        ("PROVISIONER", OsStr::new("apart")),
    ];
    let mut args = vec![part, "--standalone", "--cluster-bus", BUS, "--log-format", "json"];
    for flag in ["--listen", "--admin", "--debug"] {
        args.extend([flag, "127.0.0.1:0"]);
    }
    args.extend(more);
    Binary::start(Path::new(env!("CARGO_BIN_EXE_third-party-bus")), args, &environment).unwrap()
}

async fn object(namespace: &Namespace, object: &str) -> Option<Value> {
    let args = ["get", object, "-o", "json", "--show-managed-fields", "--ignore-not-found"];
    let found = namespace.kubectl_ok(&args).await.unwrap();
    (!found.is_empty()).then(|| serde_json::from_str(&found).unwrap())
}

async fn ready(namespace: &Namespace, name: &str) -> Value {
    wait::until(&format!("{name} is Ready"), DEADLINE, async || {
        let found = object(namespace, name).await.unwrap_or_default();
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready { Ok(found) } else { Err(format!("{found:#}")) }
    })
    .await
    .unwrap()
}

/// Who owns a condition of an object.
fn owner(object: &Value, condition: &str) -> String {
    let key = format!(r#"k:{{"type":"{condition}"}}"#);
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let mut owning = managers.iter().filter(|m| m["fieldsV1"]["f:status"]["f:conditions"][&key].is_object());
    let owner = owning.next().unwrap()["manager"].as_str().unwrap().to_owned();
    assert!(owning.next().is_none(), "{condition} has two owners: {object:#}");
    owner
}

#[tokio::test]
async fn a_provisioner_runs_the_hooks_and_the_dispatcher_carries_messages() {
    let control = ControlPlane::shared().await.unwrap();
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds.yaml");
    let crds = crds.to_str().unwrap();
    control.kubectl_ok(&["apply", "-f", crds]).await.unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", crds];
    control.kubectl_ok(&established).await.unwrap();
    let namespace = control.namespace("apart").await.unwrap();
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("bus.sqlite");
    let subscriber = Subscriber::start().await.unwrap();
    let container = json!({"name": "c", "image": "example.com/sqlite:1"});
    for (kind, name, spec) in [
        ("ClusterBus", BUS, json!({"dispatcher": container, "provisioner": container})),
        ("Channel", "orders", json!({"clusterBus": BUS})),
        ("Subscription", "s", json!({"channel": "orders", "subscriber": subscriber.url()})),
    ] {
        let version = "channels.busway.dev/v1alpha1";
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        namespace.apply_yaml(&object.to_string()).await.unwrap();
    }

    let dispatcher = start(control, &file, "dispatcher", &[]);
    let messages = dispatcher.address("messages", DEADLINE).await.unwrap();
    let peer = dispatcher.address("admin", DEADLINE).await.unwrap();
    let mut provisioner = start(control, &file, "provisioner", &["--peer", &format!("http://{peer}")]);
    let admin = provisioner.address("admin", DEADLINE).await.unwrap();
    wait::until("the provisioner is ready", DEADLINE, async || {
        let answer = client::get(admin, "/readyz").await.map_err(|e| e.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await
    .unwrap();

    let channel = ready(&namespace, "channel/orders").await;
    let subscription = ready(&namespace, "subscription/s").await;
    assert_eq!(owner(&channel, "Provisioned"), "busway-provisioner");
    assert_eq!(owner(&channel, "Routable"), "busway-dispatcher");
    assert_eq!(owner(&subscription, "Subscribed"), "busway-provisioner");
    assert_eq!(owner(&subscription, "Dispatching"), "busway-dispatcher");
    let path = format!("/{}/orders", namespace.name());
    let answer = client::post(messages, &path, &[], "hello".to_owned()).await.unwrap();
    assert_eq!(answer.status, 202);
    assert_eq!(subscriber.wait_for(1).await.unwrap()[0].body, "hello");

    // While it is away messages go on, and a deletion waits for it.
    provisioner.signal("KILL").await.unwrap();
    provisioner.ended(DEADLINE).await.unwrap();
    let answer = client::post(messages, &path, &[], "alone".to_owned()).await.unwrap();
    assert_eq!(answer.status, 202);
    subscriber.wait_for(2).await.unwrap();
    namespace.kubectl_ok(&["delete", "subscription/s", "channel/orders", "--wait=false"]).await.unwrap();
    wait::until("the dispatcher refuses", DEADLINE, async || {
        let answer = client::post(messages, &path, &[], "late".to_owned()).await.unwrap();
        if answer.status == 404 { Ok(()) } else { Err(answer.status) }
    })
    .await
    .unwrap();
    assert!(object(&namespace, "channel/orders").await.is_some(), "nobody unprovisioned it");

    let again = start(control, &file, "provisioner", &["--peer", &format!("http://{peer}")]);
    for name in ["subscription/s", "channel/orders"] {
        wait::until(&format!("{name} is gone"), DEADLINE, async || match object(&namespace, name).await {
            None => Ok(()),
            Some(found) => Err(format!("{found:#}\n{}", again.output().join("\n"))),
        })
        .await
        .unwrap();
    }
    let left = rusqlite::Connection::open(&file).unwrap();
    let rows: u32 = left.query_row("SELECT COUNT(*) FROM channels", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}
