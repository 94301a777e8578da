use std::{path::Path, thread::JoinHandle, time::Duration};

use busway::operator::{
    Metrics, Settings,
    args::{ChannelService, Scope, ThirdPartyBuses},
    run::Operator,
};
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Where the operator says it runs.
pub(crate) const SYSTEM: &str = "busway-system";
/// Short enough for a test to see its end, long enough to be seen waiting.
pub(crate) const BOUND: Duration = Duration::from_secs(8);

/// A control plane with our kinds and the operator's namespace.
pub(crate) async fn prepared(control: &ControlPlane) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds.yaml");
    let crds = crds.to_string_lossy();
    control.kubectl_ok(&["apply", "-f", &crds]).await.unwrap();
    let established = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "-f",
        &crds,
    ];
    control.kubectl_ok(&established).await.unwrap();
    control
        .kubectl_ok(&["create", "namespace", SYSTEM])
        .await
        .unwrap();
}

pub(crate) fn settings(channel_service: ChannelService, scope: Scope) -> Settings {
    Settings {
        scope,
        namespace: SYSTEM.to_owned(),
        image: "example.com/busway:test".to_owned(),
        image_pull_policy: None,
        dispatcher_role: "busway-dispatcher".to_owned(),
        third_party_buses: ThirdPartyBuses::Cluster,
        channel_service,
        deletion_bound: BOUND,
        cluster_domain: "cluster.local".to_owned(),
        cluster_id: "test".to_owned(),
        own_histograms: None,
    }
}

/// An operator in a thread of its own, so that it outlives the test that started it, where several share it.
pub(crate) struct Running {
    stop: CancellationToken,
    pub(crate) metrics: Metrics,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) async fn start(control: &ControlPlane, settings: Settings, lease: &str) -> Self {
        let stop = CancellationToken::new();
        let kubeconfig = control.kubeconfig().to_owned();
        let (told, metrics) = tokio::sync::oneshot::channel();
        let (lease, stopped) = (lease.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .unwrap();
                let client = Client::try_from(config).unwrap();
                let identity = format!("operator-of-{lease}");
                let operator = Operator::new(client, settings, lease, identity);
                told.send(operator.metrics()).ok();
                operator.run(stopped).await.unwrap();
            });
        });
        Self {
            stop,
            metrics: metrics.await.unwrap(),
            thread: Some(thread),
        }
    }

    /// Ends it, with its Lease given back.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap())
            .await
            .unwrap();
    }
}

/// The control plane and the operator that most tests share.
pub(crate) async fn shared() -> &'static ControlPlane {
    static READY: OnceCell<Running> = OnceCell::const_new();
    let control = ControlPlane::shared_of(crate::API_SERVER).await.unwrap();
    READY
        .get_or_init(|| async {
            prepared(control).await;
            let settings = settings(ChannelService::Auto, Scope::All);
            Running::start(control, settings, "busway-operator").await
        })
        .await;
    control
}

/// A bus of either kind; `more` goes into its spec.
pub(crate) fn bus(kind: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{memory: {{}}{more}}}\n"
    )
}

/// A channel; `on` as `bus: x`, `clusterBus: y` or nothing.
pub(crate) fn channel(name: &str, on: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {{name: {name}}}\nspec: {{{on}}}\n"
    )
}

pub(crate) fn subscription(name: &str, channel: &str) -> String {
    format!(
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\nspec: {{channel: {channel}, subscriber: sink}}\n"
    )
}

pub(crate) async fn get(namespace: &Namespace, object: &str) -> anyhow::Result<Value> {
    let found = namespace.kubectl_ok(&["get", object, "-o", "json"]).await?;
    Ok(serde_json::from_str(&found)?)
}

/// A condition, when it is of the object's generation.
pub(crate) fn condition(object: &Value, kind: &str) -> Option<Value> {
    let all = object["status"]["conditions"].as_array()?;
    let generation = &object["metadata"]["generation"];
    all.iter()
        .find(|c| c["type"] == kind && c["observedGeneration"] == *generation)
        .cloned()
}

/// Waits until a condition has this status and reason, and returns its message.
pub(crate) async fn says(
    namespace: &Namespace,
    object: &str,
    kind: &str,
    status: &str,
    reason: &str,
) -> String {
    let what = format!("{object} says {kind} {status} {reason}");
    wait::until(&what, DEADLINE * 2, || async {
        let found = get(namespace, object).await.map_err(|e| format!("{e:#}"))?;
        match condition(&found, kind) {
            Some(c) if c["status"] == status && c["reason"] == reason => {
                Ok(c["message"].as_str().unwrap_or_default().to_owned())
            }
            _ => Err(format!("{:#}", found["status"])),
        }
    })
    .await
    .unwrap()
}

/// Waits until an object looks so.
pub(crate) async fn looks(
    namespace: &Namespace,
    object: &str,
    what: &str,
    look: impl Fn(&Value) -> bool,
) -> Value {
    wait::until(&format!("{object} {what}"), DEADLINE, || async {
        let found = get(namespace, object).await.map_err(|e| format!("{e:#}"))?;
        if look(&found) {
            Ok(found)
        } else {
            Err(format!("{found:#}"))
        }
    })
    .await
    .unwrap()
}

/// Waits until it is gone.
pub(crate) async fn gone(namespace: &Namespace, object: &str) {
    wait::until(&format!("{object} is gone"), DEADLINE, || async {
        match get(namespace, object).await {
            Err(error) if format!("{error:#}").contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

/// Has a pod answer behind a ClusterBus's Service, or none, as its EndpointSlice would say.
pub(crate) async fn answers(control: &ControlPlane, cluster_bus: &str, ready: bool) {
    let uid = [
        "get",
        "clusterbus",
        cluster_bus,
        "-o",
        "jsonpath={.metadata.uid}",
    ];
    let uid = control.kubectl_ok(&uid).await.unwrap();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{cluster_bus}-by-hand"),
            "namespace": SYSTEM,
            "labels": {
                "kubernetes.io/service-name": format!("{cluster_bus}-clusterbus"),
                "app.kubernetes.io/managed-by": "busway-operator",
                "channels.busway.dev/owner-uid": uid,
            },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.1.2.3"], "conditions": { "ready": ready } }],
    });
    control.apply_yaml(&slice.to_string()).await.unwrap();
}

/// Adds a finalizer, as a data plane does before its first hook.
pub(crate) async fn hold(namespace: &Namespace, object: &str, finalizer: &str) {
    let patch = json!({ "metadata": { "finalizers": [finalizer] } }).to_string();
    namespace
        .kubectl_ok(&["patch", object, "--type=merge", "-p", &patch])
        .await
        .unwrap();
}
