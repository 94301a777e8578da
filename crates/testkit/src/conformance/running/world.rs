//! Where the resources are, and the data of the bus that serves them.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Held, Kept, Running, Subject, Verdict, subject::Arguments};
use crate::{
    control::{ControlPlane, Namespace, Port},
    wait,
};

/// The channel that every case has.
pub(super) const CHANNEL: &str = "orders";
const CRDS: &str = include_str!("../../../../../deploy/crds.yaml");
/// The Bus on a folder.
const BUS: &str = "conformance";

/// Where a dispatcher has its resources from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A folder of manifests, with a Bus.
    Folder,
    /// A real API server, with a ClusterBus.
    ApiServer,
}

enum Place {
    Folder,
    ApiServer {
        control: &'static ControlPlane,
        namespace: Namespace,
    },
}

/// One case's resources, data, and ports. Two worlds share nothing but the API server.
pub struct World {
    pub(super) subject: Subject,
    temp: TempDir,
    place: Place,
    bus: String,
    pub(super) ports: Ports,
    printed: Mutex<String>,
}

/// Kept over restarts, as a container keeps its.
pub(super) struct Ports {
    pub(super) messages: Port,
    pub(super) admin: Port,
    pub(super) debug: Port,
}

impl World {
    pub(super) async fn new(subject: Subject, mode: Mode) -> anyhow::Result<Self> {
        static BUSES: AtomicU32 = AtomicU32::new(0);
        let temp = tempfile::tempdir()?;
        for folder in ["dir", "data"] {
            fs::create_dir(temp.path().join(folder))?;
        }
        let (place, bus) = match mode {
            Mode::Folder => (Place::Folder, BUS.to_owned()),
            Mode::ApiServer => {
                let control = control_plane().await?;
                let namespace = control.namespace("conformance").await?;
                let number = BUSES.fetch_add(1, Ordering::Relaxed);
                let bus = format!("{BUS}-{number}");
                (Place::ApiServer { control, namespace }, bus)
            }
        };
        let ports = Ports {
            messages: Port::reserve()?,
            admin: Port::reserve()?,
            debug: Port::reserve()?,
        };
        let printed = Mutex::default();
        Ok(Self {
            subject,
            temp,
            place,
            bus,
            ports,
            printed,
        })
    }

    pub(super) fn patience(&self) -> Duration {
        self.subject.patience
    }

    /// The namespace of the channels.
    pub(super) fn namespace(&self) -> &str {
        match &self.place {
            Place::Folder => "default",
            Place::ApiServer { namespace, .. } => namespace.name(),
        }
    }

    /// The arguments of the process.
    pub(super) fn args(&self) -> anyhow::Result<Vec<OsString>> {
        let mut args = self.subject.first.clone();
        match (self.subject.arguments, &self.place) {
            (Arguments::None, Place::Folder) => {
                anyhow::bail!("only a program of buskit's serves a folder")
            }
            (Arguments::None, Place::ApiServer { .. }) => return Ok(args),
            (Arguments::Buskit, Place::Folder) => {
                args.push("--dir".into());
                args.push(self.folder("dir").into());
                args.push("--state".into());
                args.push(self.folder("state").into());
            }
            (Arguments::Buskit, Place::ApiServer { .. }) => args.push("--standalone".into()),
        }
        args.push("--debug".into());
        args.push(format!("127.0.0.1:{}", self.ports.debug.number()).into());
        Ok(args)
    }

    /// The environment of the process: what an operator sets on a container.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut all = (self.subject.environment)(&self.folder("data"));
        let (bus_namespace, lease_namespace) = match &self.place {
            Place::Folder => ("default", "default"),
            Place::ApiServer { control, .. } => {
                all.push(("KUBECONFIG", control.kubeconfig().into()));
                // The Lease of a ClusterBus outlives the namespaces of its channels.
                ("", "default")
            }
        };
        let port = |port: &Port| port.number().to_string().into();
        all.extend([
            ("BUS_NAME", self.bus.clone().into()),
            ("BUS_NAMESPACE", bus_namespace.into()),
            ("PORT", port(&self.ports.messages)),
            ("ADMIN_PORT", port(&self.ports.admin)),
            ("POD_NAME", format!("{}-0", self.bus).into()),
            ("POD_NAMESPACE", lease_namespace.into()),
            ("LEASE_NAME", self.bus.clone().into()),
            ("CLUSTER_DOMAIN", "cluster.local".into()),
            ("CLUSTER_ID", "conformc".into()),
        ]);
        all
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Applies the bus and the channel on it.
    pub(super) async fn apply_channel(&self) -> Verdict {
        self.apply_bus(&self.bus, CHANNEL).await
    }

    /// Applies a bus of that name and a channel on it, of which this dispatcher's has none.
    pub(super) async fn apply_elsewhere(&self, channel: &str) -> Verdict {
        self.apply_bus(&format!("{}-other", self.bus), channel)
            .await
    }

    async fn apply_bus(&self, bus: &str, channel: &str) -> Verdict {
        let (kind, on) = match &self.place {
            Place::Folder => ("Bus", json!({"bus": bus})),
            Place::ApiServer { .. } => ("ClusterBus", json!({"clusterBus": bus})),
        };
        self.apply(kind, bus, self.subject.spec.clone()).await?;
        self.apply("Channel", channel, on).await
    }

    /// Applies a subscription of the channel; `more` is merged into its spec.
    pub(super) async fn apply_subscription(&self, name: &str, url: &str, more: Value) -> Verdict {
        let mut spec = json!({"channel": CHANNEL, "subscriber": url});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.apply("Subscription", name, spec).await
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) -> Verdict {
        let object = json!({
            "apiVersion": "channels.busway.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        match &self.place {
            Place::Folder => fs::write(self.manifest(kind, name), object.to_string())?,
            Place::ApiServer { namespace, .. } => {
                namespace.apply_yaml(&object.to_string()).await?;
            }
        }
        Ok(())
    }

    fn manifest(&self, kind: &str, name: &str) -> PathBuf {
        self.folder("dir").join(format!("{kind}-{name}.yaml"))
    }

    /// Asks for an object's deletion, and does not wait for its end.
    pub(super) async fn delete(&self, kind: &str, name: &str) -> Verdict {
        match &self.place {
            Place::Folder => fs::remove_file(self.manifest(kind, name))?,
            Place::ApiServer { namespace, .. } => {
                let args = ["delete", kind, name, "--wait=false"];
                namespace.kubectl_ok(&args).await?;
            }
        }
        Ok(())
    }

    /// Deletes the namespace, and waits until it is gone.
    pub(super) async fn delete_namespace(&self) -> Verdict {
        let Place::ApiServer { control, namespace } = &self.place else {
            anyhow::bail!("a folder has no namespace to delete");
        };
        let timeout = format!("--timeout={}s", self.patience().as_secs());
        let args = ["delete", "namespace", namespace.name(), &timeout];
        control.kubectl_ok(&args).await?;
        Ok(())
    }

    /// Starts the process, and waits until it is ready.
    pub(super) async fn start(&self) -> anyhow::Result<Running<'_>> {
        Running::start(self).await
    }

    /// An object as it is now; nothing when it is gone.
    pub(super) async fn object(
        &self,
        at: &Running<'_>,
        kind: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        match &self.place {
            Place::Folder => {
                let all: Value = serde_json::from_str(&at.debug("/objects").await?.text())?;
                let mut all = all.as_array().into_iter().flatten();
                Ok(all
                    .find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
                    .cloned())
            }
            Place::ApiServer { namespace, .. } => {
                let args = ["get", kind, name, "-o", "json", "--ignore-not-found"];
                let found = namespace.kubectl_ok(&args).await?;
                Ok(match found.as_str() {
                    "" => None,
                    found => Some(serde_json::from_str(found)?),
                })
            }
        }
    }

    /// Waits until a condition of an object is so, for its current generation; returns the object.
    pub(super) async fn condition(
        &self,
        at: &Running<'_>,
        [kind, name]: [&str; 2],
        [condition, status]: [&str; 2],
    ) -> anyhow::Result<Value> {
        let what = format!("{kind} {name} is {condition} {status}");
        wait::until(&what, self.patience(), async || {
            let found = self
                .object(at, kind, name)
                .await
                .map_err(|e| format!("{e:#}"))?;
            let found = found.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array();
            let told = conditions.into_iter().flatten().any(|c| {
                c["type"] == condition
                    && c["status"] == status
                    && c["observedGeneration"] == found["metadata"]["generation"]
            });
            if told {
                Ok(found)
            } else {
                Err(format!("{found:#}"))
            }
        })
        .await
    }

    /// Waits until the channel and these subscriptions are Ready, and this process says that it
    /// serves them.
    pub(super) async fn ready(&self, at: &Running<'_>, subscriptions: &[&str]) -> Verdict {
        let objects = subscriptions.iter().map(|name| ["Subscription", name]);
        for object in std::iter::once(["Channel", CHANNEL]).chain(objects) {
            let found = self.condition(at, object, ["Ready", "True"]).await?;
            at.serves(&found["metadata"]).await?;
        }
        Ok(())
    }

    /// Waits until an object is gone.
    pub(super) async fn gone(&self, at: &Running<'_>, kind: &str, name: &str) -> Verdict {
        wait::until(
            &format!("{kind} {name} is gone"),
            self.patience(),
            async || match self.object(at, kind, name).await {
                Ok(None) => Ok(()),
                Ok(Some(found)) => Err(format!("{found:#}")),
                Err(error) => Err(format!("{error:#}")),
            },
        )
        .await
    }

    /// What the store holds, where the author shows it.
    pub(super) fn kept(&self) -> anyhow::Result<Option<Kept>> {
        let store = self.subject.store.as_ref();
        let kept = store.map(|store| store.kept(&self.folder("data")));
        kept.transpose().context("the store cannot be looked into")
    }

    /// Fails unless the store holds that, where the author shows it.
    pub(super) fn keeps(&self, what: &str, is: impl FnOnce(&Kept) -> bool) -> Verdict {
        if let Some(kept) = self.kept()? {
            ensure!(
                is(&kept),
                "the store was to keep {what}, and keeps {kept:?}"
            );
        }
        Ok(())
    }

    /// Waits until the store holds that, where the author shows it.
    pub(super) async fn until_kept(&self, what: &str, is: impl Fn(&Kept) -> bool) -> Verdict {
        wait::until(
            &format!("the store keeps {what}"),
            self.patience(),
            async || match self.kept() {
                Ok(Some(kept)) if !is(&kept) => Err(format!("{kept:?}")),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error:#}")),
            },
        )
        .await
    }

    /// Keeps hooks from getting on until what it returns is dropped, where the author's store can.
    pub(super) fn hold(&self) -> anyhow::Result<Option<Held>> {
        match &self.subject.store {
            Some(store) => store.hold(&self.folder("data")),
            None => Ok(None),
        }
    }

    /// A process has ended, or is about to: what it printed is for whoever reads of a failure.
    pub(super) fn has_printed(&self, tail: &str) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if !printed.is_empty() {
            printed.push_str("\n---- started again:\n");
        }
        printed.push_str(tail);
    }

    pub(super) fn printed(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        format!("the process printed:\n{printed}\n")
    }
}

/// The API server that the tests of one binary share, with our kinds in it.
async fn control_plane() -> anyhow::Result<&'static ControlPlane> {
    static READY: OnceCell<()> = OnceCell::const_new();
    let control = ControlPlane::shared().await?;
    READY
        .get_or_try_init(async || {
            control.apply_yaml(CRDS).await?;
            let kinds = [
                "wait",
                "--for=condition=Established",
                "--timeout=60s",
                "crd",
                "--all",
            ];
            control.kubectl_ok(&kinds).await.map(drop)
        })
        .await?;
    Ok(control)
}
