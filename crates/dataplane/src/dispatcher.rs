//! Delivers messages to subscribers over HTTP.
//!
//! A subscription lives on one shard, found by its name: so that one that was deleted has ended
//! there before another of the same name begins. It has its own stream of the bus, connections,
//! queue of retries and clock; nothing of it can slow another down.

mod alarm;
mod alone;
mod conclude;
mod dead_letter;
mod driver;
mod health;
mod job;
mod lane;
mod link;
mod outlet;
mod reply;
mod request;
mod state;

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
};

use busway_core::{BusRef, SubscriptionRef, routes::SubscriptionRoute};
use tokio::{select, task::JoinSet};

pub use alone::{DispatchDefaults, DispatchError, MessageDispatcher};
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
    running: HashMap<Key, Running>,
    tasks: JoinSet<Key>,
}

/// Runs this shard's subscriptions until the data plane has drained.
pub(crate) async fn run(shard: usize, shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let mut phase = shared.phase.subscribe();
    let mut manager = Manager {
        shard,
        shared: Arc::clone(&shared),
        running: HashMap::new(),
        tasks: JoinSet::new(),
    };
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
        }
    }
    for running in manager.running.values() {
        running.subscription.order(|orders| orders.drain = true);
    }
    let mut phase = shared.phase.subscribe();
    select! {
        () = async { while manager.tasks.join_next().await.is_some() {} } => return,
        _ = phase.wait_for(|phase| *phase >= Phase::Stopped) => {}
    }
    for running in manager.running.values() {
        running.subscription.order(|orders| orders.stop = true);
    }
    while manager.tasks.join_next().await.is_some() {}
}

impl Manager {
    /// Starts, changes and stops subscriptions as the routes of every plane say.
    fn apply(&mut self) {
        let wanted = self.wanted();
        for (key, running) in &mut self.running {
            let stays = wanted.get(key).is_some_and(|(plane, route)| {
                route.uid == running.route.uid && Arc::ptr_eq(plane, &running.subscription.plane)
            });
            if !stays && !running.stopping {
                running.stopping = true;
                running.subscription.order(|orders| orders.stop = true);
            }
        }
        for (key, (plane, route)) in wanted {
            match self.running.entry(key) {
                Entry::Vacant(place) => {
                    let world = self.shared.world.clone();
                    let subscription =
                        Subscription::new(Arc::clone(&route), plane, self.shard, world);
                    let (key, driven) = (place.key().clone(), Rc::clone(&subscription));
                    self.tasks.spawn_local(async move {
                        driver::run(driven).await;
                        key
                    });
                    place.insert(Running {
                        subscription,
                        route,
                        stopping: false,
                    });
                }
                Entry::Occupied(mut place) => {
                    let running = place.get_mut();
                    if !running.stopping && !Arc::ptr_eq(&running.route, &route) {
                        running.route = Arc::clone(&route);
                        running
                            .subscription
                            .order(|orders| orders.route = Some(route));
                    }
                }
            }
        }
    }

    fn wanted(&self) -> HashMap<Key, (Arc<Plane>, Arc<SubscriptionRoute>)> {
        let mut wanted = HashMap::new();
        for plane in self.shared.planes.load().iter() {
            for route in plane.routes().subscriptions() {
                if self.is_ours(&route.subscription) {
                    let key = (plane.name.clone(), route.subscription.clone());
                    wanted.insert(key, (Arc::clone(plane), Arc::clone(route)));
                }
            }
        }
        wanted
    }

    fn is_ours(&self, subscription: &SubscriptionRef) -> bool {
        let mut hasher = DefaultHasher::new();
        subscription.hash(&mut hasher);
        let shards = u64::try_from(self.shared.shards.max(1)).unwrap_or(1);
        usize::try_from(hasher.finish() % shards) == Ok(self.shard)
    }

    /// A subscription has stopped: one of the same name may begin.
    fn ended(&mut self, ended: Result<Key, tokio::task::JoinError>) {
        match ended {
            Ok(key) => {
                if let Some(running) = self.running.remove(&key) {
                    running.subscription.plane.forget_health(&running.route.uid);
                }
            }
            // A panic: that it was ours is known by nobody else having ended.
            Err(error) => {
                tracing::error!(%error, "a subscription's task has ended; it is started anew");
                self.running
                    .retain(|_, running| Rc::strong_count(&running.subscription) > 1);
            }
        }
    }
}
