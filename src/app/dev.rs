//! `busway dev DIR`: a folder of manifests served in one process, without a cluster.

mod buses;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use busway_buskit::{
    admin::Introspect,
    process::Process,
    resources::default_state,
    runner::{Ports, control_runtime},
    signals,
    telemetry::{self, LogFormat},
};
use busway_core::{address::HostMap, budget::MemoryBudget, routes::ReceiverSettings};
use busway_dataplane::{DataPlane, Network, Observer, Settings, World};
use busway_monitor::source::{
    Source,
    folder::{FolderOptions, FolderSource},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use self::buses::Buses;
use super::{
    command::DevArgs, demo, devconfig::DevConfig, ledger::Ledger, table::Objects,
    terminal::Terminal,
};
use crate::cli::sink;

/// How long everything may take to be Ready before the demo begins all the same: it then says why.
const READY_DEADLINE: Duration = Duration::from_secs(15);

/// Serves until Ctrl-C, or with `--once` until the demo is over.
pub(crate) fn run(args: &DevArgs) -> anyhow::Result<()> {
    // The table tells of objects, and the lines of messages.
    telemetry::init(LogFormat::Text, "warn");
    let config = DevConfig::read(&args.dir)?;
    control_runtime()?.block_on(serve(args, &config))
}

async fn serve(args: &DevArgs, config: &DevConfig) -> anyhow::Result<()> {
    let terminal = Terminal::start()?;
    let shutdown = CancellationToken::new();
    let _ended = shutdown.clone().drop_guard();

    let mut hosts = HostMap::new(&args.cluster_domain);
    for host in &args.hosts {
        hosts.add(host)?;
    }
    config.add_hosts(&mut hosts)?;
    let told = (!args.quiet).then_some(&terminal);
    let sinks = start_sinks(config, &mut hosts, told, &shutdown).await?;

    let state = match &args.state {
        Some(state) => state.clone(),
        None => default_state(&args.dir)?,
    };
    let source = FolderSource::open(&args.dir, FolderOptions { state_dir: state })
        .await
        .with_context(|| format!("serving {}", args.dir.display()))?;
    let source = Arc::new(source);

    let steps = (!args.quiet).then(|| terminal.observer());
    let ledger = args.once.then(|| Arc::new(Ledger::then(steps.clone())));
    let budget = MemoryBudget::new(ReceiverSettings::default().max_memory);
    let mut world = World::new(Network::system().with_hosts(hosts.clone()));
    world.observer = match &ledger {
        Some(ledger) => Some(Arc::clone(ledger) as Arc<dyn Observer>),
        None => steps,
    };
    let settings = Settings {
        cluster_domain: args.cluster_domain.clone(),
        lame_duck: Duration::ZERO,
        budget: budget.clone(),
        ..Settings::default()
    };
    let shards = NonZeroUsize::new(usize::from(args.shards)).unwrap_or(NonZeroUsize::MIN);
    let data_plane = DataPlane::start(args.listen, shards, settings, world).with_context(|| {
        format!(
            "listening for messages on {} (--listen ADDR chooses another)",
            args.listen
        )
    })?;
    let receiver = data_plane
        .address()
        .context("the receiver has no address")?;
    hosts.receive_at(receiver);

    let objects = Arc::clone(&source);
    let process = Arc::new(Process::new(
        data_plane.clone(),
        std::process::id().to_string(),
        Some(Box::new(move || all_objects(&objects))),
    ));
    let shown = Arc::clone(&process) as Arc<dyn Introspect>;
    let ports = Ports::bind(args.admin, args.debug, &shown)?;
    for (kind, address) in [
        ("messages", receiver),
        ("admin", ports.admin),
        ("debug", ports.debug),
    ] {
        terminal.print(format!("listening {kind}={address}"));
    }

    let mut buses = Buses {
        args,
        hosts,
        receiver,
        budget,
        source: Arc::clone(&source),
        data_plane: data_plane.clone(),
        process,
        running: HashMap::new(),
    };
    buses.tell_of_orphans();
    let result = tokio::select! {
        signal = signals::terminated() => {
            terminal.print(format!("{signal}: finishing what is in flight"));
            Ok(())
        }
        () = data_plane.stopped() => Err(anyhow::anyhow!("a worker of the data plane ended by itself")),
        () = ports.ended() => Err(anyhow::anyhow!("the admin port is not served any more")),
        result = buses.follow(&terminal) => result,
        result = play(config, (receiver, ports.debug), &source, ledger.as_deref(), &terminal) => result,
    };
    let drained = data_plane.drain(args.grace).await;
    buses.stop().await;
    shutdown.cancel();
    for sink in sinks {
        // A sink that panicked has said so.
        let _ = sink.await;
    }
    if drained.lost > 0 {
        terminal.print(format!("{} messages in memory are lost", drained.lost));
    }
    drop(buses);
    if let Some(source) = Arc::into_inner(source) {
        source.close().await;
    }
    ports.close();
    terminal.flush();
    result
}

/// Posts the demo's messages once everything is Ready; ends only with `--once`.
async fn play(
    config: &DevConfig,
    (receiver, debug): (SocketAddr, SocketAddr),
    source: &FolderSource,
    ledger: Option<&Ledger>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    if !config.demo.post.is_empty() {
        wait_until_ready(source).await;
        let posted = match demo::post(&config.demo, receiver).await {
            Ok(posted) => posted,
            // While serving, a demo that cannot be posted is no reason to end: files can be mended.
            Err(error) if ledger.is_none() => {
                terminal.print(format!("the demo was not posted: {error:#}"));
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if let Some(ledger) = ledger {
            let right = demo::check(&config.demo, &posted, ledger, &objects(source)).await?;
            terminal.print(format!(
                "{} messages, {right} times settled as expected",
                posted.len()
            ));
            return Ok(());
        }
    } else if ledger.is_some() {
        anyhow::bail!("--once has nothing to do: busway-dev.yaml has no `demo:`");
    }
    if let Some(channel) = a_channel(source) {
        terminal.print(format!(
            "\nTry next:\n  curl -i http://{receiver}/{channel} -H 'content-type: application/json' -d '{{\"hello\": \"busway\"}}'\n  curl http://{debug}/objects\nCtrl-C ends it.\n"
        ));
    }
    std::future::pending().await
}

async fn wait_until_ready(source: &FolderSource) {
    let deadline = Instant::now() + READY_DEADLINE;
    let mut changed = source.changed();
    while !objects(source).all_ready() {
        match tokio::time::timeout_at(deadline, changed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn objects(source: &FolderSource) -> Objects {
    Objects(source.objects())
}

/// What `GET /objects` answers.
fn all_objects(source: &FolderSource) -> Value {
    let complaints: BTreeMap<_, _> = source.complaints();
    serde_json::json!({ "items": source.objects(), "refused": complaints })
}

fn a_channel(source: &FolderSource) -> Option<String> {
    source.objects().iter().find_map(|object| {
        (object.get("kind")? == "Channel").then_some(())?;
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        Some(format!(
            "{}/{}",
            text("/metadata/namespace")?,
            text("/metadata/name")?
        ))
    })
}

async fn start_sinks(
    config: &DevConfig,
    hosts: &mut HostMap,
    terminal: Option<&Terminal>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let mut tasks = Vec::new();
    for sink in &config.sinks {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let host = sink.host();
        hosts.insert(&host, listener.local_addr()?);
        let terminal = terminal.cloned();
        let name = sink.name.clone();
        let print: sink::Print = Arc::new(move |line| {
            if let Some(terminal) = &terminal {
                terminal.print(format!("{:>8}  sink {name:<17} {line}", ""));
            }
        });
        tasks.push(tokio::spawn(sink::serve(
            listener,
            sink.behaviour()?,
            print,
            shutdown.clone(),
        )));
    }
    Ok(tasks)
}
