use std::{ffi::OsStr, net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use busway_testkit::{
    binary::Binary,
    control::{ControlPlane, Namespace},
    wait,
};

/// A watch whose API server was away looks again within half a minute (kube's longest backoff), and once more when that one was
/// not ready yet; twice that on a machine that does other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A control plane with our kinds in it.
pub(crate) async fn with_crds(control: &ControlPlane) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds.yaml");
    // Client-side, as people do it: the kinds must fit its annotation.
    control
        .kubectl_ok(&["apply", "-f", &crds.to_string_lossy()])
        .await
        .unwrap();
    control
        .kubectl_ok(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &crds.to_string_lossy(),
        ])
        .await
        .unwrap();
}

pub(crate) async fn shared() -> &'static ControlPlane {
    static READY: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let control = ControlPlane::shared().await.unwrap();
    READY.get_or_init(|| with_crds(control)).await;
    control
}

pub(crate) fn busway(args: &[&str], control: Option<&ControlPlane>) -> Binary {
    let environment: Vec<(&str, &OsStr)> = control
        .map(|control| ("KUBECONFIG", control.kubeconfig().as_os_str()))
        .into_iter()
        .collect();
    Binary::start(Path::new(env!("CARGO_BIN_EXE_busway")), args, &environment).unwrap()
}

/// A subscriber: `busway sink` with these flags, and where it listens.
pub(crate) async fn sink(more: &[&str]) -> (Binary, SocketAddr) {
    let args: Vec<_> = ["sink", "--listen", "127.0.0.1:0"]
        .iter()
        .chain(more)
        .copied()
        .collect();
    let sink = busway(&args, None);
    let address = sink.address("sink", DEADLINE).await.unwrap();
    (sink, address)
}

/// A dispatcher of a ClusterBus, on ports that the kernel chose.
pub(crate) fn dispatcher(control: &ControlPlane, bus: &str, more: &[&str]) -> Binary {
    let args: Vec<_> = [
        "dispatcher",
        "--standalone",
        "--cluster-bus",
        bus,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--debug",
        "127.0.0.1:0",
        "--log-format",
        "json",
    ]
    .iter()
    .chain(more)
    .copied()
    .collect();
    busway(&args, Some(control))
}

pub(crate) fn cluster_bus(name: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: ClusterBus\nmetadata: {{name: {name}}}\nspec: {{memory: {{}}}}\n"
    )
}

pub(crate) fn channel(name: &str, bus: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {{name: {name}}}\nspec: {{clusterBus: {bus}}}\n"
    )
}

pub(crate) fn subscription(name: &str, channel: &str, subscriber: SocketAddr) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\nspec: {{channel: {channel}, subscriber: 'http://{subscriber}/'}}\n"
    )
}

/// A ClusterBus, channel `c` on it, and subscription `s` of that.
pub(crate) async fn one_of_each(namespace: &Namespace, bus: &str, subscriber: SocketAddr) {
    for object in [
        cluster_bus(bus),
        channel("c", bus),
        subscription("s", "c", subscriber),
    ] {
        namespace.apply_yaml(&object).await.unwrap();
    }
}

/// Waits until Ready of an object is this status for its current generation, and returns its reason and message.
pub(crate) async fn ready(namespace: &Namespace, object: &str, status: &str) -> String {
    wait::until(&format!("{object} is Ready {status}"), DEADLINE, || async {
        let found = namespace
            .kubectl_ok(&["get", object, "-o", "json"])
            .await
            .map_err(|e| format!("{e:#}"))?;
        judge(&found, status)
    })
    .await
    .unwrap()
}

fn judge(found: &str, status: &str) -> Result<String, String> {
    let object: serde_json::Value = serde_json::from_str(found).map_err(|e| e.to_string())?;
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|c| c["type"] == "Ready")
        .cloned()
        .unwrap_or_default();
    if ready["status"] == status && ready["observedGeneration"] == object["metadata"]["generation"]
    {
        Ok(format!(
            "{} {}",
            ready["reason"].as_str().unwrap_or_default(),
            ready["message"].as_str().unwrap_or_default()
        ))
    } else {
        Err(format!(
            "generation {}: {:#}",
            object["metadata"]["generation"], object["status"]
        ))
    }
}

/// How many requests a sink has printed.
pub(crate) fn received(sink: &Binary) -> usize {
    sink.output()
        .iter()
        .filter(|line| line.starts_with("POST "))
        .count()
}

/// Waits until a sink has got at least so many.
pub(crate) async fn got(sink: &Binary, many: usize) {
    wait::until(&format!("the sink got {many}"), DEADLINE, || async {
        match received(sink) {
            n if n >= many => Ok(()),
            n => Err(format!("{n}: {:?}", sink.output())),
        }
    })
    .await
    .unwrap();
}
