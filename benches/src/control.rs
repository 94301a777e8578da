//! The control plane: thousands of Subscriptions on a real API server, and a dispatcher that makes them Ready.

mod dispatcher;
mod objects;
mod readiness;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use busway_testkit::control::{ControlPlane, Namespace};
use clap::Args;
use kube::{Client, Config, config::Kubeconfig};
use tokio::time::Instant;

use self::{dispatcher::Dispatcher, objects::Objects, readiness::Readiness};
use crate::{
    check, clock,
    load::Connection,
    message::{Template, Ticket},
    process::Usage,
    sink_process::Sinks,
    table::Table,
};

/// Ten times what is aimed for: a system that takes longer is broken, not slow.
const READY_WITHIN: Duration = Duration::from_secs(600);
/// After a restart a channel has to take messages again within this.
const SERVING_WITHIN: Duration = Duration::from_secs(120);
/// Between two tries of a channel that does not take messages yet.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// How the control plane is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControlArgs {
    /// Subscriptions, spread evenly over the channels.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) subscriptions: u32,
    /// Channels.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) channels: u32,
    /// How many objects are applied at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) appliers: u16,
}

/// What was measured.
#[derive(Debug)]
struct Results {
    applied: Duration,
    ready: Duration,
    status_writes: f64,
    cpu: Duration,
    when_ready: Usage,
    restarted: Duration,
    serving: Duration,
    after_restart: Usage,
    deliveries: u64,
}

/// Measures, and returns the table.
///
/// # Errors
/// When not all becomes Ready, or a message does not reach each of its subscribers once.
pub(crate) async fn measure(args: &ControlArgs) -> Result<Table> {
    if !args.subscriptions.is_multiple_of(args.channels) {
        bail!(
            "{} subscriptions do not spread evenly over {} channels",
            args.subscriptions,
            args.channels
        );
    }
    let folder = tempfile::tempdir().context("a folder for logs")?;
    let mut sinks = Sinks::start(1, folder.path()).await?;
    let plane = ControlPlane::start().await?;
    objects::install(&plane).await?;
    let namespace = plane.namespace("bench").await?;
    let client = client(&plane).await?;

    let dispatcher = Dispatcher::start(&plane, folder.path(), SERVING_WITHIN)
        .await
        .context("the dispatcher, with nothing to serve")?;
    let before = dispatcher.usage()?;

    let objects = Objects::new(&client, &namespace, sinks.ports()[0], args);
    let readiness = Readiness::watch(&client, namespace.name());
    let began = Instant::now();
    objects.apply().await?;
    let applied = began.elapsed();
    eprintln!("applied in {applied:?}");
    let writes = readiness
        .all(args.channels, args.subscriptions, READY_WITHIN)
        .await
        .with_context(|| dispatcher.tail())?;
    let ready = began.elapsed();
    let when_ready = dispatcher.usage()?;
    eprintln!("all Ready after {ready:?}");
    let deliveries = post_to_each(&dispatcher, &mut sinks, &namespace, args).await?;

    dispatcher.terminate().await?;
    let restart = Instant::now();
    let dispatcher = Dispatcher::start(&plane, folder.path(), SERVING_WITHIN)
        .await
        .context("the dispatcher, started again")?;
    let restarted = restart.elapsed();
    let again = post_to_each(&dispatcher, &mut sinks, &namespace, args).await?;
    let serving = restart.elapsed();
    if again != deliveries {
        bail!("{deliveries} deliveries before the restart, {again} after it");
    }
    let results = Results {
        applied,
        ready,
        status_writes: writes,
        cpu: when_ready.cpu.saturating_sub(before.cpu),
        when_ready,
        restarted,
        serving,
        after_restart: dispatcher.usage()?,
        deliveries,
    };
    dispatcher.terminate().await?;
    Ok(table(args, &results))
}

async fn client(plane: &ControlPlane) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    Ok(Client::try_from(config)?)
}

/// One message to each channel; it has to reach each subscription of the channel, once. Returns the deliveries.
async fn post_to_each(
    dispatcher: &Dispatcher,
    sinks: &mut Sinks,
    namespace: &Namespace,
    args: &ControlArgs,
) -> Result<u64> {
    let run = sinks.begin().await?;
    let mut connection = Connection::open(dispatcher.messages()).await?;
    let host = dispatcher.messages().to_string();
    let mut request = Vec::new();
    for channel in 0..args.channels {
        let path = format!("/{}/{}", namespace.name(), objects::channel_name(channel));
        let template = Template::new(&path, &host);
        let began = Instant::now();
        loop {
            let ticket = Ticket {
                run,
                number: channel.into(),
                due: clock::now(),
            };
            template.render(ticket, &mut request);
            match connection.exchange(&request).await? {
                202 => break,
                503 if began.elapsed() < SERVING_WITHIN => tokio::time::sleep(TRY_EVERY).await,
                status => bail!("{path} answered {status}: {}", dispatcher.tail()),
            }
        }
    }
    let fan_out = u64::from(args.subscriptions / args.channels);
    let accepted = u64::from(args.channels);
    sinks.drained(accepted * fan_out).await?;
    let tally = sinks.tally().await?;
    check::deliveries(accepted, fan_out, &tally)?;
    Ok(tally.unique)
}

fn table(args: &ControlArgs, results: &Results) -> Table {
    let mut table = Table {
        columns: vec!["measure", "figure", "aim"],
        ..Table::default()
    };
    let seconds = |span: Duration| format!("{:.1} s", span.as_secs_f64());
    let megabytes = |value: f64| format!("{value:.1} MB");
    let ControlArgs {
        subscriptions,
        channels,
        appliers,
    } = args;
    let name =
        format!("{subscriptions} Subscriptions over {channels} Channels, first apply → all Ready");
    table.row([name, seconds(results.ready), "≤ 60 s".to_owned()]);
    let own = format!("of which the applying took ({appliers} at once)");
    table.row([own, seconds(results.applied), String::new()]);
    let writes = format!("{:.2}", results.status_writes);
    table.row([
        "status writes per Subscription, apply → Ready",
        &writes,
        "1",
    ]);
    let none = "";
    table.row([
        "CPU of the dispatcher meanwhile",
        &seconds(results.cpu),
        none,
    ]);
    table.row([
        "its peak RSS meanwhile",
        &megabytes(results.when_ready.peak),
        none,
    ]);
    let idle = megabytes(results.when_ready.resident);
    table.row(["its RSS when all were Ready", &idle, "≤ 50 MB"]);
    table.row([
        "restart → ready again (re-list)",
        &seconds(results.restarted),
        "< 10 s",
    ]);
    table.row([
        "restart → one message to each channel delivered",
        &seconds(results.serving),
        none,
    ]);
    let after = megabytes(results.after_restart.resident);
    table.row(["RSS after that", &after, none]);
    let deliveries = format!("{} deliveries", results.deliveries);
    let each = format!("one POST to each of {channels} channels, before and after the restart");
    table.row([each, deliveries, format!("{subscriptions}")]);
    table.taken.push(
        "One API server, etcd and controller manager on the same cores as the dispatcher, the sinks and this program, \
         which applies (server-side) and watches; one dispatcher, `--standalone`."
            .to_owned(),
    );
    table
}
