//! What a Monitor is told beside its bus: which parts it plays, and its bounds.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use busway_core::{
    address::{DEFAULT_CLUSTER_DOMAIN, HostMap},
    egress::Surroundings,
    world::{Clock, SystemClock},
};
use tokio::sync::watch;

/// Hooks that run at once where nobody says otherwise: enough to hide a broker's latency, few
/// enough not to flood it.
pub const DEFAULT_CONCURRENCY: usize = 64;

/// Which conditions this process writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// The data plane's; an operator writes its own.
    #[default]
    DataPlane,
    /// The operator's too, since there is none (dev mode, `--standalone`).
    Both,
}

/// Which hooks this process runs, and whether it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It runs the hooks and serves.
    #[default]
    Whole,
    /// It runs the hooks of a bus that another process serves.
    Provisioner,
    /// It serves; a provisioner runs the hooks.
    DispatcherOnly,
}

/// Who writes the status of an object that no bus owns: a channel of an unknown bus, a subscription
/// of a missing channel. Of several Monitors in one process exactly one has `Mine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// This Monitor, with [`Parts::Both`].
    Mine,
    /// As `Mine`, where the source sees one namespace only: what names a ClusterBus, or none, may be
    /// another process's, and is left alone.
    MineButClusterBuses,
    /// Another Monitor, or the operator.
    #[default]
    NotMine,
}

/// Whether a loopback address may be a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// It may: dev mode and `--standalone`.
    Allowed,
    /// It is not dialled, and an IP literal as any other.
    #[default]
    Refused,
}

/// A Monitor's settings.
#[derive(Clone)]
pub struct Options {
    /// Which conditions it writes.
    pub parts: Parts,
    /// Which hooks it runs.
    pub role: Role,
    /// Whether it writes the status of what no bus owns.
    pub orphans: Orphans,
    /// Whether loopback is dialled, and its literals are subscribers under `subscribers: SameNamespace`.
    pub loopback: Loopback,
    /// What is around this process, as it is known now: no subscription may dial it.
    pub around: watch::Receiver<Arc<Surroundings>>,
    /// How long one hook may take; then it counts as failed.
    pub hook_timeout: Duration,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Cluster names with a local address. Where it is set, a cluster name that is neither in it nor
    /// a channel's is not resolved (`AddressUnmapped`).
    pub hosts: Option<HostMap>,
    /// Where this process's receiver listens, with [`Parts::Both`]: it is shown as the address of the
    /// bus and of its channels.
    pub receiver: Option<SocketAddr>,
    /// What a share of memory (`limits.memory: 50%`) is a share of, in bytes: the container's limit.
    pub memory_limit: usize,
    /// A folder for the last resources of this bus, from which a process starts while the API server
    /// is away.
    pub cache_dir: Option<PathBuf>,
    /// How long the source may take at the start before the cache is used.
    pub cache_after: Duration,
    /// The wall clock that dates conditions.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parts: Parts::default(),
            role: Role::default(),
            orphans: Orphans::default(),
            loopback: Loopback::default(),
            around: watch::channel(Arc::default()).1,
            hook_timeout: Duration::from_mins(1),
            cluster_domain: DEFAULT_CLUSTER_DOMAIN.to_owned(),
            hosts: None,
            receiver: None,
            memory_limit: 512 * 1024 * 1024,
            cache_dir: None,
            cache_after: Duration::from_secs(3),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("parts", &self.parts)
            .field("role", &self.role)
            .field("orphans", &self.orphans)
            .field("hook_timeout", &self.hook_timeout)
            .field("cluster_domain", &self.cluster_domain)
            .field("receiver", &self.receiver)
            .field("cache_dir", &self.cache_dir)
            .finish_non_exhaustive()
    }
}
