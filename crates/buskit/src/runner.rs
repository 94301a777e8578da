//! Wires one bus: Monitor, data plane, ports, signals. [`run_dispatcher`] is a bus author's `main`.

use std::{
    num::NonZeroUsize,
    process::ExitCode,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use busway_core::{
    Bus, BusRef,
    address::HostMap,
    budget::MemoryBudget,
    routes::ReceiverSettings,
    world::{Clock, SystemClock},
};
use busway_dataplane::{DataPlane, Network, Settings, World};
use busway_monitor::{Loopback, Monitor, Options, Orphans, Parts, Role};
use clap::{Parser, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    args::{DispatcherArgs, Hooks},
    around::{Around, Look},
    metrics::BusCounters,
    process::{Process, Served},
    provisioning::Provisioning,
    resources::{Resources, component},
    telemetry::{self, LogFormat},
};

/// What a bus is made with.
#[derive(Clone)]
pub struct Given {
    /// Bytes of messages that the process may hold: a bus that keeps them in memory shares it with
    /// the receiver.
    pub budget: MemoryBudget,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    counters: Arc<OnceLock<BusCounters>>,
}

impl Given {
    /// Shows what the bus counts by itself at `/metrics`; the first call counts.
    pub fn show(&self, counters: BusCounters) {
        let _ = self.counters.set(counters);
    }
}

#[derive(Debug, Parser)]
#[command(about = "Serves one bus: receives, carries, delivers")]
struct Cli {
    /// All of it, or the hooks alone, for a bus whose dispatchers are told PROVISIONER=apart.
    #[arg(value_enum, default_value_t)]
    part: Part,

    #[command(flatten)]
    args: DispatcherArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Part {
    #[default]
    Dispatcher,
    Provisioner,
}

/// Reads arguments and environment, and serves until a signal comes: the `main` of a bus author's
/// binary. With `provisioner` as its first argument it is what [`run_provisioner`] runs.
pub fn run_dispatcher(make: impl FnOnce(&Given) -> anyhow::Result<Arc<dyn Bus>>) -> ExitCode {
    let cli = Cli::parse();
    let role = match cli.part {
        Part::Dispatcher => Role::Whole,
        Part::Provisioner => Role::Provisioner,
    };
    exit_code(serve(&cli.args, role, make))
}

/// Reads arguments and environment, and runs the hooks of a bus that other processes serve, until a
/// signal comes: the `main` of a bus author's provisioner, where that is a binary of its own.
pub fn run_provisioner(make: impl FnOnce(&Given) -> anyhow::Result<Arc<dyn Bus>>) -> ExitCode {
    exit_code(serve(&Cli::parse().args, Role::Provisioner, make))
}

/// What a process ends with; an error is told on standard error.
#[must_use]
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Telemetry may not be there yet, and a person may be watching.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves one bus until SIGTERM or Ctrl-C, and leaves in order.
///
/// # Errors
/// When it cannot start, or an essential part ended by itself.
pub fn serve(
    args: &DispatcherArgs,
    role: Role,
    make: impl FnOnce(&Given) -> anyhow::Result<Arc<dyn Bus>>,
) -> anyhow::Result<()> {
    telemetry::init(args.log_format.unwrap_or_else(LogFormat::detect), "info");
    let bus_ref = args.bus_ref()?;
    let hosts = args.host_map()?;
    let given = Given {
        budget: MemoryBudget::new(ReceiverSettings::default().max_memory),
        clock: Arc::new(SystemClock),
        counters: Arc::default(),
    };
    let bus = make(&given).context("the bus cannot be opened")?;
    let role = match (role, args.provisioner) {
        (Role::Whole, Hooks::Apart) => Role::DispatcherOnly,
        (role, _) => role,
    };
    let runtime = control_runtime()?;
    match role {
        Role::Provisioner => runtime.block_on(provision(args, &bus_ref, hosts, &given, bus)),
        _ => runtime.block_on(run(args, role, &bus_ref, hosts, given, bus)),
    }
}

/// The runtime of everything but messages: they have their own threads.
///
/// # Errors
/// When threads cannot be started.
pub fn control_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("busway-control")
        .enable_all()
        .build()
}

async fn run(
    args: &DispatcherArgs,
    role: Role,
    bus_ref: &BusRef,
    hosts: HostMap,
    given: Given,
    bus: Arc<dyn Bus>,
) -> anyhow::Result<()> {
    let resources = Resources::open(args, bus_ref, role).await?;
    let around = look_around(args, bus_ref, &resources).await;
    let settings = Settings {
        cluster_domain: args.cluster_domain.clone(),
        lame_duck: args.lame_duck(),
        budget: given.budget.clone(),
        own_histograms: usize::try_from(args.own_histograms).unwrap_or(usize::MAX),
    };
    let mut world = World::new(Network::system().with_hosts(hosts.clone()));
    world.clock = Arc::clone(&given.clock);
    let listen = args.listen_address();
    let data_plane = DataPlane::start(listen, shards(args), settings, world)
        .with_context(|| format!("listening on {listen}"))?;
    let receiver = data_plane.address();
    if let (true, Some(receiver)) = (args.is_local(), receiver) {
        hosts.receive_at(receiver);
    }
    let plane = data_plane.add(bus_ref, Arc::clone(&bus));

    let options = Options {
        receiver: receiver.filter(|_| args.is_local()),
        around: around.seen.clone(),
        ..options(args, role, bus_ref, &hosts, &given)
    };
    let monitor = Monitor::new(component(role), resources.source(), bus)
        .data_plane(Arc::clone(&plane) as Arc<dyn busway_core::serving::DataPlane>)
        .replicas(resources.replicas(args)?)
        .options(options);

    let process = Process::new(data_plane.clone(), replica(), resources.objects());
    process.add(Served {
        plane,
        monitor: monitor.clone(),
        counters: given.counters.get().cloned(),
    });
    let process: Arc<dyn admin::Introspect> = Arc::new(process);
    let ports = Ports::bind(args.admin_address(), args.debug, &process)?;
    for (kind, address) in [
        ("messages", receiver),
        ("admin", Some(ports.admin)),
        ("debug", Some(ports.debug)),
    ] {
        if let Some(address) = address {
            tracing::info!(%address, kind, bus = %bus_ref, "listening");
        }
    }

    let running = Running::start(args, monitor, bus_ref, resources, ports);
    running.until_told(Some(&data_plane)).await?;
    drop(around);
    Ok(())
}

/// Runs the hooks and nothing else: no message comes here.
async fn provision(
    args: &DispatcherArgs,
    bus_ref: &BusRef,
    hosts: HostMap,
    given: &Given,
    bus: Arc<dyn Bus>,
) -> anyhow::Result<()> {
    let role = Role::Provisioner;
    let resources = Resources::open(args, bus_ref, role).await?;
    let monitor = Monitor::new(component(role), resources.source(), bus)
        .replicas(resources.replicas(args)?)
        .options(options(args, role, bus_ref, &hosts, given));
    let process: Arc<dyn admin::Introspect> = Arc::new(Provisioning {
        monitor: monitor.clone(),
        bus: bus_ref.clone(),
        counters: given.counters.get().cloned(),
    });
    let ports = Ports::bind(args.admin_address(), args.debug, &process)?;
    tracing::info!(address = %ports.admin, kind = "admin", bus = %bus_ref, "listening");
    let running = Running::start(args, monitor, bus_ref, resources, ports);
    running.until_told(None).await
}

fn options(
    args: &DispatcherArgs,
    role: Role,
    bus: &BusRef,
    hosts: &HostMap,
    given: &Given,
) -> Options {
    let local = args.is_local();
    Options {
        role,
        parts: if local { Parts::Both } else { Parts::DataPlane },
        orphans: orphans(args, bus),
        loopback: if local {
            Loopback::Allowed
        } else {
            Loopback::Refused
        },
        cluster_domain: args.cluster_domain.clone(),
        // With a cluster's resources a name may still be one that this machine can look up.
        hosts: args.dir.is_some().then(|| hosts.clone()),
        memory_limit: crate::memory::limit(),
        cache_dir: args.cache_dir.clone(),
        clock: Arc::clone(&given.clock),
        ..Options::default()
    }
}

/// Looks at what no subscription may dial, and says what that is.
async fn look_around(args: &DispatcherArgs, bus: &BusRef, resources: &Resources) -> Around {
    let look = Look::new(args, bus);
    let look = match resources {
        Resources::Folder(folder) => look.in_folder(folder),
        // On somebody's machine it is a subscriber as any other.
        Resources::Kube(..) if args.is_local() => look,
        Resources::Kube(_, client) => look.asking(client.clone()),
    };
    let around = look.start().await;
    let seen = Arc::clone(&around.seen.borrow());
    tracing::info!(
        pod = ?seen.pod,
        api_server = ?seen.api_server,
        api_endpoints = ?seen.api_endpoints,
        service = ?seen.service_names,
        service_addresses = ?seen.service,
        loopback = if args.is_local() { "open" } else { "guarded" },
        "egress is guarded: metadata, link-local, multicast and unspecified addresses, and these"
    );
    if !args.is_local() && (seen.pod.is_empty() || seen.api_server.is_empty()) {
        tracing::warn!(
            "subscriptions may dial what this process does not know of: POD_IPS and \
             KUBERNETES_SERVICE_HOST tell it of this pod's addresses and the API server's"
        );
    }
    around
}

/// What goes on until a signal comes.
struct Running {
    monitor: Monitor,
    reconciling: CancellationToken,
    reconciler: tokio::task::JoinHandle<Result<(), busway_monitor::MonitorError>>,
    resources: Resources,
    ports: Ports,
    grace: Duration,
}

impl Running {
    fn start(
        args: &DispatcherArgs,
        monitor: Monitor,
        bus: &BusRef,
        resources: Resources,
        ports: Ports,
    ) -> Self {
        let reconciling = CancellationToken::new();
        let (bus, until) = (bus.clone(), reconciling.clone());
        let concurrency = usize::from(args.concurrency);
        let running = monitor.clone();
        let reconciler = async move { running.run(bus, concurrency, until).await };
        Self {
            monitor,
            reconciling,
            reconciler: tokio::spawn(reconciler),
            resources,
            ports,
            grace: args.grace,
        }
    }

    /// Until a signal comes or an essential part ends by itself; then leaves in order.
    async fn until_told(mut self, data_plane: Option<&DataPlane>) -> anyhow::Result<()> {
        let stopped = async {
            match data_plane {
                Some(data_plane) => data_plane.stopped().await,
                None => std::future::pending().await,
            }
        };
        let mut ended = None;
        tokio::select! {
            signal = crate::signals::terminated() => tracing::info!(signal, "leaving"),
            () = stopped => ended = Some("a worker of the data plane"),
            _ = &mut self.reconciler => ended = Some("the monitor"),
            () = self.ports.ended() => ended = Some("the admin port"),
        }
        self.monitor.leave();
        // Messages first: the Monitor goes on saying what is served until they are done.
        let lost = match data_plane {
            Some(data_plane) => data_plane.drain(self.grace).await.lost,
            None => 0,
        };
        self.reconciling.cancel();
        if ended != Some("the monitor") {
            self.reconciler.await.context("the monitor panicked")??;
        }
        self.resources.close().await;
        self.ports.close();
        if lost > 0 {
            tracing::warn!(messages = lost, "left with messages in memory");
        }
        match ended {
            Some(what) => anyhow::bail!("{what} ended by itself"),
            None => Ok(()),
        }
    }
}

/// Without an operator this process tells of what no bus owns. One that sees a namespace only does
/// not see ClusterBuses, and would call them missing.
fn orphans(args: &DispatcherArgs, bus: &BusRef) -> Orphans {
    match bus {
        _ if !args.is_local() => Orphans::NotMine,
        BusRef::Namespaced { .. } if args.standalone => Orphans::MineButClusterBuses,
        BusRef::Namespaced { .. } | BusRef::Cluster { .. } => Orphans::Mine,
    }
}

fn shards(args: &DispatcherArgs) -> NonZeroUsize {
    args.shards
        .and_then(|shards| NonZeroUsize::new(usize::from(shards)))
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

/// Who this process is, to peers: another after each start.
fn replica() -> String {
    let started = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}-{}", std::process::id(), started.as_nanos())
}

/// The admin and the debug port of a process.
pub struct Ports {
    /// Where probes and metrics are.
    pub admin: std::net::SocketAddr,
    /// Where it tells what it is doing.
    pub debug: std::net::SocketAddr,
    shutdown: CancellationToken,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Ports {
    /// Serves both, each on a thread of its own.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub fn bind(
        admin: std::net::SocketAddr,
        debug: std::net::SocketAddr,
        process: &Arc<dyn admin::Introspect>,
    ) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let process = || Arc::clone(process);
        let on_admin = admin::bind(admin).with_context(|| format!("--admin {admin}"))?;
        let on_debug = admin::bind(debug).with_context(|| format!("--debug {debug}"))?;
        Ok(Self {
            admin: on_admin.local_addr()?,
            debug: on_debug.local_addr()?,
            threads: vec![
                admin::serve_admin(on_admin, process(), shutdown.clone())?,
                admin::serve_debug(on_debug, process(), shutdown.clone())?,
            ],
            shutdown,
        })
    }

    /// Resolves when a port is not served any more.
    pub async fn ended(&self) {
        self.shutdown.cancelled().await;
    }

    /// Closes both.
    pub fn close(self) {
        self.shutdown.cancel();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a port's thread panicked");
            }
        }
    }
}
