//! Follows what the other replicas have loaded, by asking each again and again for what changed.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use busway_core::Uid;
use futures::future::join_all;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    LoadedPage, Peer, Peers, Readiness,
    ask::{self, Said},
};
use crate::{replicas::Replicas, trouble::Trouble};

/// How often each replica is asked: what Ready may lag behind the slowest of them.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Replicas that are asked; more are told and left out.
const MAX_PEERS: usize = 256;
/// Objects that are remembered of one replica: far past what one process serves.
const MAX_OBJECTS: usize = 500_000;
/// What is missing while nobody was asked yet.
const NOBODY_ASKED: &str = "replicas not known yet";

/// The other replicas of a bus, followed by a task of its own.
pub struct FollowedPeers {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    following: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    known: Mutex<Known>,
    /// Whether those of the first list were asked.
    asked: AtomicBool,
    changed: watch::Sender<u64>,
}

/// None until the list was had once.
type Known = Option<BTreeMap<String, Replica>>;

/// What is known of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Replica {
    standing: Standing,
    name: String,
    run: String,
    sequence: u64,
    loaded: HashMap<String, i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Not asked yet: nothing may be taken for granted.
    #[default]
    New,
    /// It is ready, and this is what it has, or had when it last answered.
    Ready,
    /// It is not, or where only it could tell, it does not answer: it does not count.
    Away,
}

impl fmt::Debug for FollowedPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.shared.known();
        f.debug_list()
            .entries(known.iter().flat_map(|known| {
                known
                    .values()
                    .map(|replica| (&replica.name, replica.standing))
            }))
            .finish()
    }
}

impl FollowedPeers {
    /// Starts to follow them. Needs a tokio runtime.
    #[must_use]
    pub fn start(peers: Arc<dyn Peers>) -> Self {
        let shared = Arc::new(Shared {
            known: Mutex::new(None),
            asked: AtomicBool::new(false),
            changed: watch::Sender::new(0),
        });
        let shutdown = CancellationToken::new();
        let task = follow(peers, Arc::clone(&shared), shutdown.clone());
        Self {
            shared,
            shutdown,
            following: Mutex::new(Some(tokio::spawn(task))),
        }
    }

    /// Ends the task and waits for it.
    pub async fn close(&self) {
        self.shutdown.cancel();
        let following = self
            .following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(following) = following
            && let Err(error) = following.await
        {
            tracing::error!(%error, "following the replicas did not end by itself");
        }
    }
}

impl Drop for FollowedPeers {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Replicas for FollowedPeers {
    fn without(&self, object: &Uid, generation: i64) -> Vec<String> {
        let known = self.shared.known();
        let Some(known) = &*known else {
            return vec![NOBODY_ASKED.to_owned()];
        };
        let lacking = |replica: &&Replica| match replica.standing {
            Standing::New => true,
            Standing::Ready => replica
                .loaded
                .get(object.as_str())
                .is_none_or(|has| *has < generation),
            Standing::Away => false,
        };
        known
            .values()
            .filter(lacking)
            .map(|replica| replica.name.clone())
            .collect()
    }

    fn any_serves(&self, object: &Uid) -> bool {
        let known = self.shared.known();
        let Some(known) = &*known else { return true };
        known.values().any(|replica| match replica.standing {
            Standing::New => true,
            Standing::Ready => replica.loaded.contains_key(object.as_str()),
            Standing::Away => false,
        })
    }

    fn ready(&self) -> Option<usize> {
        if !self.shared.asked.load(Ordering::Acquire) {
            return None;
        }
        let known = self.shared.known();
        // One that the list calls ready takes messages, also where it did not answer yet.
        let ready = |replica: &&Replica| replica.standing != Standing::Away;
        Some(known.as_ref()?.values().filter(ready).count())
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let known = self.shared.known();
        let replicas = known.iter().flat_map(|known| known.keys());
        // Peers on one machine have no address of their own.
        let mut all: Vec<_> = replicas
            .filter_map(|url| address(url))
            .filter(|ip| !ip.is_loopback())
            .collect();
        all.sort_unstable();
        all
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }
}

/// A name (`--peer`) has addresses that only its look-up knows.
fn address(url: &str) -> Option<IpAddr> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Ipv4(ip) => Some(ip.into()),
        url::Host::Ipv6(ip) => Some(ip.into()),
        url::Host::Domain(_) => None,
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are gone from the list go, new ones come; the others keep what they have.
    fn list(&self, peers: &[Peer]) -> bool {
        let mut known = self.known();
        let first = known.is_none();
        let replicas = known.get_or_insert_default();
        let before = replicas.len();
        replicas.retain(|url, _| peers.iter().any(|peer| peer.url.as_str() == url));
        let mut changed = first || replicas.len() != before;
        for peer in peers {
            replicas.entry(peer.url.to_string()).or_insert_with(|| {
                changed = true;
                Replica {
                    name: peer.name.clone(),
                    ..Replica::default()
                }
            });
        }
        changed
    }

    fn since(&self, peer: &Peer) -> u64 {
        let known = self.known();
        let replica = known
            .as_ref()
            .and_then(|known| known.get(peer.url.as_str()));
        replica.map_or(0, |replica| replica.sequence)
    }

    /// Whether that made a difference.
    fn take(&self, peer: &Peer, said: Option<Said>) -> Taken {
        let mut known = self.known();
        let Some(replica) = known
            .as_mut()
            .and_then(|known| known.get_mut(peer.url.as_str()))
        else {
            return Taken::Same;
        };
        let before = replica.standing;
        match said {
            Some(Said::Loaded(page)) => return replica.take(page),
            // It takes messages, whatever keeps its answer from coming: what it is not known to have, it lacks.
            None if peer.readiness == Readiness::Ready => {
                if before == Standing::Away {
                    replica.standing = Standing::New;
                }
            }
            Some(Said::NotReady) | None => replica.standing = Standing::Away,
        }
        if before == replica.standing {
            Taken::Same
        } else {
            Taken::Changed
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Same,
    Changed,
    /// What it said goes with what we do not have: to be asked from the start.
    Again,
}

impl Replica {
    fn take(&mut self, page: LoadedPage) -> Taken {
        let restarted = page.replica != self.run || page.sequence < self.sequence;
        if restarted && !page.full {
            // What is known is of another run; until it is asked again nothing is.
            self.run = page.replica;
            self.sequence = 0;
            self.loaded.clear();
            self.standing = Standing::New;
            return Taken::Again;
        }
        let same = self.standing == Standing::Ready
            && !restarted
            && !page.full
            && page.set.is_empty()
            && page.removed.is_empty();
        if page.full {
            self.loaded.clear();
        }
        self.loaded.extend(page.set);
        for gone in &page.removed {
            self.loaded.remove(gone);
        }
        (self.run, self.sequence) = (page.replica, page.sequence);
        self.standing = Standing::Ready;
        if self.loaded.len() > MAX_OBJECTS {
            tracing::error!(
                replica = self.name,
                "more than {MAX_OBJECTS} objects: it is left out"
            );
            self.loaded = HashMap::new();
            self.sequence = 0;
            self.standing = Standing::Away;
        }
        if same { Taken::Same } else { Taken::Changed }
    }
}

async fn follow(peers: Arc<dyn Peers>, shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut rounds = tokio::time::interval(ASK_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = Trouble::default();
    let work = async {
        loop {
            rounds.tick().await;
            round(peers.as_ref(), &shared, &mut trouble).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn round(peers: &dyn Peers, shared: &Shared, trouble: &mut Trouble) {
    let listed = match tokio::time::timeout(ask::TIMEOUT, peers.peers()).await {
        Ok(listed) => listed.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    };
    let now = Instant::now();
    let mut list = match listed {
        Ok(list) => list,
        Err(error) => {
            if trouble.is_news(&error, now) {
                tracing::warn!(error, "the last list of replicas counts on");
            }
            return;
        }
    };
    if list.len() > MAX_PEERS {
        let what = format!("{} replicas", list.len());
        if trouble.is_news(&what, now) {
            tracing::error!("{what}: those past {MAX_PEERS} are left out");
        }
        list.truncate(MAX_PEERS);
    } else {
        trouble.is_over();
    }
    let listed = shared.list(&list);
    let asked = join_all(list.iter().map(|peer| ask_one(peer, shared))).await;
    shared.asked.store(true, Ordering::Release);
    if listed || asked.contains(&true) {
        shared
            .changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn ask_one(peer: &Peer, shared: &Shared) -> bool {
    if peer.readiness == Readiness::NotReady {
        return shared.take(peer, None) != Taken::Same;
    }
    let taken = ask_from(peer, shared, shared.since(peer)).await;
    if taken != Taken::Again {
        return taken == Taken::Changed;
    }
    // Once more from the start; should it restart again in between, the next round tells.
    ask_from(peer, shared, 0).await;
    true
}

async fn ask_from(peer: &Peer, shared: &Shared, since: u64) -> Taken {
    let said = ask::ask(peer, since).await;
    if let Err(error) = &said {
        tracing::debug!(peer = peer.name, %error, "a replica did not say what it has loaded");
    }
    shared.take(peer, said.ok())
}
