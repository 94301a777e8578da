//! What may begin: the gate before the subscriber, order per key, a subscriber that is gone.

use std::{rc::Rc, time::Duration};

use busway_core::{
    filter::{Failure, Match},
    gate::{Admit, Ended},
    outcome::Settled,
    policy::OnGone,
    routes::SubscriptionRoute,
};
use tokio::time::Instant;

use super::{
    door::Passage,
    job::Job,
    keys::Key,
    state::{Mode, Subscription},
};
use crate::{
    metrics::{Family, Own},
    observer::Stage,
};

impl Subscription {
    /// Filters what the bus gave, and puts it into its order.
    pub(super) fn sort(self: &Rc<Self>, mut job: Job) {
        let route = self.route();
        if !self.wanted(&job, &route) {
            return self.finish(job, Settled::Filtered);
        }
        job.key = route.ordering.as_ref().map(|name| {
            let value = busway_message::attribute(&job.message, name);
            Rc::from(value.as_deref().unwrap_or_default())
        });
        self.enqueue(job);
    }

    /// Whether the filters let a message through; one that cannot tell is counted.
    pub(super) fn wanted(&self, job: &Job, route: &SubscriptionRoute) -> bool {
        match route.filter.evaluate(&job.message) {
            Match::Pass => true,
            Match::Filtered => false,
            Match::Failed(failure) => {
                let place = Failure::ALL.iter().position(|known| *known == failure);
                self.counts.add(Family::FilterErrors, place.unwrap_or(0), 1);
                self.own().one(Own::FilterErrors, place.unwrap_or(0));
                false
            }
        }
    }

    /// Sends a job, unless an earlier one of its key is on its way.
    pub(super) fn enqueue(self: &Rc<Self>, job: Job) {
        if let Some(first) = self.keys.enter(job) {
            self.send(first);
        }
    }

    /// The first of a key is settled: the next one is sent.
    pub(super) fn settled_of(self: &Rc<Self>, key: Option<&Key>) {
        if let Some(next) = key.and_then(|key| self.keys.leave(key)) {
            self.send(next);
        }
    }

    /// Whether the gate lets an attempt through; if it will later, the driver sees to it.
    pub(super) fn admit(&self) -> Admit {
        let (admit, at) = self.door.admit();
        if at.is_some() && self.gate_opens.get() != at {
            self.gate_opens.set(at);
            self.wake();
        }
        admit
    }

    pub(super) fn admits(&self, stage: Stage) -> bool {
        stage != Stage::Subscriber
            || match self.admit() {
                Admit::Now => true,
                // A lane that finds none would end, and another begin in its place.
                Admit::Probe => {
                    let retry = self.route.borrow().policy.retry;
                    self.outlet(stage).probe(retry).is_some()
                }
                Admit::At(_) | Admit::Full => false,
            }
    }

    /// When the driver is to look at the gate.
    pub(super) fn gate_opens(&self) -> Option<Instant> {
        self.gate_opens.get()
    }

    /// Lets in whom the gate lets through now.
    pub(super) fn pass_gate(self: &Rc<Self>, now: Instant) {
        if self.gate_opens.get().is_none_or(|at| at > now) {
            return;
        }
        self.gate_opens.set(None);
        // The first that is let in sees to the next.
        self.staff_due(Stage::Subscriber);
    }

    /// Tells the gate how an attempt at the subscriber ended.
    pub(super) fn ended(self: &Rc<Self>, passage: Option<Passage>, ended: Ended, took: Duration) {
        if let Some(passage) = passage {
            // Only what failed is spread by chance.
            let random = match ended {
                Ended::Failed { .. } => self.world.entropy.next(),
                _ => 0,
            };
            passage.end(ended, took, random);
        }
        // It may let more through than it did, or say when it will.
        self.staff_due(Stage::Subscriber);
    }

    /// The subscriber of this route answered that it is gone for good.
    pub(super) fn found_gone(&self, route: &SubscriptionRoute) {
        self.health.gone();
        if route.policy.on_gone == OnGone::Pause {
            // An attempt of before an edit may end after one of now.
            self.gone.set(self.gone.get().max(Some(route.generation)));
            if !self.is_gone() {
                return;
            }
            // On the way out there is nothing to wait for any more.
            if self.mode.get() == Mode::Emptying {
                self.mode.set(Mode::Draining);
            }
            self.hand_back();
            self.wake();
        }
    }

    /// Whether nothing is attempted until the spec changes, because the subscriber is gone.
    pub(super) fn is_gone(&self) -> bool {
        let Some(gone) = self.gone.get() else {
            return false;
        };
        let route = self.route.borrow();
        route.generation == gone && route.policy.on_gone == OnGone::Pause
    }
}
