//! The one task that owns the world: takes what is told, looks at what changed, starts work,
//! publishes routes and offers statuses. It never waits for anything but the next thing to happen.

mod admitted;
mod finish;
pub(crate) mod judge;
mod loaded;
mod look;
mod notes;
mod publish;
mod replicas;
mod report;
mod take;
mod tick;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use busway_core::{
    Bus, BusRef, ChannelRef, SubscriptionRef,
    bus::{Profile, Scope},
    serving::DataPlane,
};
use futures::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    due::Due,
    feed::{self, Feed, Stream},
    jobs::Jobs,
    monitor::{Shown, Sync},
    options::{Options, Role},
    queue::Queue,
    replicas::Replicas,
    routes::RouteTable,
    share::Share,
    source::{Note, Source},
    status::{assemble::Ownership, writer::Writer},
    world::{Key, World},
};

/// Things taken from the streams before other work has its turn.
const BATCH: usize = 512;
/// Keys looked at before the streams have their turn.
const LOOKS: usize = 512;
/// How often deliveries, counts and the cache are looked at.
const TICK: Duration = Duration::from_secs(5);
/// At the end, hooks in flight are waited for; longer than their own timeout would be a bug.
const LAST_HOOKS: Duration = Duration::from_secs(10);

/// What an engine is made of.
pub(crate) struct Given {
    pub(crate) component: Arc<str>,
    pub(crate) bus_ref: BusRef,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) data_plane: Option<Arc<dyn DataPlane>>,
    pub(crate) replicas: Arc<dyn Replicas>,
    pub(crate) options: Arc<Options>,
    pub(crate) shown: Arc<Shown>,
    /// Whether this process is on its way out.
    pub(crate) leaving: CancellationToken,
    pub(crate) concurrency: usize,
}

/// Whether the world is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    Nothing,
    /// What the last process wrote down.
    Cached,
    Everything,
}

pub(crate) struct Engine {
    pub(crate) given: Given,
    pub(crate) profile: Profile,
    ownership: Ownership,
    pub(crate) world: World,
    knows: Knows,
    leader: bool,
    needed: Vec<Stream>,
    listed: HashSet<Stream>,
    listing: HashMap<Stream, HashSet<String>>,
    trouble: HashMap<Stream, (String, Instant)>,
    dirty: BTreeSet<Key>,
    queue: Queue<Key>,
    jobs: Jobs,
    writer: Writer,
    statuses: Due<Key>,
    wakes: Due<Key>,
    /// What becomes ready when replicas load more.
    waiting: HashSet<Key>,
    routes: RouteTable,
    share: Share,
    /// Where the other replicas are, as the routes have it.
    replicas_at: Vec<IpAddr>,
    publish_at: Option<Instant>,
    loaded_sequence: u64,
    notes: mpsc::Sender<Note>,
    recorder: Option<mpsc::Receiver<Note>>,
    cache: Option<Cache>,
    next_tick: Instant,
    requeued: mpsc::Receiver<SubscriptionRef>,
}

impl Engine {
    pub(crate) fn new(given: Given, requeued: mpsc::Receiver<SubscriptionRef>) -> Self {
        let (notes, recorder) = mpsc::channel(notes::WAITING);
        let jobs = Jobs::new(
            Arc::clone(&given.bus),
            Arc::clone(&given.source),
            given.options.hook_timeout,
        );
        let writer = Writer::new(Arc::clone(&given.source), Arc::clone(&given.component));
        Self {
            profile: given.bus.profile(),
            ownership: Ownership::new(&given.options),
            world: World::default(),
            knows: Knows::Nothing,
            leader: false,
            needed: Vec::new(),
            listed: HashSet::new(),
            listing: HashMap::new(),
            trouble: HashMap::new(),
            dirty: BTreeSet::new(),
            queue: Queue::new(given.concurrency),
            jobs,
            writer,
            statuses: Due::default(),
            wakes: Due::default(),
            waiting: HashSet::new(),
            routes: RouteTable::default(),
            share: Share::default(),
            replicas_at: Vec::new(),
            publish_at: None,
            loaded_sequence: 0,
            notes,
            recorder: Some(recorder),
            cache: given
                .options
                .cache_dir
                .as_deref()
                .map(|dir| Cache::new(dir, &given.bus_ref)),
            next_tick: Instant::now() + TICK,
            requeued,
            given,
        }
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let (mut feed, needed) = feed::follow(
            &*self.given.source,
            &self.given.bus_ref,
            self.given.options.parts,
        );
        self.needed = needed;
        let mut leadership = self.given.source.leadership();
        self.leader = *leadership.borrow_and_update();
        let mut replicas = self.given.replicas.changed();
        let mut around = self.given.options.around.clone();
        let mut loaded = self.given.data_plane.as_ref().map(|d| d.loaded().watch());
        let recorder = self.record_notes();
        let mut use_cache = Some(Instant::now() + self.given.options.cache_after);
        loop {
            self.work();
            let due = self.next_due(use_cache);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                changed = leadership.changed() => {
                    if changed.is_err() {
                        // The source ended; without it nobody leads.
                        break;
                    }
                    let leads = *leadership.borrow_and_update();
                    self.lead(leads);
                }
                ended = self.jobs.next() => self.finish(ended),
                written = self.writer.next() => self.written(written),
                () = changed(loaded.as_mut()) => self.follow_loaded(),
                Ok(()) = replicas.changed() => self.replicas_changed(Instant::now()),
                Ok(()) = around.changed() => self.mark(Key::Bus),
                Some(subscription) = self.requeued.recv() => self.subscribe_again(&subscription),
                told = feed.next() => match told {
                    Some((stream, told)) => {
                        self.take(stream, told);
                        self.take_more(&mut feed);
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(due) => {}
            }
            if self.knows == Knows::Nothing && use_cache.is_some_and(|at| at <= Instant::now()) {
                use_cache = None;
                self.load_cache();
            }
        }
        self.end().await;
        recorder.abort();
    }

    /// Everything that can be done now.
    fn work(&mut self) {
        let now = Instant::now();
        if self.share.due().is_none_or(|at| at <= now) {
            self.count_replicas(now);
        }
        while let Some(key) = self.wakes.take(now) {
            self.dirty.insert(key);
        }
        if self.knows != Knows::Nothing {
            for _ in 0..LOOKS {
                let Some(key) = self.dirty.pop_first() else {
                    break;
                };
                self.look(&key, now);
            }
            self.start_jobs(now);
            self.publish(now);
            self.report(now);
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        self.writer.start(now);
    }

    fn next_due(&self, use_cache: Option<Instant>) -> Instant {
        let now = Instant::now();
        if self.knows != Knows::Nothing && !self.dirty.is_empty() {
            return now;
        }
        [
            self.wakes.next(),
            self.queue.next_due(),
            self.writer.next_due(),
            self.statuses.next(),
            self.publish_at,
            self.share.due(),
            use_cache.filter(|_| self.knows == Knows::Nothing),
        ]
        .into_iter()
        .flatten()
        .fold(self.next_tick, Instant::min)
    }

    fn take_more(&mut self, feed: &mut Feed) {
        for _ in 0..BATCH {
            match feed.next().now_or_never() {
                Some(Some((stream, told))) => self.take(stream, told),
                Some(None) | None => return,
            }
        }
    }

    /// Whether this process runs the hooks.
    fn runs_hooks(&self) -> bool {
        self.given.options.role != Role::DispatcherOnly
            && match self.profile.scope {
                Scope::PerReplica => true,
                Scope::Shared => self.leader && self.knows == Knows::Everything,
            }
    }

    /// Whether it writes status and finalizers.
    fn writes(&self) -> bool {
        self.leader && self.knows == Knows::Everything
    }

    fn lead(&mut self, leads: bool) {
        if leads == self.leader {
            return;
        }
        self.leader = leads;
        if !leads {
            self.writer.clear();
            self.statuses.clear();
            if self.profile.scope == Scope::Shared {
                self.jobs.cancel();
            }
            self.forget_offers();
        }
        self.mark_all();
    }

    fn mark(&mut self, key: Key) {
        self.dirty.insert(key);
    }

    fn mark_all(&mut self) {
        self.mark(Key::Bus);
        self.dirty
            .extend(self.world.channels.keys().cloned().map(Key::Channel));
        self.dirty.extend(
            self.world
                .subscriptions
                .keys()
                .cloned()
                .map(Key::Subscription),
        );
    }

    fn mark_channel_and_subscriptions(&mut self, channel: &ChannelRef) {
        self.mark(Key::Channel(channel.clone()));
        let all = self.world.by_channel.get(channel).into_iter().flatten();
        self.dirty.extend(all.cloned().map(Key::Subscription));
    }

    async fn end(mut self) {
        let sync = Sync::Waiting("the monitor is ending".to_owned());
        self.given.shown.sync.send_replace(sync);
        let patience = self.given.options.hook_timeout + LAST_HOOKS;
        let until = Instant::now() + patience;
        while !self.jobs.is_empty() {
            let ended = tokio::time::timeout_at(until, self.jobs.next()).await;
            match ended {
                Ok(ended) => self.finish(ended),
                Err(_) => {
                    tracing::warn!("hooks did not end in time and are cancelled");
                    self.jobs.cancel();
                    break;
                }
            }
        }
        if let Some(cache) = self.cache.as_mut() {
            cache.save_now(&self.world, &self.given);
        }
    }
}

async fn changed(watch: Option<&mut watch::Receiver<u64>>) {
    let told = match watch {
        Some(watch) => watch.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}
