//! Delivers messages to subscribers over HTTP.
//!
//! A subscription lives on one shard, found by its name: so that one that was deleted has ended
//! there before another of the same name begins. It has its own stream of the bus, connections,
//! queue of retries and clock; nothing of it can slow another down.

mod admission;
mod alarm;
mod alone;
mod conclude;
mod dead_letter;
mod door;
mod driver;
mod health;
mod job;
mod keys;
mod lane;
mod link;
mod outlet;
mod pulse;
mod reply;
mod request;
mod state;
mod watched;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
};

use busway_core::{
    BusRef, Routes, SubscriptionRef,
    routes::{ChannelRoute, SubscriptionRoute},
};
use tokio::{select, task::JoinSet};

pub use alone::{DispatchDefaults, DispatchError, MessageDispatcher};
use pulse::Pulse;
use state::Subscription;

use crate::{
    handle::{Phase, Shared},
    plane::Plane,
};

/// A subscription, and the bus that it is on.
type Key = (BusRef, SubscriptionRef);

struct Running {
    subscription: Rc<Subscription>,
    route: Arc<SubscriptionRoute>,
    stopping: bool,
}

struct Manager {
    shard: usize,
    shared: Arc<Shared>,
    pulse: Rc<Pulse>,
    /// The snapshots that were applied.
    seen: HashMap<BusRef, (Arc<Plane>, Arc<Routes>)>,
    wanted: HashMap<Key, (Arc<Plane>, Arc<SubscriptionRoute>)>,
    /// In order, so that a simulation is repeated by its seed.
    running: BTreeMap<Key, Running>,
    tasks: JoinSet<Key>,
}

/// Runs this shard's subscriptions until the data plane has drained.
pub(crate) async fn run(shard: usize, shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let mut phase = shared.phase.subscribe();
    let pulse = Pulse::new(shard, shared.metrics.clone());
    let mut beating = std::pin::pin!(pulse.beat());
    let mut manager = Manager {
        shard,
        pulse: Rc::clone(&pulse),
        shared: Arc::clone(&shared),
        seen: HashMap::new(),
        wanted: HashMap::new(),
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let mut scarce = shared.connections.scarcity();
    let draining = async {
        let _gone = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    };
    let mut draining = std::pin::pin!(draining);
    loop {
        changed.mark_unchanged();
        manager.apply();
        select! {
            biased;
            () = &mut draining => break,
            Some(ended) = manager.tasks.join_next() => manager.ended(ended),
            Ok(()) = changed.changed() => {}
            Ok(()) = scarce.changed() => manager.rouse_idle(),
            never = &mut beating => match never {},
        }
    }
    for running in manager.running.values() {
        running.subscription.order(|orders| orders.drain = true);
    }
    let mut phase = shared.phase.subscribe();
    select! {
        () = async { while manager.tasks.join_next().await.is_some() {} } => return,
        _ = phase.wait_for(|phase| *phase >= Phase::Stopped) => {}
        never = &mut beating => match never {},
    }
    for running in manager.running.values() {
        running.subscription.order(|orders| orders.stop = true);
    }
    while manager.tasks.join_next().await.is_some() {}
}

impl Manager {
    /// Starts, changes and stops subscriptions as the routes of every plane say. What did not
    /// change has kept its `Arc`, and is not looked at.
    fn apply(&mut self) {
        let planes = self.shared.planes.load_full();
        let before = std::mem::take(&mut self.seen);
        for (name, (plane, routes)) in &before {
            if !planes.iter().any(|new| Arc::ptr_eq(new, plane)) {
                for route in routes.subscriptions() {
                    self.drop_route(name, route);
                }
            }
        }
        let nothing = Arc::new(Routes::default());
        for plane in planes.iter() {
            let old = before.get(&plane.name);
            let old = old.filter(|(known, _)| Arc::ptr_eq(known, plane));
            let old = old.map_or(&nothing, |(_, routes)| routes);
            let new = plane.routes();
            self.apply_changes(plane, old, &new);
            self.seen
                .insert(plane.name.clone(), (Arc::clone(plane), new));
        }
    }

    fn apply_changes(&mut self, plane: &Arc<Plane>, old: &Routes, new: &Routes) {
        let same = |a: Option<&Arc<ChannelRoute>>, b| a.is_some_and(|a| Arc::ptr_eq(a, b));
        // First what goes: a subscription may come back on another channel.
        for (name, channel) in &old.channels {
            let now = new.channels.get(name);
            if same(now, channel) {
                continue;
            }
            let stays: HashSet<_> = now
                .iter()
                .flat_map(|channel| &channel.subscriptions)
                .map(|route| &route.subscription)
                .collect();
            for route in &channel.subscriptions {
                if !stays.contains(&route.subscription) {
                    self.drop_route(&plane.name, route);
                }
            }
        }
        for (name, channel) in &new.channels {
            if !same(old.channels.get(name), channel) {
                for route in &channel.subscriptions {
                    self.set_route(plane, route);
                }
            }
        }
    }

    fn drop_route(&mut self, bus: &BusRef, route: &SubscriptionRoute) {
        let key = (bus.clone(), route.subscription.clone());
        self.wanted.remove(&key);
        if let Some(running) = self.running.get_mut(&key) {
            running.stop();
        }
    }

    fn set_route(&mut self, plane: &Arc<Plane>, route: &Arc<SubscriptionRoute>) {
        if !self.is_ours(&route.subscription) {
            return;
        }
        let key = (plane.name.clone(), route.subscription.clone());
        let wanted = (Arc::clone(plane), Arc::clone(route));
        self.wanted.insert(key.clone(), wanted);
        let Some(running) = self.running.get_mut(&key) else {
            return self.start(key);
        };
        if route.uid != running.route.uid || !Arc::ptr_eq(plane, &running.subscription.plane) {
            running.stop();
        } else if !running.stopping && !Arc::ptr_eq(&running.route, route) {
            running.route = Arc::clone(route);
            let route = Arc::clone(route);
            running
                .subscription
                .order(|orders| orders.route = Some(route));
        }
    }

    /// Starts what is wanted by this name, if something is.
    fn start(&mut self, key: Key) {
        let Some((plane, route)) = self.wanted.get(&key).cloned() else {
            return;
        };
        let subscription = Subscription::new(Arc::clone(&route), plane, &self.pulse, &self.shared);
        let (driven, name) = (Rc::clone(&subscription), key.clone());
        self.tasks.spawn_local(async move {
            driver::run(driven).await;
            name
        });
        let running = Running {
            subscription,
            route,
            stopping: false,
        };
        self.running.insert(key, running);
    }

    /// Connections are scarce: those without work are to go.
    fn rouse_idle(&self) {
        for running in self.running.values() {
            running.subscription.rouse_idle();
        }
    }

    fn is_ours(&self, subscription: &SubscriptionRef) -> bool {
        let mut hasher = DefaultHasher::new();
        subscription.hash(&mut hasher);
        let shards = u64::try_from(self.shared.shards.max(1)).unwrap_or(1);
        usize::try_from(hasher.finish() % shards) == Ok(self.shard)
    }

    /// A subscription has stopped: one of the same name may begin.
    fn ended(&mut self, ended: Result<Key, tokio::task::JoinError>) {
        // It catches its own panics, and nobody aborts it.
        let Ok(key) = ended else { return };
        if let Some(running) = self.running.remove(&key) {
            running.subscription.plane.forget_health(&running.route.uid);
            running.subscription.leave();
        }
        self.start(key);
    }
}

impl Running {
    fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.subscription.order(|orders| orders.stop = true);
        }
    }
}
