//! The command line, in clap's words.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use busway_buskit::{DispatcherArgs, telemetry::LogFormat};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    cli::{crds::CrdsArgs, post::PostArgs, sink::SinkArgs, uninstall::UninstallArgs},
    operator::OperatorArgs,
};

/// Channels, buses and subscriptions for Kubernetes.
///
/// POST a message to a channel, and every subscription of it gets it over HTTP.
#[derive(Debug, Parser)]
#[command(name = "busway", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the manifests of a folder on this machine, without a cluster.
    Dev(DevArgs),
    /// Make what Buses, ClusterBuses and Channels of a cluster need, and say what is wrong.
    Operator(Box<Operator>),
    /// Serve one Bus or ClusterBus of a cluster: receive, carry, deliver.
    Dispatcher(Box<DispatcherArgs>),
    /// Provision what backs the channels of one Bus or ClusterBus, which other processes serve.
    Provisioner(Box<DispatcherArgs>),
    /// A small subscriber that prints what it gets.
    Sink(SinkArgs),
    /// Send one message to a channel, and wait until it arrives, if asked to.
    Post(PostArgs),
    /// Delete every Subscription, Channel, Bus and ClusterBus of a cluster, and say what each waits for.
    Uninstall(UninstallArgs),
    /// Print the custom resource definitions, as `kubectl apply` takes them.
    Crds(CrdsArgs),
    /// Print a generated page of the documentation.
    #[command(hide = true)]
    Docs {
        /// Which page.
        #[arg(value_enum)]
        page: Page,
    },
}

/// A generated page.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Page {
    Reasons,
    Metrics,
    Fields,
}

/// `busway operator`
#[derive(Debug, Args)]
pub(crate) struct Operator {
    #[command(flatten)]
    pub(crate) args: OperatorArgs,

    /// How log lines look [default: text on a terminal, else json].
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

/// `busway dev`
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder with the manifests, as kubectl takes them; `busway-dev.yaml` in it may hold `hosts:`, `sinks:` and `demo:`.
    pub(crate) dir: PathBuf,

    /// Where messages are POSTed to. Port 0 lets the kernel choose; the choice is printed.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Probes and metrics.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(crate) admin: SocketAddr,

    /// What it is doing: `/objects`, `/subscriptions/<namespace>/<name>`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9091")]
    pub(crate) debug: SocketAddr,

    /// A cluster name and the local address that stands for it; repeatable.
    #[arg(long = "host", value_name = "NAME=ADDR:PORT")]
    pub(crate) hosts: Vec<String>,

    /// Where UIDs and what was provisioned are kept [default: a folder for DIR in the user's state folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// The domain of cluster names.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = busway_core::address::DEFAULT_CLUSTER_DOMAIN)]
    pub(crate) cluster_domain: String,

    /// Worker threads of the data plane.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) shards: u16,

    /// Post what `demo:` says, wait until everything is settled, and end: 0 as expected, else 1.
    #[arg(long)]
    pub(crate) once: bool,

    /// Print no line per message.
    #[arg(long)]
    pub(crate) quiet: bool,

    /// How long messages in flight may take after Ctrl-C.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub(crate) grace: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    busway_core::duration::parse(text).map_err(|error| error.to_string())
}
