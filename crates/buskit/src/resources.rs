//! Where the resources of a dispatcher come from: an API server, or a folder.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use busway_core::BusRef;
use busway_monitor::{
    Replicas, Role,
    names::{fitted, fnv1a},
    peers::{FixedPeers, FollowedPeers, Peers, endpoints::EndpointPeers},
    replicas::Alone,
    source::{
        Source,
        folder::{FolderOptions, FolderSource},
        kube::{KubeOptions, KubeSource, Scope},
        lease::{LeaseOptions, identity, lease_name},
    },
};

use crate::{args::DispatcherArgs, process::Objects};

/// What an object's name may have at most.
const LONGEST_LEASE: usize = 253;

/// Where resources come from.
pub(crate) enum Resources {
    Kube(Arc<KubeSource>, kube::Client),
    Folder(Arc<FolderSource>),
}

impl Resources {
    pub(crate) async fn open(
        args: &DispatcherArgs,
        bus: &BusRef,
        role: Role,
    ) -> anyhow::Result<Self> {
        if let Some(dir) = &args.dir {
            let state = match &args.state {
                Some(state) => state.clone(),
                None => default_state(dir)?,
            };
            let source = FolderSource::open(dir, FolderOptions { state_dir: state })
                .await
                .with_context(|| format!("serving {}", dir.display()))?;
            return Ok(Self::Folder(Arc::new(source)));
        }
        let config = kube::Config::infer()
            .await
            .context("no API server: neither a kubeconfig nor a pod's service account was found")?;
        let namespace = args
            .pod_namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config).context("making a Kubernetes client")?;
        let scope = match bus.namespace() {
            Some(namespace) => Scope::Namespace(namespace.to_owned()),
            None => Scope::Cluster,
        };
        let lease = LeaseOptions {
            namespace,
            name: args
                .lease_name
                .clone()
                .unwrap_or_else(|| default_lease(bus, role)),
            identity: identity(args.pod_name.as_deref()),
            create: args.standalone,
        };
        let options = KubeOptions {
            component: component(role).to_owned(),
            scope,
            lease,
        };
        let source = KubeSource::new(client.clone(), options);
        Ok(Self::Kube(Arc::new(source), client))
    }

    pub(crate) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::Kube(source, _) => Arc::clone(source) as Arc<dyn Source>,
            Self::Folder(source) => Arc::clone(source) as Arc<dyn Source>,
        }
    }

    pub(crate) fn objects(&self) -> Option<Objects> {
        match self {
            Self::Kube(..) => None,
            Self::Folder(source) => {
                let source = Arc::clone(source);
                Some(Box::new(move || serde_json::json!(source.objects())))
            }
        }
    }

    /// The other replicas: behind the bus's Service, or as `--peer` lists them.
    pub(crate) fn replicas(&self, args: &DispatcherArgs) -> anyhow::Result<Arc<dyn Replicas>> {
        let peers: Arc<dyn Peers> = match (self, &args.bus_service, &args.pod_namespace) {
            (Self::Kube(_, client), Some(service), Some(namespace)) => {
                let (client, pod) = (client.clone(), args.pod_name.clone());
                Arc::new(EndpointPeers::start(client, namespace, service, pod))
            }
            (Self::Kube(..), Some(_), None) => {
                anyhow::bail!("BUS_SERVICE needs POD_NAMESPACE: the Service is looked for there")
            }
            _ if args.peers.is_empty() => return Ok(Arc::new(Alone::default())),
            _ => {
                let urls = args.peers.iter().map(String::as_str);
                Arc::new(FixedPeers::new(urls).context("--peer")?)
            }
        };
        Ok(Arc::new(FollowedPeers::start(peers)))
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Kube(source, _) => {
                // The Monitor has ended, and with it every other handle; the Lease is given back.
                if let Some(source) = Arc::into_inner(source) {
                    source.close().await;
                }
            }
            Self::Folder(source) => {
                if let Some(source) = Arc::into_inner(source) {
                    source.close().await;
                }
            }
        }
    }
}

/// The name of such a process as field manager, event source and in conditions.
pub(crate) fn component(role: Role) -> &'static str {
    match role {
        Role::Provisioner => "busway-provisioner",
        Role::Whole | Role::DispatcherOnly => "busway-dispatcher",
    }
}

/// A provisioner's is another: both lead at once, each its own part.
fn default_lease(bus: &BusRef, role: Role) -> String {
    let name = lease_name(bus.namespace(), bus.name());
    match role {
        Role::Provisioner => fitted(&format!("{name}.provisioner"), LONGEST_LEASE),
        Role::Whole | Role::DispatcherOnly => name,
    }
}

/// A folder of this folder's own, in the user's state folder: beside the manifests it would be read
/// as one of them.
///
/// # Errors
/// When there is no such folder, or `dir` cannot be read.
pub fn default_state(dir: &std::path::Path) -> anyhow::Result<PathBuf> {
    let full = dir
        .canonicalize()
        .with_context(|| format!("reading {}", dir.display()))?;
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .context("neither XDG_STATE_HOME nor HOME is set: say --state DIR")?;
    let name: String = full
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    // Two folders may be spelled alike after that; a checksum tells them apart.
    let sum = fnv1a(full.as_os_str().as_encoded_bytes());
    let tail: String = name
        .chars()
        .rev()
        .take(60)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    Ok(base
        .join("busway")
        .join(format!("{}-{sum:016x}", tail.trim_matches('-'))))
}
