//! Looking at one key: what is to be done for it now.

use std::{sync::Arc, time::Duration};

use busway_core::{ChannelRef, SubscriptionRef, Uid, bus::Scope};
use tokio::time::Instant;

use super::{Engine, judge::Standing};
use crate::{
    convert::{channel, subscription},
    jobs::{Call, Job},
    options::{Parts, Role},
    source::FinalizerChange,
    world::{Backing, Good, Key, Made, Tracked},
};

/// Replicas get so long to stop before what they use is removed.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// A data plane that was given a route gets so long to be seen serving it, before it counts as one
/// that does not.
const LOADED_WITHIN: Duration = Duration::from_secs(1);
/// Statuses of things that change together are written together.
pub(super) const GATHER: Duration = Duration::from_millis(20);

/// What is to be done for a key.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    Wait(Instant),
    Do(Job),
}

enum Stopped {
    Yes,
    NotBefore(Instant),
}

impl Engine {
    pub(super) fn look(&mut self, key: &Key, now: Instant) {
        let step = match key {
            Key::Bus => self.bus_step(),
            Key::Channel(r) => {
                self.mind_stopping_channel(r, now);
                self.mind_admission(r, now);
                self.mind_revocation(r, now);
                self.channel_step(r, now)
            }
            Key::Subscription(r) => {
                self.refresh_view(r);
                self.mind_stopping_subscription(r, now);
                self.subscription_step(r, now)
            }
        };
        match step {
            Step::Nothing => {
                self.note_valid(key);
                self.queue.reset(key);
            }
            Step::Wait(until) => self.wakes.at(key, until),
            Step::Do(job) => self.ask_for(key, &job),
        }
        self.route(key, now);
        self.statuses.at(key, now + GATHER);
        self.forget_if_over(key);
    }

    /// A channel whose grace ends is looked at then.
    fn mind_revocation(&mut self, r: &ChannelRef, now: Instant) {
        let channel = self.world.channels.get(r).and_then(|s| s.object.as_ref());
        let left = channel.and_then(|channel| self.revoked_in(channel));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            self.wakes.at(&Key::Channel(r.clone()), now + left);
        }
    }

    /// Queues the key, unless this very call failed and waits: for its time, or for a change.
    fn ask_for(&mut self, key: &Key, job: &Job) {
        let generation = self.generation_of(key);
        let failure = self.failure_of(key);
        let same = failure.is_some_and(|f| {
            matches!(job, Job::Hook(call) if *call == f.call) && f.generation == generation
        });
        if same {
            let waits_for_change =
                failure.is_some_and(|f| f.error.retry() == busway_core::bus::Retry::WhenChanged);
            if !waits_for_change {
                self.queue.add(key);
            }
            return;
        }
        if failure.is_some() {
            self.set_failure(key, None);
            self.queue.reset(key);
        }
        self.queue.add(key);
    }

    /// Starts what is queued, as it is to be done by now.
    pub(super) fn start_jobs(&mut self, now: Instant) {
        while let Some(key) = self.queue.take(now) {
            let step = match &key {
                Key::Bus => self.bus_step(),
                Key::Channel(r) => self.channel_step(r, now),
                Key::Subscription(r) => self.subscription_step(r, now),
            };
            match step {
                Step::Do(job) => {
                    let generation = self.generation_of(&key);
                    self.jobs.start(key, job, generation);
                }
                Step::Wait(until) => {
                    self.queue.done(&key);
                    self.wakes.at(&key, until);
                }
                Step::Nothing => {
                    self.queue.done(&key);
                }
            }
        }
    }

    fn bus_step(&self) -> Step {
        let bus = &self.world.bus;
        let spec = self
            .bus_spec()
            .filter(|_| self.runs_hooks() && bus.problem.is_none());
        let Some(spec) = spec else {
            return Step::Nothing;
        };
        let generation = self.generation_of(&Key::Bus);
        if bus
            .synced
            .as_ref()
            .is_some_and(|(synced, at)| **synced == spec && *at == generation)
        {
            return Step::Nothing;
        }
        Step::Do(Job::Hook(Call::SyncBus(Arc::new(spec))))
    }

    fn channel_step(&self, r: &ChannelRef, now: Instant) -> Step {
        let Some(s) = self.world.channels.get(r) else {
            return Step::Nothing;
        };
        if let Some(job) = self.take_unassigned(s) {
            return Step::Do(job);
        }
        if !self.runs_hooks() {
            return Step::Nothing;
        }
        let uid = s.uid();
        if let Some(b) = &s.common.backing
            && Some(&b.spec.uid) != uid.as_ref()
        {
            // Deleted, or deleted and made again: the old one goes first.
            return self.unprovision_step(r, &b.spec, now);
        }
        let (Some(object), Some(uid)) = (&s.object, uid) else {
            return Step::Nothing;
        };
        if s.is_deleting() {
            let left = s.common.backing.is_some() || s.has_finalizer();
            if left && s.common.removed.as_ref() != Some(&uid) && self.was_ours(r) {
                let spec = match &s.common.backing {
                    Some(b) => Arc::clone(&b.spec),
                    None => {
                        let parameters = self.working_parameters(s).unwrap_or_default();
                        Arc::new(channel::spec(object, parameters))
                    }
                };
                return self.unprovision_step(r, &spec, now);
            }
            return self.finalizer_step(s, FinalizerChange::Remove, self.was_ours(r));
        }
        if self.standing_of_channel(object) != Standing::Ours || !self.bus_is_synced() {
            return Step::Nothing;
        }
        if self.is_refused(object) {
            return Step::Nothing;
        }
        let Some(parameters) = self.working_parameters(s) else {
            return Step::Nothing;
        };
        let spec = Arc::new(channel::spec(object, parameters));
        if s.common
            .backing
            .as_ref()
            .is_some_and(|b| b.state == Made::Done && b.spec == spec)
        {
            return Step::Nothing;
        }
        match self.finalizer_step(s, FinalizerChange::Add, true) {
            Step::Nothing => Step::Do(Job::Hook(Call::Provision(spec))),
            step => step,
        }
    }

    fn unprovision_step(
        &self,
        r: &ChannelRef,
        spec: &Arc<busway_core::bus::ChannelSpec>,
        now: Instant,
    ) -> Step {
        if self.subscriptions_left(r, &spec.uid) > 0 {
            // Each marks the channel when it is done.
            return Step::Nothing;
        }
        match self.stopped(&Key::Channel(r.clone()), &spec.uid, now) {
            Stopped::Yes => Step::Do(Job::Hook(Call::Unprovision(Arc::clone(spec)))),
            Stopped::NotBefore(at) => Step::Wait(at),
        }
    }

    fn subscription_step(&self, r: &SubscriptionRef, now: Instant) -> Step {
        let Some(s) = self
            .world
            .subscriptions
            .get(r)
            .filter(|_| self.runs_hooks())
        else {
            return Step::Nothing;
        };
        let key = Key::Subscription(r.clone());
        let unsubscribe = |spec: &Arc<_>, uid: &Uid| match self.stopped(&key, uid, now) {
            Stopped::Yes => Step::Do(Job::Hook(Call::Unsubscribe(Arc::clone(spec)))),
            Stopped::NotBefore(at) => Step::Wait(at),
        };
        let channel = s.object.as_ref().and_then(|o| self.channel_of(r, o));
        let channel_uid = channel.and_then(Tracked::uid);
        if let Some(b) = &s.common.backing {
            let alive = s.is_alive()
                && s.uid().as_ref() == Some(&b.spec.uid)
                && channel_uid.as_ref() == Some(&b.spec.channel_uid);
            if !alive {
                return unsubscribe(&b.spec, &b.spec.uid);
            }
        }
        let (Some(object), Some(uid)) = (&s.object, s.uid()) else {
            return Step::Nothing;
        };
        let name = ChannelRef::new(r.namespace(), &object.spec.channel);
        let Some(channel) = channel.filter(|_| !s.is_deleting()) else {
            if !s.has_finalizer() {
                return Step::Nothing;
            }
            if s.common.removed.as_ref() != Some(&uid) && self.was_ours(&name) {
                // Of a former life of this process.
                let channel_uid = self.world.channels.get(&name).and_then(Tracked::uid);
                let status = object.status.as_ref();
                let parameters = status.and_then(|s| s.resolved_parameters.clone());
                let channel_uid = channel_uid.unwrap_or_else(|| Uid::new(""));
                let timeout = busway_core::policy::DeliveryPolicy::default().timeout;
                let spec = subscription::spec(
                    object,
                    &channel_uid,
                    parameters.unwrap_or_default(),
                    timeout,
                );
                return unsubscribe(&spec, &uid);
            }
            let ours = s.common.removed.as_ref() == Some(&uid) || self.writes_orphans();
            let orphaned = !self.world.channels.contains_key(&name) || self.was_ours(&name);
            return self.finalizer_step(s, FinalizerChange::Remove, ours && orphaned);
        };
        let provisioned = channel.common.is_done() && self.is_provisioned(channel);
        let (Some(channel_uid), Some(view), true) = (channel_uid, s.view.as_ref(), provisioned)
        else {
            return Step::Nothing;
        };
        let Some(terms) = Self::terms(s, view) else {
            return Step::Nothing;
        };
        let spec = subscription::spec(object, &channel_uid, terms.parameters, terms.timeout);
        if s.common
            .backing
            .as_ref()
            .is_some_and(|b| b.state == Made::Done && b.spec == spec)
        {
            return Step::Nothing;
        }
        match self.finalizer_step(s, FinalizerChange::Add, true) {
            Step::Nothing => Step::Do(Job::Hook(Call::Subscribe(spec))),
            step => step,
        }
    }

    /// Whether a channel is, or until now was, of this bus.
    fn was_ours(&self, r: &ChannelRef) -> bool {
        let object = self.world.channels.get(r).and_then(|s| s.object.as_ref());
        object.is_some_and(|o| self.standing_of_channel(o) == Standing::Ours)
    }

    fn finalizer_step<T: Tracked>(&self, s: &T, change: FinalizerChange, ours: bool) -> Step {
        let wanted = match change {
            // Buses that leave nothing outside the process take none.
            FinalizerChange::Add => self.profile.scope == Scope::Shared && !s.has_finalizer(),
            FinalizerChange::Remove => s.has_finalizer() && self.leader,
        };
        let (true, Some(object)) = (wanted && ours, s.object_key()) else {
            return Step::Nothing;
        };
        let version = s.meta().and_then(|m| m.resource_version.clone());
        Step::Do(Job::Finalizer {
            object,
            resource_version: version.unwrap_or_default(),
            finalizer: T::FINALIZER,
            change,
        })
    }

    /// A channel that names no bus is put on the default one, by the Monitor of that one.
    fn take_unassigned(&self, s: &crate::world::ChannelState) -> Option<Job> {
        let object = s.object.as_ref()?;
        let ours = self.given.options.parts == Parts::Both
            && self.writes()
            && s.is_alive()
            && channel::bus_of(object).is_none()
            && self.world.default_bus() == Some(&self.given.bus_ref);
        ours.then(|| {
            Some(Job::TakeUnassigned {
                object: s.object_key()?,
                resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
                cluster_bus: self.given.bus_ref.name().to_owned(),
            })
        })?
    }

    /// Whether no replica uses the object any more, or they had their time.
    fn stopped(&self, key: &Key, uid: &Uid, now: Instant) -> Stopped {
        let (since, was_loaded) = match key {
            Key::Bus => (None, false),
            Key::Channel(r) => self
                .world
                .channels
                .get(r)
                .map_or((None, false), |s| (s.common.stopping, s.common.was_loaded)),
            Key::Subscription(r) => self
                .world
                .subscriptions
                .get(r)
                .map_or((None, false), |s| (s.common.stopping, s.common.was_loaded)),
        };
        let since = since.unwrap_or(now);
        if now >= since + STOP_WITHIN {
            return Stopped::Yes;
        }
        if self.given.options.role == Role::Provisioner {
            return if self.dispatcher_stopped(key) {
                Stopped::Yes
            } else {
                Stopped::NotBefore(since + STOP_WITHIN)
            };
        }
        if self.is_loaded_anywhere(uid) {
            return Stopped::NotBefore(since + STOP_WITHIN);
        }
        if was_loaded || !self.routes.was_published(key) || now >= since + LOADED_WITHIN {
            Stopped::Yes
        } else {
            Stopped::NotBefore(since + LOADED_WITHIN)
        }
    }

    fn mind_stopping_channel(&mut self, r: &ChannelRef, now: Instant) {
        let stops = self.world.channels.get(r).is_some_and(|s| {
            let other = s
                .common
                .backing
                .as_ref()
                .is_some_and(|b| Some(&b.spec.uid) != s.uid().as_ref());
            other || s.is_deleting()
        });
        if let Some(s) = self.world.channels.get_mut(r) {
            s.common.stopping = stops.then(|| s.common.stopping.unwrap_or(now));
        }
    }

    fn mind_stopping_subscription(&mut self, r: &SubscriptionRef, now: Instant) {
        let stops = self.world.subscriptions.get(r).is_some_and(|s| {
            let channel = s.object.as_ref().and_then(|o| self.channel_of(r, o));
            let other = s.common.backing.as_ref().is_some_and(|b| {
                Some(&b.spec.uid) != s.uid().as_ref()
                    || channel.and_then(Tracked::uid).as_ref() != Some(&b.spec.channel_uid)
            });
            other || s.is_deleting() || (channel.is_none() && s.has_finalizer())
        });
        if let Some(s) = self.world.subscriptions.get_mut(r) {
            s.common.stopping = stops.then(|| s.common.stopping.unwrap_or(now));
        }
    }

    fn refresh_view(&mut self, r: &SubscriptionRef) {
        let view = self
            .world
            .subscriptions
            .get(r)
            .and_then(|s| self.view_of(r, s))
            .map(Arc::new);
        if let Some(s) = self.world.subscriptions.get_mut(r) {
            s.view = view;
        }
    }

    /// Nothing is to be done: what was made is what this generation asks for. Remembers it, for when
    /// an edit makes it invalid.
    fn note_valid(&mut self, key: &Key) {
        match key {
            Key::Bus => {}
            Key::Channel(r) => {
                let Some(s) = self.world.channels.get(r) else {
                    return;
                };
                let valid =
                    s.common.is_done() && s.is_alive() && self.channel_parameters(s).is_ok();
                let generation = s.generation();
                if let Some(s) = self.world.channels.get_mut(r).filter(|_| valid) {
                    s.good = s
                        .object
                        .as_ref()
                        .map(|o| (generation, o.spec.arguments.clone()));
                    settle(s.common.backing.as_mut(), generation);
                }
            }
            Key::Subscription(r) => {
                let Some(s) = self.world.subscriptions.get_mut(r) else {
                    return;
                };
                let generation = s.generation();
                if !s.common.is_done() || !s.is_alive() {
                    return;
                }
                let (Some(object), Some(view)) = (&s.object, &s.view) else {
                    return;
                };
                if Self::works(s, view)
                    && let (Ok(parameters), Ok(targets)) = (&view.parameters, &view.targets)
                {
                    s.good = Some(Good {
                        generation,
                        arguments: object.spec.arguments.clone(),
                        parameters: parameters.clone(),
                        targets: Arc::clone(targets),
                    });
                    settle(s.common.backing.as_mut(), generation);
                }
            }
        }
    }

    /// Nothing of it is left, and nobody asks for it.
    fn forget_if_over(&mut self, key: &Key) {
        if self.queue.is_running(key) {
            return;
        }
        match key {
            Key::Bus => {}
            Key::Channel(r) => {
                let over = self.world.channels.get(r).is_some_and(|s| {
                    s.object.is_none()
                        && s.common.backing.is_none()
                        && s.common.undecodable.is_none()
                });
                if over {
                    self.world.channels.remove(r);
                    self.forget_key(key);
                }
            }
            Key::Subscription(r) => {
                let over = self.world.subscriptions.get(r).is_some_and(|s| {
                    s.object.is_none()
                        && s.common.backing.is_none()
                        && s.common.undecodable.is_none()
                });
                if over {
                    self.world.subscriptions.remove(r);
                    for all in self.world.by_channel.values_mut() {
                        all.remove(r);
                    }
                    self.forget_key(key);
                }
            }
        }
    }

    fn forget_key(&mut self, key: &Key) {
        self.queue.reset(key);
        self.waiting.remove(key);
        self.routes.forget(key);
    }
}

fn settle<S>(backing: Option<&mut Backing<S>>, generation: i64) {
    if let Some(b) = backing {
        b.generation = generation;
    }
}
