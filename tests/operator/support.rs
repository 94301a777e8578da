use std::{ffi::OsStr, fmt::Display, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use busway_testkit::{
    binary::Binary,
    control::{ControlPlane, Namespace},
    wait,
};
use serde_json::{Value, json};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
pub(crate) const IMAGE: &str = "registry.test/busway:1";

/// A control plane with our kinds in it, which the tests of one binary share.
pub(crate) async fn shared() -> &'static ControlPlane {
    static READY: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let control = ControlPlane::shared_of(crate::API_SERVER).await.unwrap();
    READY.get_or_init(|| with_crds(control)).await;
    control
}

pub(crate) async fn with_crds(control: &ControlPlane) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds.yaml");
    let crds = crds.to_string_lossy().into_owned();
    control.kubectl_ok(&["apply", "-f", &crds]).await.unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f"];
    control
        .kubectl_ok(&[&established[..], &[&crds]].concat())
        .await
        .unwrap();
}

/// `busway operator` with these arguments, its own namespace given.
pub(crate) fn operator(control: &ControlPlane, namespace: &str, more: &[&str]) -> Binary {
    let defaults = [
        ("--admin", "127.0.0.1:0"),
        ("--log-format", "json"),
        ("--image", IMAGE),
    ];
    let defaults = defaults
        .into_iter()
        .filter(|(name, _)| !more.contains(name));
    let args = defaults.flat_map(|(name, value)| [name, value]);
    let environment = [
        ("KUBECONFIG", control.kubeconfig().as_os_str()),
        ("POD_NAMESPACE", OsStr::new(namespace)),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_busway"));
    let ours = ["operator"]
        .into_iter()
        .chain(args)
        .chain(more.iter().copied());
    Binary::start(program, ours, &environment).unwrap()
}

/// A namespace, and an operator that looks after it and nothing else.
pub(crate) async fn looked_after(name: &str, more: &[&str]) -> (Namespace, Binary) {
    let control = shared().await;
    let namespace = control.namespace(name).await.unwrap();
    let own = [&["--scope", "own"], more].concat();
    let operator = operator(control, namespace.name(), &own);
    (namespace, operator)
}

pub(crate) fn bus(name: &str, spec: Value) -> String {
    object("Bus", name, spec)
}

pub(crate) fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({
        "apiVersion": "channels.busway.dev/v1alpha1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
    .to_string()
}

/// An object as JSON.
pub(crate) async fn get(namespace: &Namespace, object: &str) -> Result<Value> {
    let text = namespace.kubectl_ok(&["get", object, "-o", "json"]).await?;
    serde_json::from_str(&text).context("kubectl's JSON")
}

/// Waits until an object is as `right` wants it.
pub(crate) async fn until<E: Display>(
    namespace: &Namespace,
    object: &str,
    what: &str,
    right: impl Fn(&Value) -> Result<(), E>,
) -> Value {
    wait::until(&format!("{object} {what}"), DEADLINE, || async {
        let found = get(namespace, object).await.map_err(|e| format!("{e:#}"))?;
        right(&found).map_err(|why| format!("{why}"))?;
        Ok::<_, String>(found)
    })
    .await
    .unwrap()
}

/// Waits until it is not there.
pub(crate) async fn gone(namespace: &Namespace, object: &str) {
    wait::until(&format!("{object} is gone"), DEADLINE, || async {
        let left = namespace
            .kubectl_ok(&["get", object, "--ignore-not-found", "-o", "yaml"])
            .await
            .map_err(|e| format!("{e:#}"))?;
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await
    .unwrap();
}

/// A condition of an object, as `status reason message`, of its present generation.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .filter(|found| found["observedGeneration"] == object["metadata"]["generation"]);
    found.map_or_else(
        || format!("no {kind} of this generation: {:#}", object["status"]),
        |found| {
            let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("status"), text("reason"), text("message"))
        },
    )
}

/// Waits until a condition begins so.
pub(crate) async fn says(namespace: &Namespace, object: &str, kind: &str, begins: &str) -> String {
    let what = format!("says {kind} {begins}");
    let found = until(namespace, object, &what, |found| {
        let said = condition(found, kind);
        ensure!(said.starts_with(begins), "{said}");
        Ok(())
    });
    condition(&found.await, kind)
}

/// Plays the controller of EndpointSlices, which takes no pod that is on no node: a ready one is behind a Service. It
/// has the labels that the controller took over from the Service.
pub(crate) async fn endpoint_is_ready(namespace: &Namespace, service: &str) {
    let selector = format!("kubernetes.io/service-name={service}");
    let found = wait::until("the Service has its slice", DEADLINE, || async {
        let get = ["get", "endpointslice", "-o", "json", "-l", &selector];
        let text = namespace.kubectl_ok(&get).await?;
        let list: Value = serde_json::from_str(&text)?;
        list["items"].get(0).cloned().context("no slice")
    })
    .await
    .unwrap();
    let mut labels = found["metadata"]["labels"].clone();
    labels["endpointslice.kubernetes.io/managed-by"] = json!("test");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": format!("{service}-played"), "labels": labels },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.9.0.1"], "conditions": { "ready": true } }],
        "ports": [{ "name": "messages", "port": 8080 }],
    });
    namespace.apply_yaml(&slice.to_string()).await.unwrap();
}

/// Plays the kubelet: every pod of the namespace runs and is ready.
pub(crate) async fn pods_run(namespace: &Namespace) {
    let ready = json!({ "status": {
        "phase": "Running",
        "podIP": "10.9.0.1",
        "podIPs": [{ "ip": "10.9.0.1" }],
        "conditions": [{ "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" }],
    }})
    .to_string();
    wait::until("the pods are there and run", DEADLINE, || async {
        let names = namespace.kubectl_ok(&["get", "pods", "-o", "name"]).await?;
        ensure!(!names.trim().is_empty(), "no pods");
        for pod in names.lines() {
            namespace
                .kubectl_ok(&["patch", pod, "--subresource=status", "-p", &ready])
                .await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}
