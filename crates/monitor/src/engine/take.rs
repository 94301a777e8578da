//! Taking in what the source tells.

use std::{collections::HashSet, sync::Arc, time::Duration};

use busway_api::{Channel, DEFAULT_BUS_ANNOTATION, Subscription};
use busway_core::{BusRef, ChannelRef, SubscriptionRef, Uid};
use kube::{Resource, core::ObjectMeta};
use tokio::time::Instant;

use super::{Engine, Knows};
use crate::{
    convert::{
        Problem,
        bus::{AnyBus, view},
    },
    feed::{Change, Item, Stream, Told},
    monitor::Sync,
    options::Parts,
    source::FinalizerChange,
    world::{Common, Key, KnownBus, Tracked, WrittenFinalizer},
};

/// The same trouble of one stream is logged at most so often.
const SAME_TROUBLE: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn take(&mut self, stream: Stream, told: Told) {
        match told {
            Told::Begin => {
                self.listing.insert(stream, HashSet::new());
            }
            Told::Item(item) => {
                self.trouble.remove(&stream);
                if let Some(seen) = self.listing.get_mut(&stream) {
                    seen.insert(name_of(&item));
                }
                self.take_item(item);
            }
            Told::Listed => self.take_listed(stream),
            Told::Trouble(error) => self.take_trouble(stream, error),
        }
    }

    fn take_listed(&mut self, stream: Stream) {
        self.trouble.remove(&stream);
        let seen = self.listing.remove(&stream).unwrap_or_default();
        for item in self.unlisted(stream, &seen) {
            self.take_item(item);
        }
        self.listed.insert(stream);
        if self.knows != Knows::Everything && self.needed.iter().all(|n| self.listed.contains(n)) {
            self.knows = Knows::Everything;
            self.mark_all();
            self.given.shown.sync.send_replace(Sync::Live);
            // At once: the API server may be away at the next start already.
            if let Some(cache) = self.cache.as_mut() {
                cache.save_now(&self.world, &self.given);
            }
        }
    }

    /// What is known and was not in a whole list: it went while nobody looked.
    fn unlisted(&self, stream: Stream, seen: &HashSet<String>) -> Vec<Item> {
        let mut gone = Vec::new();
        match stream {
            Stream::Channels => {
                for (r, state) in &self.world.channels {
                    let there = state.object.is_some() || state.common.undecodable.is_some();
                    if there && !seen.contains(r.as_str()) {
                        gone.push(Item::Channel(r.clone(), Change::Gone));
                    }
                }
            }
            Stream::Subscriptions => {
                for (r, state) in &self.world.subscriptions {
                    let there = state.object.is_some() || state.common.undecodable.is_some();
                    if there && !seen.contains(r.as_str()) {
                        gone.push(Item::Subscription(r.clone(), Change::Gone));
                    }
                }
            }
            Stream::Buses | Stream::ClusterBuses => {
                let cluster = stream == Stream::ClusterBuses;
                for r in self.world.buses.keys() {
                    if matches!(r, BusRef::Cluster { .. }) == cluster
                        && !seen.contains(&r.to_string())
                    {
                        gone.push(Item::Bus(r.clone(), Change::Gone));
                    }
                }
            }
            Stream::Namespaces => {
                for name in self.world.namespaces.keys().filter(|n| !seen.contains(*n)) {
                    gone.push(Item::Namespace(name.clone(), Change::Gone));
                }
            }
        }
        gone
    }

    fn take_trouble(&mut self, stream: Stream, error: String) {
        let now = Instant::now();
        let told = self.trouble.get(&stream).is_some_and(|(last, at)| {
            *last == error && now.saturating_duration_since(*at) < SAME_TROUBLE
        });
        if !told {
            tracing::warn!(?stream, error, "resources cannot be followed; trying again");
            if self.knows == Knows::Nothing {
                self.given
                    .shown
                    .sync
                    .send_replace(Sync::Waiting(error.clone()));
            }
            self.trouble.insert(stream, (error, now));
        }
    }

    pub(super) fn take_item(&mut self, item: Item) {
        match item {
            Item::Bus(r, change) => self.take_bus(r, change),
            Item::Channel(r, change) => self.take_channel(r, change),
            Item::Subscription(r, change) => self.take_subscription(r, change),
            Item::Namespace(name, change) => {
                let seen = match change {
                    Change::Applied(seen) => Some(seen),
                    Change::Gone | Change::Undecodable { .. } => None,
                };
                let old = match seen {
                    Some(seen) => {
                        self.world.namespaces.insert(name.clone(), seen.clone()) == Some(seen)
                    }
                    None => self.world.namespaces.remove(&name).is_none(),
                };
                if !old {
                    self.mark_inside(&name);
                }
            }
        }
    }

    fn mark_inside(&mut self, namespace: &str) {
        let inside = self
            .world
            .channels
            .keys()
            .filter(|c| c.namespace() == namespace);
        let inside: Vec<_> = inside.cloned().map(Key::Channel).collect();
        self.dirty.extend(inside);
    }

    fn take_bus(&mut self, r: BusRef, change: Change<AnyBus>) {
        let known = match &change {
            Change::Applied(bus) => Some(known(bus.meta())),
            Change::Undecodable { meta, .. } => Some(known(meta)),
            Change::Gone => None,
        };
        let before = match known {
            Some(known) => {
                self.world
                    .buses
                    .insert(r.clone(), known.clone())
                    .map(|k| k.is_default)
                    == Some(known.is_default)
            }
            None => self.world.buses.remove(&r).is_none(),
        };
        if !before && self.given.options.parts == Parts::Both {
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
        if r != self.given.bus_ref {
            return;
        }
        self.mark(Key::Bus);
        if let Change::Applied(bus) = &change {
            let admitted = bus.status().map_or(&[][..], |s| &s.namespaces);
            for namespace in self.take_admitted(admitted) {
                self.mark_inside(&namespace);
            }
        }
        let state = &mut self.world.bus;
        match change {
            Change::Gone => {
                state.object = None;
                state.undecodable = None;
                self.mark_all();
            }
            Change::Undecodable { error, .. } => state.undecodable = Some(error),
            Change::Applied(bus) => {
                state.undecodable = None;
                let same = state.object.as_ref().is_some_and(|old| {
                    old.meta().uid == bus.meta().uid
                        && old.meta().generation == bus.meta().generation
                });
                if !same {
                    let refused = match &bus {
                        AnyBus::Namespaced(bus) => Problem::refused(&bus.spec),
                        AnyBus::Cluster(bus) => Problem::refused(&bus.spec),
                    };
                    let viewed = match refused {
                        Some(problem) => Err(problem),
                        None => view(&bus, &self.given.bus_ref, self.given.options.memory_limit),
                    };
                    state.problem = None;
                    match viewed {
                        Ok(view) => {
                            if view.egress.iter().any(|range| range.prefix_len() == 0) {
                                tracing::warn!(
                                    "spec.egress.allow opens every address: nothing guards metadata services, \
                                     the API server or this pod from subscriptions"
                                );
                            }
                            state.view = Some(view);
                        }
                        Err(problem) => state.problem = Some(problem),
                    }
                }
                state.object = Some(bus);
                if !same {
                    // A hook that waits for a change of the bus has got it.
                    self.forget_failures();
                    self.mark_all();
                }
            }
        }
    }

    fn take_channel(&mut self, r: ChannelRef, change: Change<Arc<Channel>>) {
        let key = Key::Channel(r.clone());
        let state = self.world.channels.entry(r.clone()).or_default();
        let before = identity(state.meta());
        let shown_before = state
            .object
            .as_ref()
            .and_then(|o| o.status.clone())
            .map(|s| s.resolved_parameters);
        let before_there = state.object.is_some();
        let refused = |object: &Channel| Problem::refused(&object.spec);
        take_object(
            &mut state.object,
            &mut state.common,
            change,
            &before,
            refused,
        );
        let uid = state.uid();
        if before.as_ref().map(|b| &b.0) != uid.as_ref() && uid.is_some() {
            reset(&mut state.common);
            state.good = None;
            state.shown_count = None;
        }
        settle_finalizer(state);
        let state = self.world.channels.get(&r);
        let after = state.and_then(|s| identity(s.meta()));
        let shown = state
            .and_then(|s| s.object.as_ref()?.status.clone())
            .map(|s| s.resolved_parameters);
        let there = state.is_some_and(|s| s.object.is_some());
        if let Some(uid) = uid {
            self.world.by_uid.insert(uid, key.clone());
        }
        if before != after || shown_before != shown {
            self.mark_channel_and_subscriptions(&r);
        }
        if before_there != there && self.given.options.hosts.is_some() {
            // Names of channels have the receiver's address; others may now be resolved, or not.
            self.mark_all();
        }
        self.mark(key);
    }

    fn take_subscription(&mut self, r: SubscriptionRef, change: Change<Arc<Subscription>>) {
        let key = Key::Subscription(r.clone());
        let state = &mut **self.world.subscriptions.entry(r.clone()).or_default();
        let before = identity(state.meta());
        let channel_of = |o: &Arc<Subscription>| ChannelRef::new(r.namespace(), &o.spec.channel);
        let left = state.object.as_ref().map(channel_of);
        let refused = |object: &Subscription| Problem::refused(&object.spec);
        take_object(
            &mut state.object,
            &mut state.common,
            change,
            &before,
            refused,
        );
        let uid = state.uid();
        if before.as_ref().map(|b| &b.0) != uid.as_ref() && uid.is_some() {
            reset(&mut state.common);
            state.good = None;
            state.delivering = crate::health::Delivering::default();
        }
        settle_finalizer(state);
        let after = identity(state.meta());
        let channel = state.object.as_ref().map(channel_of);
        if let Some(uid) = uid {
            self.world.by_uid.insert(uid, key.clone());
        }
        if before != after {
            // Also when it is gone: its channel may wait for just that.
            self.dirty
                .extend(left.into_iter().chain(channel.clone()).map(Key::Channel));
        }
        if let Some(channel) = channel {
            self.world.by_channel.entry(channel).or_default().insert(r);
        }
        self.mark(key);
    }
}

/// Takes what became of an object; `refused` is asked again where it is not the one of `before`.
fn take_object<K, S>(
    object: &mut Option<Arc<K>>,
    common: &mut Common<S>,
    change: Change<Arc<K>>,
    before: &Option<Identity>,
    refused: impl FnOnce(&K) -> Option<Problem>,
) where
    K: Resource + Clone,
{
    match change {
        Change::Gone => {
            *object = None;
            common.undecodable = None;
        }
        Change::Undecodable { meta, error } => {
            *object = object.take().and_then(|old| {
                let mut old = Arc::unwrap_or_clone(old);
                keep_good(old.meta_mut(), &meta).then(|| Arc::new(old))
            });
            common.undecodable = Some((meta, error));
        }
        Change::Applied(now) => {
            common.undecodable = None;
            if *before != identity(Some(now.meta())) {
                common.refused = refused(&now);
            }
            *object = Some(now);
        }
    }
}

fn name_of(item: &Item) -> String {
    match item {
        Item::Bus(r, _) => r.to_string(),
        Item::Channel(r, _) => r.to_string(),
        Item::Subscription(r, _) => r.to_string(),
        Item::Namespace(name, _) => name.clone(),
    }
}

fn known(meta: &ObjectMeta) -> KnownBus {
    let annotations = meta.annotations.as_ref();
    KnownBus {
        is_default: annotations
            .and_then(|a| a.get(DEFAULT_BUS_ANNOTATION))
            .is_some_and(|v| v == "true"),
        created: meta.creation_timestamp.as_ref().map(|t| t.0),
        deleting: meta.deletion_timestamp.is_some(),
    }
}

/// UID, generation, and whether it is being deleted.
type Identity = (Uid, i64, bool);

/// What, when it changes, makes an object another for us.
fn identity(meta: Option<&ObjectMeta>) -> Option<Identity> {
    let meta = meta?;
    Some((
        Uid::new(meta.uid.as_deref().unwrap_or_default()),
        meta.generation.unwrap_or(0),
        meta.deletion_timestamp.is_some(),
    ))
}

/// The last good form goes on, as long as it is the same object; what only the server writes is new.
fn keep_good(good: &mut ObjectMeta, now: &ObjectMeta) -> bool {
    if good.uid != now.uid {
        return false;
    }
    let generation = good.generation;
    good.clone_from(now);
    good.generation = generation;
    true
}

/// Another object of the same name: what was done for the old one stays until it is undone.
fn reset<S>(common: &mut Common<S>) {
    common.removed = None;
    common.finalizer = None;
    common.failure = None;
    common.was_loaded = false;
}

/// Forgets a written finalizer when the object shows it.
fn settle_finalizer<T: Tracked + HasCommon>(state: &mut T) {
    let Some(WrittenFinalizer { uid, change }) = state.common().finalizer.clone() else {
        return;
    };
    let shown = state.meta().is_none_or(|meta| {
        let there = meta
            .finalizers
            .as_ref()
            .is_some_and(|all| all.iter().any(|f| f == T::FINALIZER));
        meta.uid.as_deref() != Some(uid.as_str()) || there == (change == FinalizerChange::Add)
    });
    if shown {
        state.forget_finalizer();
    }
}

/// The little that both kinds change alike.
trait HasCommon {
    fn forget_finalizer(&mut self);
}

impl HasCommon for crate::world::ChannelState {
    fn forget_finalizer(&mut self) {
        self.common.finalizer = None;
    }
}

impl HasCommon for crate::world::SubscriptionState {
    fn forget_finalizer(&mut self) {
        self.common.finalizer = None;
    }
}
