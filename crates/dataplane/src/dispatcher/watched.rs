//! What a subscription tells of itself: its counts, and what it is doing.

use std::{rc::Rc, sync::Arc};

use busway_core::{
    gate::{Admit, State},
    outcome::Outcome,
};
use tokio::time::Instant;

use super::state::Subscription;
use crate::{
    doing::{Breaker, Doing, Held, LastError, NextAttempt},
    metrics::SubscriptionCounts,
    observer::Stage,
};

impl Subscription {
    /// Its counts. They are made when something is counted first, and so are its series: most
    /// subscriptions of a large installation are idle.
    pub(super) fn own(&self) -> &Arc<SubscriptionCounts> {
        self.own.get_or_init(|| {
            let bus = self.plane.name.to_string();
            let (metrics, shard) = (&self.pulse.metrics, self.pulse.shard);
            metrics.enter(&bus, &self.name, shard, self.health.shared())
        })
    }

    /// Something happens to it: what it does is written down until nothing does any more.
    pub(super) fn stir(self: &Rc<Self>) {
        if !self.busy.replace(true) {
            self.pulse.stir(self);
        }
    }

    /// It was changed, which is told where something was told before.
    pub(super) fn changed(self: &Rc<Self>) {
        if self.own.get().is_some() {
            self.stir();
        }
    }

    /// It is served no longer: its series end.
    pub(super) fn leave(&self) {
        if let Some(own) = self.own.get() {
            let bus = self.plane.name.to_string();
            self.pulse.metrics.leave(&bus, own);
        }
    }

    /// An attempt failed.
    pub(super) fn went_wrong(&self, stage: Stage, outcome: Outcome) {
        let at = self.world.clock.now();
        let error = LastError { stage, outcome, at };
        self.last_error.set(Some(error));
    }

    /// Writes down what it is doing; whether that may be another in a moment.
    pub(super) fn write_down(&self) -> bool {
        let doing = self.doing();
        let written = self.own().write(doing);
        let busy = !doing.resting || !written;
        self.busy.set(busy);
        busy
    }

    fn doing(&self) -> Doing {
        let (now, at) = (Instant::now(), self.world.clock.now());
        let wall = |then: Instant| at + then.saturating_duration_since(now);
        let gate = self.door.read();
        let unsettled = self.tally.get();
        let gone = self.is_gone().then_some(Held::Gone);
        let held = Held::by(self.route.borrow().flow).or(gone);
        let next = Stage::ALL
            .into_iter()
            .filter_map(|stage| self.next_attempt(stage, now))
            .min_by_key(|(at, ..)| *at);
        let breaker = match gate.breaker {
            State::Closed | State::Ramping => Breaker::Closed,
            State::Probing => Breaker::HalfOpen,
            State::Open { until } => Breaker::Open {
                until: wall(self.door.at(until)),
            },
        };
        // What only time changes is none of rest. A half-open breaker waits for a message.
        let moves = matches!(gate.breaker, State::Open { .. } | State::Ramping);
        Doing {
            at,
            resting: unsettled == 0 && gate.in_flight == 0 && gate.held_until.is_none() && !moves,
            breaker,
            in_flight: gate.in_flight,
            limit: gate.limit,
            unsettled,
            retry_after: gate.held_until.map(|until| wall(self.door.at(until))),
            held,
            last_error: self.last_error.get(),
            next: next.map(|(at, stage, attempts)| NextAttempt {
                stage,
                at: wall(at),
                attempt: attempts.saturating_add(1),
            }),
        }
    }

    /// When the next attempt of a stage comes, as far as that depends on time.
    fn next_attempt(&self, stage: Stage, now: Instant) -> Option<(Instant, Stage, u32)> {
        if !self.takes(stage) {
            return None;
        }
        let (at, attempts) = self.outlet(stage).next()?;
        let at = at.unwrap_or(now);
        let opens = match stage {
            Stage::Subscriber => self.door.admit(),
            Stage::Reply | Stage::DeadLetter => (Admit::Now, None),
        };
        match opens {
            // It comes when one of those in flight has ended.
            (Admit::Full, _) if at <= now => None,
            (_, opens) => Some((opens.map_or(at, |opens| opens.max(at)), stage, attempts)),
        }
    }
}
