use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use busway_testkit::{
    binary::Binary,
    client,
    control::{ControlPlane, Namespace},
    wait,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// More than a message's lease and a Lease together: what a process that was killed held is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// What every folder and every namespace of these tests has.
pub(crate) const CHANNEL: &str = "orders";

/// Where the resources are, and the file of the bus that serves them.
pub(crate) struct World {
    temp: TempDir,
    mode: Mode,
}

enum Mode {
    Folder,
    Cluster { control: &'static ControlPlane, namespace: Namespace, bus: String },
}

/// The example's binary, running.
pub(crate) struct Dispatcher {
    pub(crate) process: Binary,
    messages: SocketAddr,
    debug: SocketAddr,
}

impl World {
    pub(crate) fn folder() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        Self { temp, mode: Mode::Folder }
    }

    pub(crate) async fn cluster() -> Self {
        static CRDS: OnceCell<()> = OnceCell::const_new();
        static BUSES: AtomicU32 = AtomicU32::new(0);
        let control = ControlPlane::shared().await.unwrap();
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds.yaml");
        let crds = crds.to_str().unwrap();
        CRDS.get_or_init(async || {
            control.kubectl_ok(&["apply", "-f", crds]).await.unwrap();
            let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", crds];
            control.kubectl_ok(&established).await.unwrap();
        })
        .await;
        let namespace = control.namespace("third-party").await.unwrap();
        let bus = format!("sqlite-{}", BUSES.fetch_add(1, Ordering::Relaxed));
        Self { temp: tempfile::tempdir().unwrap(), mode: Mode::Cluster { control, namespace, bus } }
    }

    /// Applies the bus and a channel on it.
    pub(crate) async fn apply_channel(&self) {
        let dispatcher = json!({"dispatcher": {"name": "dispatcher", "image": "example.com/sqlite:1"}});
        let on = match &self.mode {
            Mode::Folder => {
                self.apply("Bus", "sqlite", dispatcher).await;
                json!({"bus": "sqlite"})
            }
            Mode::Cluster { bus, .. } => {
                self.apply("ClusterBus", bus, dispatcher).await;
                json!({"clusterBus": bus})
            }
        };
        self.apply("Channel", CHANNEL, on).await;
    }

    /// Applies a subscription of the channel; `more` is merged into its spec.
    pub(crate) async fn apply_subscription(&self, name: &str, url: &str, more: Value) {
        let mut spec = json!({"channel": CHANNEL, "subscriber": url});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.apply("Subscription", name, spec).await;
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) {
        let object = json!({
            "apiVersion": "channels.busway.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        });
        match &self.mode {
            Mode::Folder => fs::write(self.manifest(kind, name), object.to_string()).unwrap(),
            Mode::Cluster { namespace, .. } => {
                namespace.apply_yaml(&object.to_string()).await.unwrap();
            }
        }
    }

    fn manifest(&self, kind: &str, name: &str) -> std::path::PathBuf {
        self.temp.path().join(format!("dir/{kind}-{name}.yaml"))
    }

    /// Asks for an object's deletion, and does not wait for its end.
    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        match &self.mode {
            Mode::Folder => fs::remove_file(self.manifest(kind, name)).unwrap(),
            Mode::Cluster { namespace, .. } => {
                namespace.kubectl_ok(&["delete", kind, name, "--wait=false"]).await.unwrap();
            }
        }
    }

    /// Deletes the namespace, and waits until it is gone.
    pub(crate) async fn delete_namespace(&self) {
        let Mode::Cluster { control, namespace, .. } = &self.mode else {
            panic!("a folder has no namespace to delete");
        };
        let args = ["delete", "namespace", namespace.name(), "--timeout=120s"];
        control.kubectl_ok(&args).await.unwrap();
    }

    pub(crate) async fn start(&self) -> Dispatcher {
        let (dir, state) = (self.temp.path().join("dir"), self.temp.path().join("state"));
        let file = self.temp.path().join("bus.sqlite");
        let mut environment = vec![("SQLITE_FILE", file.as_os_str())];
        let mut args: Vec<&OsStr> = Vec::new();
        match &self.mode {
            Mode::Folder => {
                args.extend(["--bus", "default/sqlite", "--dir"].map(OsStr::new));
                args.extend([dir.as_os_str(), "--state".as_ref(), state.as_os_str()]);
            }
            Mode::Cluster { control, bus, .. } => {
                environment.push(("KUBECONFIG", control.kubeconfig().as_os_str()));
                args.extend(["--standalone", "--cluster-bus", bus].map(OsStr::new));
            }
        }
        for flag in ["--listen", "--admin", "--debug"] {
            args.extend([flag, "127.0.0.1:0"].map(OsStr::new));
        }
        args.extend(["--log-format", "json"].map(OsStr::new));
        let process = Binary::start(Path::new(env!("CARGO_BIN_EXE_third-party-bus")), args, &environment);
        let process = process.unwrap();
        let messages = process.address("messages", DEADLINE).await.unwrap();
        let debug = process.address("debug", DEADLINE).await.unwrap();
        Dispatcher { process, messages, debug }
    }

    /// An object as it is now; nothing when it is gone.
    pub(crate) async fn object(&self, at: &Dispatcher, kind: &str, name: &str) -> Option<Value> {
        match &self.mode {
            Mode::Folder => {
                let all = client::get(at.debug, "/objects").await.unwrap().text();
                let all: Value = serde_json::from_str(&all).unwrap();
                let mut all = all.as_array().unwrap().iter();
                all.find(|o| o["kind"] == kind && o["metadata"]["name"] == name).cloned()
            }
            Mode::Cluster { namespace, .. } => {
                let args = ["get", kind, name, "-o", "json", "--ignore-not-found"];
                let found = namespace.kubectl_ok(&args).await.unwrap();
                (!found.is_empty()).then(|| serde_json::from_str(&found).unwrap())
            }
        }
    }

    /// Waits until a condition of an object is so, for its current generation.
    pub(crate) async fn condition(&self, at: &Dispatcher, object: [&str; 2], condition: [&str; 2]) {
        let ([kind, name], [condition, status]) = (object, condition);
        wait::until(&format!("{kind} {name} is {condition} {status}"), DEADLINE, async || {
            let found = self.object(at, kind, name).await.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let told = conditions.iter().any(|c| {
                c["type"] == condition
                    && c["status"] == status
                    && c["observedGeneration"] == found["metadata"]["generation"]
            });
            told.then_some(()).ok_or_else(|| format!("{found:#}"))
        })
        .await
        .unwrap();
    }

    pub(crate) async fn ready(&self, at: &Dispatcher, subscriptions: &[&str]) {
        self.condition(at, ["Channel", CHANNEL], ["Ready", "True"]).await;
        for name in subscriptions {
            self.condition(at, ["Subscription", name], ["Ready", "True"]).await;
        }
    }

    pub(crate) async fn gone(&self, at: &Dispatcher, kind: &str, name: &str) {
        wait::until(&format!("{kind} {name} is gone"), DEADLINE, async || {
            match self.object(at, kind, name).await {
                None => Ok(()),
                Some(found) => Err(format!("{found:#}\n{}", at.process.output().join("\n"))),
            }
        })
        .await
        .unwrap();
    }

    /// POSTs to the channel, and returns the status of the answer.
    pub(crate) async fn post(&self, to: &Dispatcher, body: &str) -> u16 {
        let namespace = match &self.mode {
            Mode::Folder => "default",
            Mode::Cluster { namespace, .. } => namespace.name(),
        };
        let path = format!("/{namespace}/{CHANNEL}");
        client::post(to.messages, &path, &[], body.to_owned()).await.unwrap().status.as_u16()
    }

    /// The bus's file, as another process sees it.
    pub(crate) fn file(&self) -> Connection {
        Connection::open(self.temp.path().join("bus.sqlite")).unwrap()
    }

    /// How many rows there are `FROM` this.
    pub(crate) fn rows(&self, from: &str) -> u32 {
        let sql = format!("SELECT COUNT(*) FROM {from}");
        self.file().query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) async fn until_rows(&self, from: &str, many: u32) {
        wait::until(&format!("{many} rows are in {from}"), DEADLINE, async || {
            let rows = self.rows(from);
            if rows == many { Ok(()) } else { Err(rows) }
        })
        .await
        .unwrap();
    }

    /// Keeps everybody from writing to the file until what it returns is dropped: no hook gets on.
    pub(crate) fn hold(&self) -> Connection {
        let file = self.file();
        file.busy_timeout(DEADLINE).unwrap();
        file.execute_batch("BEGIN IMMEDIATE").unwrap();
        file
    }
}

impl Dispatcher {
    pub(crate) async fn kill(mut self) {
        self.process.signal("KILL").await.unwrap();
        self.process.ended(DEADLINE).await.unwrap();
    }
}
