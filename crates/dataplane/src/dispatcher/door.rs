//! The gate before a subscriber, and the clock that it counts by.

use std::{cell::RefCell, rc::Rc, time::Duration};

use busway_core::{
    gate::{Admit, Ended, Gate, MaxInFlight, Pass, State},
    policy::DeliveryPolicy,
};
use tokio::time::Instant;

pub(super) struct Door {
    gate: RefCell<Gate>,
    since: Instant,
}

/// An attempt that was let through. Dropped before its end, it counts as in flight no longer, and
/// says nothing of the subscriber.
pub(super) struct Passage {
    door: Rc<Door>,
    pass: Option<Pass>,
}

/// How a gate is; moments are by its own clock.
pub(super) struct Reading {
    pub(super) breaker: State,
    pub(super) in_flight: u32,
    pub(super) limit: u32,
    pub(super) held_until: Option<Duration>,
}

/// How many attempts a policy lets be in flight.
pub(super) fn bound(policy: &DeliveryPolicy) -> MaxInFlight {
    match policy.max_in_flight {
        MaxInFlight::Number(number) if planted!(OneTooMany) => MaxInFlight::Number(number + 1),
        most => most,
    }
}

impl Door {
    pub(super) fn new(policy: &DeliveryPolicy) -> Rc<Self> {
        Rc::new(Self {
            gate: RefCell::new(Gate::new(bound(policy), policy.rate)),
            since: Instant::now(),
        })
    }

    pub(super) fn set(&self, policy: &DeliveryPolicy) {
        let mut gate = self.gate.borrow_mut();
        gate.set(bound(policy), policy.rate);
    }

    /// There is another subscriber now.
    pub(super) fn forget(&self) {
        self.gate.borrow_mut().forget();
    }

    /// Whether an attempt may begin; if it may later, when.
    pub(super) fn admit(&self) -> (Admit, Option<Instant>) {
        let admit = self.gate.borrow().admit(self.now());
        let at = match admit {
            Admit::At(at) => self.since.checked_add(at),
            Admit::Now | Admit::Probe | Admit::Full => None,
        };
        (admit, at)
    }

    pub(super) fn begin(self: &Rc<Self>) -> Passage {
        let pass = self.gate.borrow_mut().begin(self.now());
        Passage {
            door: Rc::clone(self),
            pass: Some(pass),
        }
    }

    /// How many attempts may be in flight.
    pub(super) fn limit(&self) -> usize {
        let limit = self.gate.borrow().limit(self.now());
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    pub(super) fn read(&self) -> Reading {
        let (gate, now) = (self.gate.borrow(), self.now());
        Reading {
            breaker: gate.breaker(now),
            in_flight: gate.in_flight(),
            limit: gate.limit(now),
            held_until: gate.held_until(now),
        }
    }

    /// A moment of the gate's clock.
    pub(super) fn at(&self, moment: Duration) -> Instant {
        self.since.checked_add(moment).unwrap_or(self.since)
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Passage {
    /// The attempt came to its end.
    pub(super) fn end(mut self, ended: Ended, took: Duration, random: u64) {
        if let Some(pass) = self.pass.take() {
            let mut gate = self.door.gate.borrow_mut();
            gate.end(pass, self.door.now(), ended, took, random);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            let mut gate = self.door.gate.borrow_mut();
            gate.end(pass, self.door.now(), Ended::Dropped, Duration::ZERO, 0);
        }
    }
}
