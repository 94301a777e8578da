//! The resources of one bus in a small file, for a start while the API server is away.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use busway_core::{BusRef, ChannelRef, SubscriptionRef};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    convert::{bus::AnyBus, channel::bus_of},
    engine::Given,
    names::fitted,
    world::World,
};

/// Written at most so often; what changed in between is read again from the API server, most of
/// the time.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Serialize, Deserialize)]
struct File {
    saved_at: SystemTime,
    bus: Option<Arc<Bus>>,
    cluster_bus: Option<Arc<ClusterBus>>,
    channels: Vec<Arc<Channel>>,
    subscriptions: Vec<Arc<Subscription>>,
}

/// A file's name, without its endings: file systems take 255 bytes, and the file that is being
/// written has a longer one.
const LONGEST_NAME: usize = 200;

/// What the file has.
pub(crate) struct Loaded {
    pub(crate) saved_at: SystemTime,
    pub(crate) bus: AnyBus,
    pub(crate) channels: Vec<(ChannelRef, Arc<Channel>)>,
    pub(crate) subscriptions: Vec<(SubscriptionRef, Arc<Subscription>)>,
}

pub(crate) struct Cache {
    path: PathBuf,
    saved: Option<Instant>,
    /// Versions of what was saved: equal ones need no other file.
    versions: u64,
}

impl Cache {
    pub(crate) fn new(dir: &Path, bus: &BusRef) -> Self {
        let name = match bus {
            BusRef::Namespaced { namespace, name } => format!("bus.{namespace}.{name}"),
            BusRef::Cluster { name } => format!("clusterbus.{name}"),
        };
        Self {
            path: dir.join(format!("{}.json", fitted(&name, LONGEST_NAME))),
            saved: None,
            versions: 0,
        }
    }

    /// What the last process wrote; nothing when there is no such file, or it cannot be read.
    pub(crate) fn load(&self) -> Option<Loaded> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the kept resources cannot be read");
                return None;
            }
        };
        let file: File = serde_json::from_slice(&bytes)
            .inspect_err(|error| {
                tracing::warn!(path = %self.path.display(), %error, "the kept resources are of another form");
            })
            .ok()?;
        let bus = file
            .bus
            .map(AnyBus::Namespaced)
            .or(file.cluster_bus.map(AnyBus::Cluster))?;
        let namespace = |o: &Option<String>| o.clone().unwrap_or_default();
        Some(Loaded {
            saved_at: file.saved_at,
            bus,
            channels: file
                .channels
                .into_iter()
                .map(|c| {
                    (
                        ChannelRef::new(&namespace(&c.metadata.namespace), &c.name_any()),
                        c,
                    )
                })
                .collect(),
            subscriptions: file
                .subscriptions
                .into_iter()
                .map(|s| {
                    (
                        SubscriptionRef::new(&namespace(&s.metadata.namespace), &s.name_any()),
                        s,
                    )
                })
                .collect(),
        })
    }

    /// Writes what changed, at most so often.
    pub(crate) fn save(&mut self, world: &World, given: &Given) {
        if self.saved.is_none_or(|at| at.elapsed() >= EVERY) {
            self.save_now(world, given);
        }
    }

    /// Writes what changed.
    pub(crate) fn save_now(&mut self, world: &World, given: &Given) {
        let Some(bus) = &world.bus.object else {
            return;
        };
        let channels: Vec<_> = world
            .channels
            .values()
            .filter_map(|s| s.object.clone())
            .filter(|c| bus_of(c).as_ref() == Some(&given.bus_ref))
            .collect();
        let subscriptions: Vec<_> = world
            .subscriptions
            .iter()
            .filter_map(|(r, s)| Some((r, s.object.clone()?)))
            .filter(|(r, s)| {
                let channel = ChannelRef::new(r.namespace(), &s.spec.channel);
                let channel = world.channels.get(&channel).and_then(|c| c.object.as_ref());
                channel.and_then(|c| bus_of(c)).as_ref() == Some(&given.bus_ref)
            })
            .map(|(_, s)| s)
            .collect();
        let versions = versions(bus, &channels, &subscriptions);
        if self.saved.is_some() && versions == self.versions {
            return;
        }
        self.saved = Some(Instant::now());
        self.versions = versions;
        let (bus, cluster_bus) = match bus.clone() {
            AnyBus::Namespaced(bus) => (Some(bus), None),
            AnyBus::Cluster(bus) => (None, Some(bus)),
        };
        let file = File {
            saved_at: given.options.clock.now(),
            bus,
            cluster_bus,
            channels,
            subscriptions,
        };
        let path = self.path.clone();
        // Beside the owner task: a slow disk holds up nothing.
        let write = move || {
            if let Err(error) = write(&path, &file) {
                tracing::warn!(path = %path.display(), %error, "the resources could not be kept");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }
}

/// Whole or not at all, also when the process is killed meanwhile.
fn write(path: &Path, file: &File) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let bytes = serde_json::to_vec(file)?;
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(&part, path)
}

fn versions(bus: &AnyBus, channels: &[Arc<Channel>], subscriptions: &[Arc<Subscription>]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let one = |meta: &kube::core::ObjectMeta| {
        let mut hasher = DefaultHasher::new();
        (&meta.uid, &meta.resource_version).hash(&mut hasher);
        hasher.finish()
    };
    // In no particular order.
    let channels = channels.iter().map(|c| one(&c.metadata));
    let subscriptions = subscriptions.iter().map(|s| one(&s.metadata));
    channels
        .chain(subscriptions)
        .fold(one(bus.meta()), u64::wrapping_add)
}
