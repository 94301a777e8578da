//! What the operator is told.

use std::{fmt, net::SocketAddr, time::Duration};

use busway_api::text::parse_duration;
use clap::{Args, ValueEnum};

/// What a dispatcher takes at most: its own bound, so that a number too large is refused where it is set.
const MOST_OWN_HISTOGRAMS: i64 = 100_000;

/// `busway operator`
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    /// Which namespaces it looks after: `all`, those of `--namespaces`, or its `own`.
    #[arg(long, env = "BUSWAY_SCOPE", value_enum, default_value_t = ScopeArg::All)]
    pub scope: ScopeArg,

    /// The namespaces of `--scope list`, separated by commas.
    #[arg(
        long,
        env = "BUSWAY_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub namespaces: Vec<String>,

    /// The image of built-in buses: the operator's own.
    #[arg(long, env = "BUSWAY_IMAGE")]
    pub image: String,

    /// When that image is pulled [default: the cluster's].
    #[arg(long, env = "BUSWAY_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub image_pull_policy: Option<String>,

    /// What dispatchers are bound to: a ClusterRole, or with `--scope own` and `list` a Role in each namespace.
    #[arg(
        long,
        env = "BUSWAY_DISPATCHER_ROLE",
        default_value = "busway-dispatcher",
        value_name = "NAME"
    )]
    pub dispatcher_role: String,

    /// Where a Bus may bring containers of its own: on ClusterBuses only, or in namespaces too.
    #[arg(long, env = "BUSWAY_THIRD_PARTY_BUSES", value_enum, default_value_t = ThirdPartyBuses::Cluster)]
    pub third_party_buses: ThirdPartyBuses,

    /// Which Service a Channel gets.
    #[arg(long, env = "BUSWAY_CHANNEL_SERVICE", value_enum, default_value_t = ChannelService::Auto)]
    pub channel_service: ChannelService,

    /// How long a deleted Channel or Subscription waits for a hook that cannot run or keeps failing.
    #[arg(long, env = "BUSWAY_DELETION_BOUND", default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub deletion_bound: Duration,

    /// The domain of cluster names.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// What names on brokers begin with [default: 8 characters of the UID of namespace kube-system].
    #[arg(long, env = "CLUSTER_ID")]
    pub cluster_id: Option<String>,

    /// How many subscriptions of a dispatcher have latency histograms of their own [default: the dispatcher's].
    #[arg(
        long,
        env = "BUSWAY_OWN_HISTOGRAMS",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(..=MOST_OWN_HISTOGRAMS),
    )]
    pub own_histograms: Option<u32>,

    /// The Lease that one of several replicas holds.
    #[arg(
        long,
        env = "BUSWAY_LEASE_NAME",
        default_value = "busway-operator",
        value_name = "NAME"
    )]
    pub lease_name: String,

    /// Probes and metrics.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9090")]
    pub admin: SocketAddr,

    /// This pod's name: who holds the Lease.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,

    /// This pod's namespace: where the Lease and what serves ClusterBuses is.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
}

/// Which namespaces are looked after, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum ScopeArg {
    All,
    Own,
    List,
}

/// Where a Bus may bring containers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum ThirdPartyBuses {
    /// On ClusterBuses only.
    Cluster,
    /// On Buses in namespaces too.
    Namespaced,
}

/// Which Service a Channel gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum ChannelService {
    /// One on the dispatcher's pods where they are in the namespace, else an ExternalName.
    Auto,
    /// Always an ExternalName.
    #[value(name = "ExternalName")]
    ExternalName,
    /// None: the bus's Service is the only address.
    None,
}

/// Which namespaces are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All, and ClusterBuses.
    All,
    /// These; no ClusterBus.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether objects of this namespace are looked after.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }
}

/// What the operator was told, understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which namespaces.
    pub scope: Scope,
    /// The operator's own namespace.
    pub namespace: String,
    /// The image of built-in buses.
    pub image: String,
    /// When it is pulled.
    pub image_pull_policy: Option<String>,
    /// The ClusterRole of dispatchers, or their Role in each namespace of the scope.
    pub dispatcher_role: String,
    /// Where third parties' buses may be.
    pub third_party_buses: ThirdPartyBuses,
    /// Which Service a Channel gets.
    pub channel_service: ChannelService,
    /// How long a deletion waits for hooks.
    pub deletion_bound: Duration,
    /// The domain of cluster names.
    pub cluster_domain: String,
    /// What names on brokers begin with.
    pub cluster_id: String,
    /// How many subscriptions of a dispatcher have latency histograms of their own, where that is told.
    pub own_histograms: Option<u32>,
}

/// An argument that does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(&'static str);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadArgument {}

impl OperatorArgs {
    /// Understands the arguments, in a namespace and a cluster that were found out.
    ///
    /// # Errors
    /// When `--scope` and `--namespaces` do not fit.
    pub fn settings(&self, namespace: String, cluster_id: String) -> Result<Settings, BadArgument> {
        let scope = match (self.scope, self.namespaces.is_empty()) {
            (ScopeArg::All, true) => Scope::All,
            (ScopeArg::Own, true) => Scope::Namespaces(vec![namespace.clone()]),
            (ScopeArg::List, false) => {
                let mut names = self.namespaces.clone();
                names.sort();
                names.dedup();
                Scope::Namespaces(names)
            }
            (ScopeArg::List, true) => {
                return Err(BadArgument("--scope list needs --namespaces"));
            }
            (ScopeArg::All | ScopeArg::Own, false) => {
                return Err(BadArgument("--namespaces goes with --scope list only"));
            }
        };
        Ok(Settings {
            scope,
            namespace,
            image: self.image.clone(),
            image_pull_policy: self.image_pull_policy.clone(),
            dispatcher_role: self.dispatcher_role.clone(),
            third_party_buses: self.third_party_buses,
            channel_service: self.channel_service,
            deletion_bound: self.deletion_bound,
            cluster_domain: self.cluster_domain.clone(),
            cluster_id,
            own_histograms: self.own_histograms,
        })
    }
}

#[cfg(test)]
#[path = "args/tests.rs"]
mod tests;
