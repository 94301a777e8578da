//! What is around a process of a bus, looked at again and again: its pod, the API server, the bus's
//! Service, and the authorities that are mounted for it. No subscription may dial the first three.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use busway_core::{
    BusRef,
    egress::{Bundle, Surroundings},
};
use busway_dataplane::connect::{DnsResolver, Resolve};
use busway_monitor::source::folder::FolderSource;
use futures::future::join_all;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, timeout},
};

use crate::{args::DispatcherArgs, bundle};

/// How often files are read: the kubelet brings a change within a minute or so.
const READ_EVERY: Duration = Duration::from_secs(10);
/// How often names and the API server are asked, in readings: such addresses change once in a cluster's life.
const READINGS_A_LOOK: u32 = 6;
/// How long one question may take.
const ASK_FOR: Duration = Duration::from_secs(2);
/// How long an endpoint of the API server is remembered that did not answer us again: of several, one does.
const REMEMBERED: Duration = Duration::from_hours(1);
/// Endpoints that are remembered: past any control plane.
const MAX_ENDPOINTS: usize = 32;

/// Follows it until dropped.
pub(crate) struct Around {
    pub(crate) seen: watch::Receiver<Arc<Surroundings>>,
    looking: AbortHandle,
}

impl Drop for Around {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Where to look.
pub(crate) struct Look {
    bus: BusRef,
    pod: Vec<IpAddr>,
    /// `KUBERNETES_SERVICE_HOST`: an address, or a name.
    api_server: Option<String>,
    service_names: Vec<String>,
    /// Where the authorities are mounted.
    dir: Option<PathBuf>,
    /// Not held: it is closed when the last handle goes.
    folder: Option<Weak<FolderSource>>,
    client: Option<kube::Client>,
    resolver: Arc<dyn Resolve>,
}

impl Look {
    pub(crate) fn new(args: &DispatcherArgs, bus: &BusRef) -> Self {
        let service = args
            .bus_service
            .as_deref()
            .zip(args.pod_namespace.as_deref());
        let names = service.map(|(service, namespace)| {
            let short = format!("{service}.{namespace}.svc");
            vec![format!("{short}.{}", args.cluster_domain), short]
        });
        Self {
            bus: bus.clone(),
            pod: args.pod_ips.clone(),
            api_server: args.api_server.clone().filter(|host| !host.is_empty()),
            service_names: names.unwrap_or_default(),
            dir: args.ca_bundle.clone(),
            folder: None,
            client: None,
            resolver: Arc::new(DnsResolver::system()),
        }
    }

    /// With manifests of a folder, where the authorities are as well.
    pub(crate) fn in_folder(mut self, folder: &Arc<FolderSource>) -> Self {
        self.folder = Some(Arc::downgrade(folder));
        self
    }

    /// With an API server to ask for its own address.
    pub(crate) fn asking(mut self, client: kube::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Looks once, and goes on looking in a task of its own. Needs a tokio runtime.
    pub(crate) async fn start(self) -> Around {
        let mut found = Found::default();
        self.ask(&mut found).await;
        let first = self.read(&Surroundings::default(), &found).await;
        let (sender, seen) = watch::channel(Arc::new(first));
        let looking = tokio::spawn(self.follow(found, sender)).abort_handle();
        Around { seen, looking }
    }

    async fn follow(self, mut found: Found, sender: watch::Sender<Arc<Surroundings>>) {
        let mut readings = tokio::time::interval(READ_EVERY);
        readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        readings.tick().await;
        let mut changed = self.folder().map(|folder| folder.changed());
        let mut count = 0;
        loop {
            tokio::select! {
                _ = readings.tick() => count = (count + 1) % READINGS_A_LOOK,
                () = told(changed.as_mut()) => {}
            }
            if count == 0 {
                self.ask(&mut found).await;
            }
            let before = Arc::clone(&sender.borrow());
            let now = self.read(&before, &found).await;
            sender.send_if_modified(|seen| {
                let differs = **seen != now;
                if differs {
                    *seen = Arc::new(now);
                }
                differs
            });
        }
    }

    fn folder(&self) -> Option<Arc<FolderSource>> {
        self.folder.as_ref()?.upgrade()
    }

    /// What only others know. Where nobody answers, what was known counts on.
    async fn ask(&self, found: &mut Found) {
        let names = self.api_server.iter().filter(|host| ip(host).is_none());
        let (api_server, service, endpoints) = tokio::join!(
            join_all(names.map(|name| self.addresses(name))),
            join_all(self.service_names.first().map(|name| self.addresses(name))),
            self.endpoints(),
        );
        for (known, answer) in [
            (&mut found.api_server, api_server),
            (&mut found.service, service),
        ] {
            if let Some(answer) = answer.into_iter().flatten().next() {
                *known = answer;
            }
        }
        let now = Instant::now();
        found.endpoints.retain(|_, seen| now - *seen < REMEMBERED);
        for endpoint in endpoints {
            if found.endpoints.len() < MAX_ENDPOINTS || found.endpoints.contains_key(&endpoint) {
                found.endpoints.insert(endpoint, now);
            }
        }
    }

    async fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let answer = timeout(ASK_FOR, self.resolver.resolve(name)).await.ok()?;
        let mut addresses = answer.ok()?;
        addresses.sort_unstable();
        Some(addresses)
    }

    /// Where the API server that answers says it is itself (`GET /api`, which every account may ask):
    /// the endpoints of its Service are in a namespace that a bus has no rights in.
    async fn endpoints(&self) -> Vec<SocketAddr> {
        let Some(client) = &self.client else {
            return Vec::new();
        };
        match timeout(ASK_FOR, client.list_core_api_versions()).await {
            Ok(Ok(versions)) => versions
                .server_address_by_client_cidrs
                .iter()
                .filter_map(|server| server.server_address.parse().ok())
                .collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    async fn read(&self, before: &Surroundings, found: &Found) -> Surroundings {
        let by_env = self.api_server.as_deref().and_then(ip);
        // A proxy on this machine, as some nodes have: loopback is guarded by a rule of its own.
        let elsewhere = |ip: &IpAddr| !ip.is_loopback();
        let api_server = by_env.into_iter().chain(found.api_server.iter().copied());
        Surroundings {
            pod: self.pod.clone(),
            api_server: api_server.filter(elsewhere).collect(),
            api_endpoints: found.endpoints.keys().copied().collect(),
            service: found.service.clone(),
            service_names: self.service_names.clone(),
            bundle: self.bundle(before.bundle.as_ref()).await,
        }
    }

    async fn bundle(&self, before: Option<&Bundle>) -> Option<Bundle> {
        let now = if self.folder.is_some() {
            bundle::in_folder(&*self.folder()?, &self.bus, before)?
        } else {
            let dir = self.dir.clone()?;
            let last = before.cloned().unwrap_or_default();
            let read = move || bundle::read(&last, bundle::mounted(&dir));
            // Only where the runtime ends is there none.
            tokio::task::spawn_blocking(read).await.ok()?
        };
        bundle::tell(before, &now);
        Some(now)
    }
}

/// What is known of names, and of the API server.
#[derive(Default)]
struct Found {
    api_server: Vec<IpAddr>,
    service: Vec<IpAddr>,
    endpoints: BTreeMap<SocketAddr, Instant>,
}

fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

async fn told(changed: Option<&mut watch::Receiver<u64>>) {
    let told = match changed {
        Some(changed) => changed.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
