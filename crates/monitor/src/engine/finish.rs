//! What ended: hooks, finalizers.

use std::sync::{Arc, PoisonError};

use busway_core::{
    ChannelRef, SubscriptionRef, Uid,
    bus::{HookError, Retry},
};
use tokio::time::Instant;

use super::Engine;
use crate::{
    jobs::{Call, Ended, Job, Outcome},
    source::{FinalizerChange, ObjectKey, WriteError},
    world::{Backing, Failure, Key, Made, WrittenFinalizer},
};

impl Engine {
    pub(super) fn finish(&mut self, ended: Ended) {
        let Ended {
            key,
            job,
            generation,
            outcome,
        } = ended;
        self.queue.done(&key);
        match (outcome, job) {
            (Outcome::Hook(Ok(())), Job::Hook(call)) => {
                tracing::debug!(?key, action = call.action(), generation, "hook done");
                self.succeeded(&key, &call, generation);
            }
            (Outcome::Hook(Err(error)), Job::Hook(call)) => {
                self.failed(&key, call, generation, error)
            }
            // A panic outside of a hook.
            (Outcome::Hook(_), _) => self.later(&key),
            (Outcome::Write(result), Job::Finalizer { object, change, .. }) => {
                self.finalizer_written(&key, &object, change, result);
            }
            (Outcome::Write(Ok(())), _) => self.queue.reset(&key),
            (Outcome::Write(Err(WriteError::Gone)), _) => self.queue.reset(&key),
            (Outcome::Write(Err(_)), _) => self.later(&key),
            (Outcome::Cancelled, _) => {}
        }
        self.mark(key);
    }

    fn later(&mut self, key: &Key) {
        self.queue.retry(key, Instant::now(), fastrand::u64(..));
    }

    fn finalizer_written(
        &mut self,
        key: &Key,
        object: &ObjectKey,
        change: FinalizerChange,
        result: Result<(), WriteError>,
    ) {
        match result {
            Ok(()) | Err(WriteError::Gone) => {
                self.queue.reset(key);
                let written = Some(WrittenFinalizer {
                    uid: Uid::new(&object.uid),
                    change,
                });
                match key {
                    Key::Bus => {}
                    Key::Channel(r) => {
                        if let Some(s) = self.world.channels.get_mut(r) {
                            s.common.finalizer = written;
                        }
                    }
                    Key::Subscription(r) => {
                        if let Some(s) = self.world.subscriptions.get_mut(r) {
                            s.common.finalizer = written;
                            if let Some(o) = &s.object {
                                let channel = ChannelRef::new(r.namespace(), &o.spec.channel);
                                self.mark(Key::Channel(channel));
                            }
                        }
                    }
                }
            }
            // On a conflict the next look has the newer object, which is on its way.
            Err(error) => {
                if let WriteError::Refused(why) = &error {
                    tracing::warn!(%object, why, "the finalizer could not be written");
                }
                self.later(key);
            }
        }
    }

    fn succeeded(&mut self, key: &Key, call: &Call, generation: i64) {
        self.queue.reset(key);
        self.set_failure(key, None);
        match (key, call) {
            (Key::Bus, Call::SyncBus(spec)) => self.bus_synced(spec, generation),
            (Key::Channel(r), Call::Provision(spec)) => {
                self.note_synced(key, call, generation);
                if let Some(s) = self.world.channels.get_mut(r) {
                    let generation = s.good.as_ref().map_or(generation, |g| g.0.max(generation));
                    s.common.removed = None;
                    s.common.backing = Some(Backing {
                        spec: Arc::clone(spec),
                        generation,
                        state: Made::Done,
                    });
                }
                let shown = &self.given.shown.channels;
                let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
                shown.insert(r.clone(), Arc::clone(spec));
                drop(shown);
                self.mark_channel_and_subscriptions(r);
            }
            (Key::Channel(r), Call::Unprovision(spec)) => {
                if let Some(s) = self.world.channels.get_mut(r) {
                    s.common.backing = None;
                    s.common.removed = Some(spec.uid.clone());
                }
                self.forget_uid(key, &spec.uid);
                let shown = &self.given.shown.channels;
                let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
                shown.remove(r);
                drop(shown);
                self.mark_channel_and_subscriptions(r);
            }
            (Key::Subscription(r), Call::Subscribe(spec)) => {
                self.note_synced(key, call, generation);
                if let Some(s) = self.world.subscriptions.get_mut(r) {
                    let works = s.view.as_ref().is_some_and(|v| Self::works(s, v));
                    let good = s.good.as_ref().map(|g| g.generation);
                    let former = subscribed_generation(s);
                    s.common.removed = None;
                    s.common.backing = Some(Backing {
                        spec: Arc::clone(spec),
                        // Called with the last good terms, it says nothing of this generation.
                        generation: if works {
                            generation
                        } else {
                            good.or(former).unwrap_or(0)
                        },
                        state: Made::Done,
                    });
                }
                let shown = &self.given.shown.subscriptions;
                let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
                shown.insert(r.clone(), Arc::clone(spec));
            }
            (Key::Subscription(r), Call::Unsubscribe(spec)) => {
                self.unsubscribed(r, key, &spec.uid, &spec.channel);
            }
            _ => {}
        }
    }

    fn unsubscribed(&mut self, r: &SubscriptionRef, key: &Key, uid: &Uid, channel: &ChannelRef) {
        if let Some(s) = self.world.subscriptions.get_mut(r) {
            s.common.backing = None;
            s.common.removed = Some(uid.clone());
        }
        self.forget_uid(key, uid);
        let shown = &self.given.shown.subscriptions;
        let mut shown = shown.write().unwrap_or_else(PoisonError::into_inner);
        shown.remove(r);
        drop(shown);
        self.mark(Key::Channel(channel.clone()));
    }

    /// The identity of what is gone leads nowhere any more.
    fn forget_uid(&mut self, key: &Key, uid: &Uid) {
        let present = match key {
            Key::Bus => None,
            Key::Channel(r) => self
                .world
                .channels
                .get(r)
                .and_then(crate::world::Tracked::uid),
            Key::Subscription(r) => self
                .world
                .subscriptions
                .get(r)
                .and_then(crate::world::Tracked::uid),
        };
        if present.as_ref() != Some(uid) {
            self.world.by_uid.remove(uid);
        }
    }

    fn bus_synced(&mut self, spec: &Arc<busway_core::bus::BusSpec>, generation: i64) {
        let first = self.world.bus.synced.is_none();
        self.world.bus.synced = Some((Arc::clone(spec), generation));
        let profile = self.given.bus.profile();
        let other = profile != self.profile;
        self.profile = profile;
        self.note_synced(&Key::Bus, &Call::SyncBus(Arc::clone(spec)), generation);
        if first || other {
            self.mark_all();
        }
    }

    fn failed(&mut self, key: &Key, call: Call, generation: i64, error: HookError) {
        let wait = match error.retry() {
            Retry::Yes => Some(self.queue.retry(key, Instant::now(), fastrand::u64(..))),
            Retry::WhenChanged => None,
        };
        tracing::debug!(
            ?key,
            action = call.action(),
            reason = error.reason(),
            ?wait,
            "hook failed"
        );
        self.note_failed(key, &call, &error);
        // Something may be there now, and is to be removed again.
        match (key, &call) {
            (Key::Channel(r), Call::Provision(spec)) => {
                if let Some(s) = self.world.channels.get_mut(r) {
                    s.common.removed = None;
                    s.common.backing.get_or_insert_with(|| Backing {
                        spec: Arc::clone(spec),
                        generation,
                        state: Made::Perhaps,
                    });
                }
            }
            (Key::Subscription(r), Call::Subscribe(spec)) => {
                if let Some(s) = self.world.subscriptions.get_mut(r) {
                    s.common.removed = None;
                    s.common.backing.get_or_insert_with(|| Backing {
                        spec: Arc::clone(spec),
                        generation,
                        state: Made::Perhaps,
                    });
                }
            }
            _ => {}
        }
        self.set_failure(
            key,
            Some(Failure {
                call,
                generation,
                error,
            }),
        );
        if matches!(key, Key::Channel(_) | Key::Bus) {
            // What waits for it says why.
            match key {
                Key::Channel(r) => self.mark_channel_and_subscriptions(&r.clone()),
                _ => self.mark_all(),
            }
        }
    }

    /// The bus asks for another subscribe.
    pub(super) fn subscribe_again(&mut self, r: &SubscriptionRef) {
        if let Some(s) = self.world.subscriptions.get_mut(r)
            && let Some(b) = s.common.backing.as_mut()
            && b.state == Made::Done
        {
            b.state = Made::Again;
            self.mark(Key::Subscription(r.clone()));
        }
    }

    pub(super) fn generation_of(&self, key: &Key) -> i64 {
        use crate::world::Tracked as _;
        match key {
            Key::Bus => {
                let bus = self.world.bus.object.as_ref();
                bus.and_then(|b| b.meta().generation).unwrap_or(0)
            }
            Key::Channel(r) => self.world.channels.get(r).map_or(0, |s| s.generation()),
            Key::Subscription(r) => self
                .world
                .subscriptions
                .get(r)
                .map_or(0, |s| s.generation()),
        }
    }

    pub(super) fn failure_of(&self, key: &Key) -> Option<&Failure> {
        match key {
            Key::Bus => self.world.bus.failure.as_ref(),
            Key::Channel(r) => self.world.channels.get(r)?.common.failure.as_ref(),
            Key::Subscription(r) => self.world.subscriptions.get(r)?.common.failure.as_ref(),
        }
    }

    pub(super) fn set_failure(&mut self, key: &Key, failure: Option<Failure>) {
        let place = match key {
            Key::Bus => Some(&mut self.world.bus.failure),
            Key::Channel(r) => self
                .world
                .channels
                .get_mut(r)
                .map(|s| &mut s.common.failure),
            Key::Subscription(r) => self
                .world
                .subscriptions
                .get_mut(r)
                .map(|s| &mut s.common.failure),
        };
        if let Some(place) = place {
            *place = failure;
        }
    }

    /// The bus changed: whatever failed may work now.
    pub(super) fn forget_failures(&mut self) {
        self.world.bus.failure = None;
        for s in self.world.channels.values_mut() {
            s.common.failure = None;
        }
        for s in self.world.subscriptions.values_mut() {
            s.common.failure = None;
        }
        self.queue.reset_all();
    }
}

fn subscribed_generation(s: &crate::world::SubscriptionState) -> Option<i64> {
    let status = s.object.as_ref()?.status.as_ref()?;
    let kind = busway_api::conditions::ConditionType::Subscribed;
    busway_api::conditions::find(&status.conditions, kind)?.observed_generation
}
