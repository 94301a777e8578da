//! What a dispatcher is told, by arguments and environment.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use busway_core::{
    BusRef,
    address::{DEFAULT_CLUSTER_DOMAIN, HostMap},
};
use busway_dataplane::metrics::MOST_OWN_HISTOGRAMS;
use clap::{Args, ValueEnum};

use crate::telemetry::LogFormat;

/// Who runs a bus's hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Hooks {
    /// The dispatcher itself.
    #[default]
    Within,
    /// A provisioner, which is a process of its own.
    Apart,
}

/// What a dispatcher is told. The environment is what an operator sets on the container.
#[derive(Clone, Debug, Args)]
pub struct DispatcherArgs {
    /// Serve this Bus.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "cluster_bus")]
    pub bus: Option<String>,

    /// Serve this ClusterBus.
    #[arg(long, value_name = "NAME")]
    pub cluster_bus: Option<String>,

    /// The bus's name, where neither argument is given.
    #[arg(long, env = "BUS_NAME", hide = true)]
    pub bus_name: Option<String>,

    /// The bus's namespace; empty for a ClusterBus.
    #[arg(long, env = "BUS_NAMESPACE", hide = true)]
    pub bus_namespace: Option<String>,

    /// There is no operator: do its part of the status too, and create the Lease.
    #[arg(long, conflicts_with = "dir")]
    pub standalone: bool,

    /// Serve the manifests of this folder instead of an API server's resources.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Where UIDs and what was provisioned are kept, with --dir.
    #[arg(long, value_name = "DIR", requires = "dir")]
    pub state: Option<PathBuf>,

    /// Where messages are POSTed to [default: 0.0.0.0:8080; on loopback with --standalone and --dir].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Probes and metrics [default: 0.0.0.0:9090; on loopback with --standalone and --dir].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,

    /// What it is doing: `/objects`, `/subscriptions/<namespace>/<name>`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091")]
    pub debug: SocketAddr,

    /// The port of --listen, where that is not given.
    #[arg(long, env = "PORT", hide = true, default_value_t = 8080)]
    pub port: u16,

    /// The port of --admin, where that is not given.
    #[arg(long, env = "ADMIN_PORT", hide = true, default_value_t = 9090)]
    pub admin_port: u16,

    /// A cluster name and the address that stands for it; repeatable. With --standalone and --dir.
    #[arg(long = "host", value_name = "NAME=ADDR:PORT")]
    pub hosts: Vec<String>,

    /// The admin address of another replica of this bus; repeatable.
    #[arg(long = "peer", value_name = "URL")]
    pub peers: Vec<String>,

    /// The Service of this bus, behind which its other replicas are found.
    #[arg(long, env = "BUS_SERVICE", hide = true, conflicts_with = "peers")]
    pub bus_service: Option<String>,

    /// Who runs the hooks: this process, or a provisioner of its own.
    #[arg(long, env = "PROVISIONER", hide = true, value_enum, default_value_t)]
    pub provisioner: Hooks,

    /// The domain of cluster names.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = DEFAULT_CLUSTER_DOMAIN)]
    pub cluster_domain: String,

    /// This pod's name: who holds the Lease.
    #[arg(long, env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,

    /// This pod's addresses, which no subscription may dial.
    #[arg(long, env = "POD_IPS", hide = true, value_delimiter = ',')]
    pub pod_ips: Vec<IpAddr>,

    /// The API server's address or name, likewise.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    pub api_server: Option<String>,

    /// A folder with certificate authorities in PEM form, one file or more: they are trusted beside the
    /// built-in ones where the bus has `egress.caBundle`.
    #[arg(
        long,
        env = "BUSWAY_CA_BUNDLE",
        value_name = "DIR",
        conflicts_with = "dir"
    )]
    pub ca_bundle: Option<PathBuf>,

    /// This pod's namespace: where the Lease is.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,

    /// The Lease's name [default: made of the bus's].
    #[arg(long, env = "LEASE_NAME", hide = true)]
    pub lease_name: Option<String>,

    /// A folder for the last resources, from which it starts while the API server is away.
    #[arg(long, env = "BUSWAY_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,

    /// Worker threads of the data plane [default: one per core].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: Option<u16>,

    /// How many subscriptions have latency histograms of their own in the metrics; the rest share one.
    #[arg(
        long,
        env = "BUSWAY_OWN_HISTOGRAMS",
        value_name = "N",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(..=i64::from(MOST_OWN_HISTOGRAMS)),
    )]
    pub own_histograms: u32,

    /// Hooks that run at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// How long connections are still accepted after SIGTERM [default: 5s; 0s with --standalone and --dir].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lame_duck: Option<Duration>,

    /// How long messages in flight may take after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub grace: Duration,

    /// How log lines look [default: text on a terminal, else json].
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// A lame duck in a cluster: endpoints need about that long to leave every node.
const LAME_DUCK: Duration = Duration::from_secs(5);

impl DispatcherArgs {
    /// Which bus is served.
    ///
    /// # Errors
    /// When none is named, or the name is malformed.
    pub fn bus_ref(&self) -> anyhow::Result<BusRef> {
        let text = match (&self.bus, &self.cluster_bus, &self.bus_name) {
            (Some(bus), _, _) => {
                let bus = BusRef::parse(bus)?;
                anyhow::ensure!(
                    bus.namespace().is_some(),
                    "--bus takes namespace/name; a ClusterBus is served by --cluster-bus"
                );
                return Ok(bus);
            }
            (None, Some(name), _) => name.clone(),
            (None, None, Some(name)) => match self.bus_namespace.as_deref() {
                Some(namespace) if !namespace.is_empty() => format!("{namespace}/{name}"),
                _ => name.clone(),
            },
            (None, None, None) => anyhow::bail!(
                "which bus? --bus NAMESPACE/NAME or --cluster-bus NAME (or BUS_NAME in the environment)"
            ),
        };
        Ok(BusRef::parse(&text)?)
    }

    /// Whether it runs on somebody's machine rather than in a pod.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.standalone || self.dir.is_some()
    }

    /// Where messages are received.
    #[must_use]
    pub fn listen_address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| self.address(self.port))
    }

    /// Where probes are answered.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.unwrap_or_else(|| self.address(self.admin_port))
    }

    fn address(&self, port: u16) -> SocketAddr {
        let ip = if self.is_local() {
            [127, 0, 0, 1]
        } else {
            [0, 0, 0, 0]
        };
        (ip, port).into()
    }

    /// How long connections are still accepted after a signal.
    #[must_use]
    pub fn lame_duck(&self) -> Duration {
        let default = if self.is_local() {
            Duration::ZERO
        } else {
            LAME_DUCK
        };
        self.lame_duck.unwrap_or(default)
    }

    /// `--host` as a map.
    ///
    /// # Errors
    /// When an entry has another form, or there is a cluster to look names up in.
    pub fn host_map(&self) -> anyhow::Result<HostMap> {
        anyhow::ensure!(
            self.hosts.is_empty() || self.is_local(),
            "--host goes with --standalone or --dir: in a cluster names are looked up"
        );
        let mut map = HostMap::new(&self.cluster_domain);
        for host in &self.hosts {
            map.add(host)?;
        }
        Ok(map)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    busway_core::duration::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use busway_dataplane::metrics::OWN_HISTOGRAMS;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: DispatcherArgs,
    }

    fn parse(args: &[&str]) -> DispatcherArgs {
        Cli::parse_from(["x"].iter().chain(args)).args
    }

    #[test]
    fn a_bus_is_named_by_argument_or_environment() {
        for (args, bus) in [
            (vec!["--bus", "shop/fast"], Some("shop/fast")),
            (vec!["--cluster-bus", "memory"], Some("memory")),
            (vec!["--bus-name", "b", "--bus-namespace", "a"], Some("a/b")),
            (vec!["--bus-name", "b", "--bus-namespace", ""], Some("b")),
            (vec!["--bus", "memory"], None),
            (vec![], None),
        ] {
            let found = parse(&args).bus_ref().ok().map(|bus| bus.to_string());
            assert_eq!(found.as_deref(), bus, "{args:?}");
        }
    }

    #[test]
    fn a_laptop_is_not_a_pod() {
        let pod = parse(&["--cluster-bus", "a", "--port", "81"]);
        assert_eq!(pod.listen_address().to_string(), "0.0.0.0:81");
        assert_eq!(pod.lame_duck(), LAME_DUCK);
        let local = parse(&["--cluster-bus", "a", "--standalone"]);
        assert_eq!(local.listen_address().to_string(), "127.0.0.1:8080");
        assert_eq!(local.lame_duck(), Duration::ZERO);
        let in_pod = parse(&["--cluster-bus", "a", "--host", "x.y=127.0.0.1:1"]);
        assert!(in_pod.host_map().is_err());
    }

    #[test]
    fn so_many_subscriptions_have_histograms_of_their_own() {
        let default = parse(&[]).own_histograms;
        assert_eq!(usize::try_from(default), Ok(OWN_HISTOGRAMS));
        assert_eq!(parse(&["--own-histograms=0"]).own_histograms, 0);
        let most = format!("--own-histograms={MOST_OWN_HISTOGRAMS}");
        assert_eq!(parse(&[&most]).own_histograms, MOST_OWN_HISTOGRAMS);
        for refused in ["--own-histograms=100001", "--own-histograms=-1"] {
            assert!(Cli::try_parse_from(["x", refused]).is_err(), "{refused}");
        }
    }
}
