//! A real Kubernetes control plane for tests: etcd, kube-apiserver with RBAC, kube-controller-manager, driven by kubectl.
//!
//! No nodes: pods are accepted and never run. Ready in a few seconds; one per test binary ([`ControlPlane::shared`]),
//! a [`Namespace`] per test. A test that stops the API server starts its own ([`ControlPlane::start`]). The API server
//! is of the newest version, or of the oldest that Busway states ([`ApiServer`]).
//! Everything listens on loopback, on ports that the kernel chose, and is gone when the test process is, however that ends.
//! Logs and keys are left in `target/control/<test binary>-<n>/` until the next run.

mod folder;
mod kubectl;
mod pki;
mod port;
mod server;
mod tools;
mod version;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;

pub(crate) use self::port::Port;
use self::{folder::Folder, pki::Pki, server::Server};
pub use self::{
    kubectl::{Kubectl, Namespace},
    tools::find as tool,
    version::ApiServer,
};
use crate::wait;

/// How long a server may take to be ready: twenty times what it takes on two idle cores, for a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The administrator's token. Nothing but loopback ever sees this API server.
const ADMIN_TOKEN: &str = "busway-test-admin";

static NEWEST: OnceCell<ControlPlane> = OnceCell::const_new();
static OLDEST: OnceCell<ControlPlane> = OnceCell::const_new();

/// A running control plane. Dropping it ends its servers.
#[derive(Debug)]
pub struct ControlPlane {
    version: ApiServer,
    kubectl: Kubectl,
    url: String,
    ports: Ports,
    pki: Pki,
    apiserver: Mutex<Option<Server>>,
    namespaces: AtomicU32,
    // Dropped in this order, before the folder they write to.
    controllers: Server,
    _etcd: Server,
    folder: Folder,
}

#[derive(Debug)]
struct Ports {
    etcd: Port,
    apiserver: Port,
}

impl ControlPlane {
    /// The control plane that the tests of one binary share; the first call starts it. It ends with the process.
    ///
    /// # Errors
    /// When a tool is missing (the error says how to build it), or a server does not come up: then with the tail of its log.
    pub async fn shared() -> Result<&'static Self> {
        Self::shared_of(ApiServer::Newest).await
    }

    /// As [`ControlPlane::shared`], with an API server of that version; one for each.
    ///
    /// # Errors
    /// As [`ControlPlane::shared`].
    pub async fn shared_of(version: ApiServer) -> Result<&'static Self> {
        let cell = match version {
            ApiServer::Newest => &NEWEST,
            ApiServer::Oldest => &OLDEST,
        };
        cell.get_or_try_init(|| Self::start_of(version)).await
    }

    /// One of its own, for a test that stops the API server or needs the cluster to itself.
    ///
    /// # Errors
    /// As [`ControlPlane::shared`].
    pub async fn start() -> Result<Self> {
        Self::start_of(ApiServer::Newest).await
    }

    /// As [`ControlPlane::start`], with an API server of that version; kubectl and controllers are of the newest.
    ///
    /// # Errors
    /// As [`ControlPlane::shared`].
    pub async fn start_of(version: ApiServer) -> Result<Self> {
        let binaries = [
            "etcd",
            version.binary(),
            "kube-controller-manager",
            "kubectl",
        ]
        .map(tool);
        let [etcd, apiserver, controllers, kubectl] = binaries;
        let folder = Folder::claim()?;
        let pki = Pki::write(folder.path())?;
        let ports = Ports {
            etcd: Port::reserve()?,
            apiserver: Port::reserve()?,
        };
        let url = format!("https://127.0.0.1:{}", ports.apiserver.number());
        fs::write(
            folder.join("tokens.csv"),
            format!("{ADMIN_TOKEN},admin,admin,system:masters\n"),
        )?;
        let kubectl = Kubectl {
            program: kubectl?,
            kubeconfig: write_kubeconfig(&folder, "admin", &url, &pki, ADMIN_TOKEN)?,
            cache: folder.join("kubectl-cache"),
        };

        let etcd = start_etcd(&etcd?, &folder, &ports)?;
        let mut serving = start_apiserver(&apiserver?, &folder, &ports, &pki)?;
        wait_ready(&kubectl, &mut serving).await?;
        let controllers = start_controllers(&controllers?, &folder, &kubectl, &pki)?;
        Ok(Self {
            version,
            kubectl,
            url,
            ports,
            pki,
            apiserver: Mutex::new(Some(serving)),
            namespaces: AtomicU32::new(0),
            controllers,
            _etcd: etcd,
            folder,
        })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    /// `https://127.0.0.1:PORT`; the same after the API server was started again.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The PEM file of the CA that signed the API server's certificate.
    pub fn ca(&self) -> &Path {
        &self.pki.ca
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &'static str {
        ADMIN_TOKEN
    }

    /// The folder that has the servers' logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `kubectl ARGS` as the administrator and hands over whatever came of it.
    ///
    /// # Errors
    /// Only when kubectl cannot be run at all.
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl.run(args, "").await
    }

    /// Standard output of `kubectl ARGS`.
    ///
    /// # Errors
    /// When it fails: the arguments, and what it said.
    pub async fn kubectl_ok(&self, args: &[&str]) -> Result<String> {
        self.kubectl.ok(args).await
    }

    /// `kubectl apply -f -` with `yaml` (any number of documents).
    ///
    /// # Errors
    /// What kubectl said when it refused.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<String> {
        self.kubectl.apply(yaml).await
    }

    /// A new namespace `<prefix>-<n>`, with the default service account that its controller gives it.
    ///
    /// # Errors
    /// When it cannot be made, or the account does not come.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace {
            name: format!("{prefix}-{number}"),
            kubectl: self.kubectl.clone(),
        };
        self.kubectl_ok(&["create", "namespace", namespace.name()])
            .await?;
        let what = format!("{namespace} has its default service account");
        wait::until(&what, READY_WITHIN, || {
            namespace.kubectl_ok(&["get", "serviceaccount", "default", "--output", "name"])
        })
        .await
        .with_context(|| self.controllers.tail())?;
        Ok(namespace)
    }

    /// kubectl as a service account, which has what RBAC gave it and no more; its `kubeconfig` serves any client.
    ///
    /// # Errors
    /// When the account is not there.
    pub async fn as_service_account(&self, namespace: &str, account: &str) -> Result<Kubectl> {
        let token = self
            .kubectl_ok(&["--namespace", namespace, "create", "token", account])
            .await?;
        let name = format!("{namespace}.{account}");
        Ok(Kubectl {
            kubeconfig: write_kubeconfig(&self.folder, &name, &self.url, &self.pki, token.trim())?,
            ..self.kubectl.clone()
        })
    }

    /// Kills the API server, as `kill -9` does. Connections break, new ones are refused. Does nothing when it is stopped.
    pub fn stop_apiserver(&self) {
        let server = self.lock().take();
        drop(server);
    }

    /// Starts the API server again, on the same port and the same data, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up; with the tail of its log.
    pub async fn start_apiserver(&self) -> Result<()> {
        if self.lock().is_some() {
            return Ok(());
        }
        let program = tool(self.version.binary())?;
        let mut server = start_apiserver(&program, &self.folder, &self.ports, &self.pki)?;
        wait_ready(&self.kubectl, &mut server).await?;
        *self.lock() = Some(server);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.apiserver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn start_etcd(program: &Path, folder: &Folder, ports: &Ports) -> Result<Server> {
    let url = format!("http://127.0.0.1:{}", ports.etcd.number());
    let data = folder.join("etcd");
    Server::start(
        program,
        [
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            // One member has no peers: any port does.
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ],
        &folder.join("etcd.log"),
    )
}

fn start_apiserver(program: &Path, folder: &Folder, ports: &Ports, pki: &Pki) -> Result<Server> {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Server::start(
        program,
        [
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd.number()),
            format!("--secure-port={}", ports.apiserver.number()),
            "--bind-address=127.0.0.1".to_owned(),
            // Without this it looks for an address of the machine, and there may be none but loopback.
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            file("service-account-signing-key-file", &pki.accounts_key),
            file("service-account-key-file", &pki.accounts_public),
            file("token-auth-file", &folder.join("tokens.csv")),
            file("tls-cert-file", &pki.server_cert),
            file("tls-private-key-file", &pki.server_key),
            file("cert-dir", folder.path()),
        ],
        &folder.join("kube-apiserver.log"),
    )
}

fn start_controllers(
    program: &Path,
    folder: &Folder,
    kubectl: &Kubectl,
    pki: &Pki,
) -> Result<Server> {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    Server::start(
        program,
        [
            file("kubeconfig", &kubectl.kubeconfig),
            file("service-account-private-key-file", &pki.accounts_key),
            file("root-ca-file", &pki.ca),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // A test makes and removes objects faster than a cluster does.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ],
        &folder.join("kube-controller-manager.log"),
    )
}

async fn wait_ready(kubectl: &Kubectl, server: &mut Server) -> Result<()> {
    let ready = wait::until("the API server is ready", READY_WITHIN, || {
        let ended = server.check_alive();
        async move {
            // An ended server is not waited for any longer.
            if ended.is_err() {
                return Ok(ended);
            }
            kubectl
                .ok(["get", "--raw", "/readyz"])
                .await
                .map(|_| Ok(()))
        }
    });
    ready
        .await
        .with_context(|| server.tail())?
        .context("kube-apiserver")
}

fn write_kubeconfig(
    folder: &Folder,
    name: &str,
    url: &str,
    pki: &Pki,
    token: &str,
) -> Result<PathBuf> {
    let path = folder.join(&format!("{name}.kubeconfig"));
    let ca = pki.ca.display();
    let text = format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters: [{{name: test, cluster: {{server: \"{url}\", certificate-authority: \"{ca}\"}}}}]\n\
         users: [{{name: user, user: {{token: \"{token}\"}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: user}}}}]\n\
         current-context: test\n"
    );
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
