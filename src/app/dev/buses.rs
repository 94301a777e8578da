//! The buses of a folder, each with a Monitor of its own.

use std::{collections::HashMap, fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use busway_buskit::{
    Bus, BusRef, bundle,
    process::{Process, Served},
};
use busway_core::{
    address::HostMap,
    budget::MemoryBudget,
    egress::Surroundings,
    serving,
    world::{Clock, SystemClock},
};
use busway_dataplane::DataPlane;
use busway_monitor::{
    Loopback, Monitor, Options, Orphans, Parts,
    source::{Source, folder::FolderSource},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::objects;
use crate::app::{
    command::DevArgs,
    memory,
    stand_in::{NotInDev, Nothing},
    terminal::Terminal,
};

/// Hooks that run at once, per bus: they are all in this process.
const CONCURRENCY: usize = 16;
/// The bus of what no bus owns: not a valid name, so no object is ever called that.
const ORPHANS: &str = "-";
/// Changes that come together are shown as one table.
const SETTLING: Duration = Duration::from_millis(300);

/// What runs, by bus.
pub(super) struct Buses<'a> {
    pub(super) args: &'a DevArgs,
    pub(super) hosts: HostMap,
    pub(super) receiver: SocketAddr,
    pub(super) budget: MemoryBudget,
    pub(super) source: Arc<FolderSource>,
    pub(super) data_plane: DataPlane,
    pub(super) process: Arc<Process>,
    pub(super) running: HashMap<BusRef, Running>,
}

pub(super) struct Running {
    builtin: bool,
    around: watch::Sender<Arc<Surroundings>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Buses<'_> {
    /// Follows the folder: starts and stops buses, and shows the table when it changed.
    pub(super) async fn follow(&mut self, terminal: &Terminal) -> anyhow::Result<()> {
        let mut changed = self.source.changed();
        let mut last = String::new();
        loop {
            changed.borrow_and_update();
            self.reconcile().await;
            tokio::time::sleep(SETTLING).await;
            let mut table = objects(&self.source).table();
            for (file, complaint) in self.source.complaints() {
                // Writing into a String does not fail.
                let _ = writeln!(table, "refused: {file}: {complaint}");
            }
            if table != last {
                terminal.print(format!("\n{table}"));
                last = table;
            }
            changed
                .changed()
                .await
                .context("the folder is not followed any more")?;
        }
    }

    async fn reconcile(&mut self) {
        let wanted = buses(&self.source.objects());
        let gone: Vec<_> = self
            .running
            .iter()
            .filter(|(bus, running)| {
                bus.name() != ORPHANS && wanted.get(bus) != Some(&running.builtin)
            })
            .map(|(bus, _)| bus.clone())
            .collect();
        for bus in gone {
            if let Some(running) = self.running.remove(&bus) {
                running.end().await;
            }
            self.data_plane.remove(&bus);
            self.process.remove(&bus);
        }
        for (bus, running) in &self.running {
            running.look_around(&self.source, bus);
        }
        for (bus, builtin) in wanted {
            if !self.running.contains_key(&bus) {
                self.start(bus, builtin);
            }
        }
    }

    fn start(&mut self, name: BusRef, builtin: bool) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (bus, counters): (Arc<dyn Bus>, _) = if builtin {
            let (bus, counters) = memory::open(&self.budget, &clock);
            (bus, Some(counters))
        } else {
            (Arc::new(NotInDev(name.clone())), None)
        };
        let plane = self.data_plane.add(&name, Arc::clone(&bus));
        let around = watch::Sender::new(Arc::default());
        let monitor = self
            .monitor(bus, Orphans::NotMine, &around)
            .data_plane(Arc::clone(&plane) as Arc<dyn serving::DataPlane>);
        self.process.add(Served {
            plane,
            monitor: monitor.clone(),
            counters,
        });
        self.run(name, builtin, monitor, around);
    }

    /// A channel of a bus that is not there, or a subscription of a missing channel, belongs to no
    /// bus: a Monitor of its own says so.
    pub(super) fn tell_of_orphans(&mut self) {
        let name = BusRef::Cluster {
            name: ORPHANS.to_owned(),
        };
        let around = watch::Sender::new(Arc::default());
        let monitor = self.monitor(Arc::new(Nothing), Orphans::Mine, &around);
        self.run(name, true, monitor, around);
    }

    fn monitor(
        &self,
        bus: Arc<dyn Bus>,
        orphans: Orphans,
        around: &watch::Sender<Arc<Surroundings>>,
    ) -> Monitor {
        let source = Arc::clone(&self.source) as Arc<dyn Source>;
        Monitor::new("busway-dev", source, bus).options(Options {
            parts: Parts::Both,
            orphans,
            loopback: Loopback::Allowed,
            around: around.subscribe(),
            cluster_domain: self.args.cluster_domain.clone(),
            hosts: Some(self.hosts.clone()),
            receiver: Some(self.receiver),
            memory_limit: busway_buskit::memory::limit(),
            ..Options::default()
        })
    }

    fn run(
        &mut self,
        name: BusRef,
        builtin: bool,
        monitor: Monitor,
        around: watch::Sender<Arc<Surroundings>>,
    ) {
        let stop = CancellationToken::new();
        let task = spawn(monitor, name.clone(), stop.clone());
        let running = Running {
            builtin,
            around,
            stop,
            task,
        };
        running.look_around(&self.source, &name);
        self.running.insert(name, running);
    }

    pub(super) async fn stop(&mut self) {
        for (_, running) in self.running.drain() {
            running.end().await;
        }
    }
}

impl Running {
    /// Reads the authorities of `egress.caBundle` anew: its ConfigMap is a manifest of the folder.
    fn look_around(&self, source: &FolderSource, bus: &BusRef) {
        self.around.send_if_modified(|around| {
            let now = bundle::in_folder(source, bus, around.bundle.as_ref());
            let differs = around.bundle != now;
            if differs {
                *around = Arc::new(Surroundings {
                    bundle: now,
                    ..Surroundings::clone(around)
                });
            }
            differs
        });
    }

    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a monitor panicked");
        }
    }
}

fn spawn(monitor: Monitor, name: BusRef, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = monitor.run(name.clone(), CONCURRENCY, stop).await {
            tracing::error!(bus = %name, %error, "not served any more");
        }
    })
}

/// The buses in the folder, and whether each is a built-in one.
fn buses(objects: &[Arc<Value>]) -> HashMap<BusRef, bool> {
    objects
        .iter()
        .filter_map(|object| {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
            let name = text("/metadata/name")?.to_owned();
            let bus = match object.get("kind")?.as_str()? {
                "Bus" => BusRef::Namespaced {
                    namespace: text("/metadata/namespace")?.to_owned(),
                    name,
                },
                "ClusterBus" => BusRef::Cluster { name },
                _ => return None,
            };
            Some((bus, object.pointer("/spec/memory").is_some()))
        })
        .collect()
}
