//! Whether the next attempt at a subscriber may begin, and how many at once. Pure: time comes in as
//! what has passed since the subscription started.
//!
//! Four things hold attempts back, each by itself: the bound on what is in flight, the rate, an
//! answer that asked to wait, and the breaker. After the last two the subscriber is not met with
//! everything at once: [`Ramp`] lets one in, then twice as many each second.

mod auto;
mod breaker;
mod ramp;
mod rate;

use std::time::Duration;

use auto::Auto;
use breaker::Breaker;
pub use breaker::State;
use ramp::Ramp;
use rate::Bucket;

/// How many attempts may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxInFlight {
    /// So many.
    Number(u32),
    /// Found out: more while answers come as quickly as ever, fewer when they slow down or refuse.
    Auto,
}

impl MaxInFlight {
    /// The most that this can become.
    #[must_use]
    pub const fn most(self) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Auto => auto::MOST,
        }
    }
}

/// How many attempts may begin in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// On average; above 0.
    pub per_second: f64,
    /// At once, after a pause.
    pub burst: u32,
}

/// What holds a gate shut, or lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// An attempt may begin.
    Now,
    /// One may begin, to see whether the subscriber is back.
    Probe,
    /// None before that moment.
    At(Duration),
    /// None before one in flight has ended.
    Full,
}

/// How an attempt ended, as far as a gate cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The subscriber took it.
    Answered,
    /// The subscriber did not want it, which says nothing of how quick it is.
    Rejected,
    /// A failure that a retry may mend; `message` tells messages apart.
    Failed {
        /// Which message it was.
        message: u64,
        /// Whether it says that there is too much to do: 429, 503 or no answer in time.
        overloaded: bool,
    },
    /// The subscriber asked to be left alone for so long.
    AskedToWait(Duration),
    /// The attempt was not brought to an end, and says nothing.
    Dropped,
}

/// One attempt that was let through.
#[derive(Debug)]
#[must_use = "the attempt counts as in flight until this is given back"]
pub struct Pass {
    /// Whether it is to show that the subscriber is back.
    probe: bool,
}

/// The gate before one subscriber.
#[derive(Debug)]
pub struct Gate {
    most: MaxInFlight,
    auto: Auto,
    rate: Option<Bucket>,
    /// Nothing begins before: an answer asked for it.
    hold: Option<Duration>,
    breaker: Breaker,
    ramp: Option<Ramp>,
    in_flight: u32,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(most: MaxInFlight, rate: Option<Rate>) -> Self {
        Self {
            most,
            auto: Auto::default(),
            rate: rate.map(Bucket::new),
            hold: None,
            breaker: Breaker::default(),
            ramp: None,
            in_flight: 0,
        }
    }

    /// Takes other bounds; what was learned of the subscriber stays.
    pub fn set(&mut self, most: MaxInFlight, rate: Option<Rate>) {
        self.most = most;
        if self.rate.as_ref().map(Bucket::rate) != rate {
            self.rate = rate.map(Bucket::new);
        }
    }

    /// Forgets what was learned of the subscriber: there is another one now.
    pub fn forget(&mut self) {
        self.auto = Auto::default();
        self.hold = None;
        self.breaker = Breaker::default();
        self.ramp = None;
    }

    /// Whether an attempt may begin at `now`.
    #[must_use]
    pub fn admit(&self, now: Duration) -> Admit {
        if let Some(until) = self.hold.filter(|until| now < *until) {
            return Admit::At(until);
        }
        let probe = match self.breaker.admit(now) {
            Admit::Now => false,
            Admit::Probe => true,
            shut => return shut,
        };
        if self.in_flight >= self.limit(now) {
            return match self.ramp.and_then(|ramp| ramp.next(now)) {
                Some(next) if self.in_flight < self.bound() => Admit::At(next),
                _ => Admit::Full,
            };
        }
        if let Some(next) = self.rate.as_ref().and_then(|bucket| bucket.next(now)) {
            return Admit::At(next);
        }
        if probe { Admit::Probe } else { Admit::Now }
    }

    /// An attempt begins, as [`Gate::admit`] said it may. What is returned is given back at its end.
    pub fn begin(&mut self, now: Duration) -> Pass {
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(bucket) = &mut self.rate {
            bucket.take(now);
        }
        Pass {
            probe: self.breaker.begin(now),
        }
    }

    /// An attempt ended, after `took`. `random` are 64 random bits.
    pub fn end(&mut self, pass: Pass, now: Duration, ended: Ended, took: Duration, random: u64) {
        let probe = pass.probe;
        let full = self.in_flight >= self.limit(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        match ended {
            Ended::Answered => {
                self.auto.answered(now, took, full);
                self.answered(now);
            }
            Ended::Rejected => self.answered(now),
            Ended::Failed {
                message,
                overloaded,
            } => {
                if overloaded {
                    self.auto.overloaded(now, took);
                }
                if let Some(ramp) = &mut self.ramp {
                    ramp.failed(now);
                }
                self.breaker.failed(now, message, random, probe);
            }
            Ended::AskedToWait(wait) => {
                self.auto.overloaded(now, took);
                // A shorter wait that is told later shortens none.
                let until = now.saturating_add(wait).max(self.hold.unwrap_or_default());
                self.hold = Some(until);
                self.ramp = Some(Ramp::new(until));
                // It is there, and has said when to come back: the next attempt is the probe.
                self.breaker.dropped(now, probe);
            }
            Ended::Dropped => self.breaker.dropped(now, probe),
        }
        if self
            .ramp
            .is_some_and(|ramp| ramp.limit(now) >= self.bound())
        {
            self.ramp = None;
        }
    }

    fn answered(&mut self, now: Duration) {
        if self.breaker.answered() {
            self.ramp = Some(Ramp::new(now));
        }
    }

    /// How many may be in flight at `now`.
    #[must_use]
    pub fn limit(&self, now: Duration) -> u32 {
        let bound = self.bound();
        self.ramp.map_or(bound, |ramp| ramp.limit(now).min(bound))
    }

    /// How many are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How the breaker is.
    #[must_use]
    pub fn breaker(&self, now: Duration) -> State {
        match self.breaker.state(now) {
            State::Closed if self.ramp.is_some_and(|r| r.limit(now) < self.bound()) => {
                State::Ramping
            }
            state => state,
        }
    }

    /// Until when an answer asked to be left alone.
    #[must_use]
    pub fn held_until(&self, now: Duration) -> Option<Duration> {
        self.hold.filter(|until| now < *until)
    }

    fn bound(&self) -> u32 {
        match self.most {
            MaxInFlight::Number(number) => number.max(1),
            MaxInFlight::Auto => self.auto.limit(),
        }
    }
}

#[cfg(test)]
mod tests;
