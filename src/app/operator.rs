//! `busway operator`: what the process needs around it.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use busway_buskit::{
    admin::{self, Introspect},
    runner, signals,
    telemetry::{self, LogFormat},
};
use busway_monitor::{peers::LoadedPage, source::lease::identity};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::operator::{
    Metrics, OperatorArgs,
    run::{Operator, Readiness},
};

/// How much of a UID tells clusters apart on a broker.
const CLUSTER_ID_LENGTH: usize = 8;
/// How long one connection may take to come about; the next may reach another API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what is under way at a signal may take: a few calls, with the Lease given back after them.
const LEAVE_WITHIN: Duration = Duration::from_secs(25);

/// Runs until SIGTERM or Ctrl-C, or until the Lease is lost.
pub(crate) fn run(args: &OperatorArgs, log_format: Option<LogFormat>) -> anyhow::Result<()> {
    telemetry::init(log_format.unwrap_or_else(LogFormat::detect), "info");
    runner::control_runtime()?.block_on(serve(args))
}

async fn serve(args: &OperatorArgs) -> anyhow::Result<()> {
    let mut config = Config::infer()
        .await
        .context("no API server: neither a kubeconfig nor a pod's service account was found")?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let namespace = args
        .pod_namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("making a Kubernetes client")?;
    let cluster_id = match args.cluster_id.clone().filter(|given| !given.is_empty()) {
        Some(given) => given,
        None => cluster_id(&client).await?,
    };
    let settings = args.settings(namespace, cluster_id)?;
    let identity = identity(args.pod_name.as_deref());
    let operator = Operator::new(client, settings, args.lease_name.clone(), identity);

    let shutdown = CancellationToken::new();
    let listener = admin::bind(args.admin).with_context(|| format!("--admin {}", args.admin))?;
    let address = listener.local_addr()?;
    let process = Arc::new(Process {
        metrics: operator.metrics(),
        readiness: operator.readiness(),
    });
    let port = admin::serve_admin(listener, process, shutdown.clone())?;
    tracing::info!(%address, kind = "admin", "listening");

    let stop = CancellationToken::new();
    let mut running = tokio::spawn(operator.run(stop.clone()));
    let ended = tokio::select! {
        signal = signals::terminated() => {
            tracing::info!(signal, "leaving");
            stop.cancel();
            match tokio::time::timeout(LEAVE_WITHIN, &mut running).await {
                Ok(done) => done.context("the operator panicked")?.map_err(Into::into),
                Err(_) => Err(anyhow::anyhow!("what was under way did not end within {LEAVE_WITHIN:?}")),
            }
        }
        done = &mut running => done.context("the operator panicked")?.map_err(Into::into),
        () = shutdown.cancelled() => Err(anyhow::anyhow!("the admin port ended by itself")),
    };
    shutdown.cancel();
    if port.join().is_err() {
        tracing::error!("the admin port's thread panicked");
    }
    ended
}

/// The same for every installation in a cluster, and for no two clusters.
async fn cluster_id(client: &Client) -> anyhow::Result<String> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api
        .get_metadata("kube-system")
        .await
        .context("reading the UID of namespace kube-system; CLUSTER_ID says it otherwise")?;
    let uid = found.metadata.uid.unwrap_or_default();
    let id: String = uid.chars().take(CLUSTER_ID_LENGTH).collect();
    anyhow::ensure!(
        !id.is_empty(),
        "namespace kube-system has no UID: set CLUSTER_ID"
    );
    Ok(id)
}

/// What the admin port asks of an operator.
struct Process {
    metrics: Metrics,
    readiness: Readiness,
}

impl Introspect for Process {
    fn ready(&self) -> Result<(), String> {
        if self.readiness.is_ready() {
            Ok(())
        } else {
            Err("not ready: it holds the Lease and has not listed everything yet".to_owned())
        }
    }

    fn metrics(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        to.write_str(&self.metrics.text())
    }

    fn loaded(&self, _since: u64) -> LoadedPage {
        LoadedPage::default()
    }

    fn objects(&self) -> Value {
        Value::Null
    }
}
