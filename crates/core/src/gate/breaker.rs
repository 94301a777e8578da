use std::time::Duration;

use super::Admit;

/// Failures in a row that open it.
const FAILURES: u32 = 10;
/// Of so many different messages at least: one bad message is not a bad subscriber.
const MESSAGES: usize = 5;
/// How long it is open first; doubled each time a probe fails.
const OPEN: Duration = Duration::from_secs(1);
/// The longest.
const OPEN_AT_MOST: Duration = Duration::from_mins(1);

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Closed,
    /// It lets nothing through until then.
    Open {
        /// When the next probe may begin.
        until: Duration,
    },
    /// One attempt is to show, or is showing, whether the subscriber is back.
    Probing,
    /// The subscriber is back, and gets more from second to second.
    Ramping,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    /// The probe is in flight.
    Probing,
}

/// Opens after failures in a row, and then lets one attempt through from time to time.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    phase: Phase,
    failures: u32,
    /// The first messages of this row of failures.
    messages: [Option<u64>; MESSAGES],
    /// How often it opened without an answer in between.
    opened: u32,
}

impl Breaker {
    pub(super) fn admit(&self, now: Duration) -> Admit {
        match self.phase {
            Phase::Closed => Admit::Now,
            Phase::Open { until } if now < until => Admit::At(until),
            Phase::Open { .. } => Admit::Probe,
            Phase::Probing => Admit::Full,
        }
    }

    /// An attempt begins; whether it is the probe.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        let probe = matches!(self.phase, Phase::Open { until } if now >= until);
        if probe {
            self.phase = Phase::Probing;
        }
        probe
    }

    /// Whether this closes it.
    pub(super) fn answered(&mut self) -> bool {
        self.failures = 0;
        self.messages = Default::default();
        // What was sent before it opened may still be answered, and says that somebody is there.
        let was_open = !matches!(self.phase, Phase::Closed);
        self.phase = Phase::Closed;
        self.opened = 0;
        was_open
    }

    pub(super) fn failed(&mut self, now: Duration, message: u64, random: u64, probe: bool) {
        match self.phase {
            Phase::Probing if probe => self.open(now, random),
            // One that began before it opened.
            Phase::Probing | Phase::Open { .. } => {}
            Phase::Closed => {
                self.failures = self.failures.saturating_add(1);
                if !self.messages.contains(&Some(message))
                    && let Some(free) = self.messages.iter_mut().find(|known| known.is_none())
                {
                    *free = Some(message);
                }
                if self.failures >= FAILURES && self.messages.iter().all(Option::is_some) {
                    self.open(now, random);
                }
            }
        }
    }

    /// An attempt that says nothing: if it was the probe, the next one is.
    pub(super) fn dropped(&mut self, now: Duration, probe: bool) {
        if probe && matches!(self.phase, Phase::Probing) {
            self.phase = Phase::Open { until: now };
        }
    }

    pub(super) fn state(&self, now: Duration) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open { until },
            Phase::Open { .. } | Phase::Probing => State::Probing,
        }
    }

    /// From half to the whole of the time, so that many dispatchers' probes do not come at once.
    fn open(&mut self, now: Duration, random: u64) {
        let factor = 1u32.checked_shl(self.opened).unwrap_or(u32::MAX);
        let whole = OPEN.saturating_mul(factor).min(OPEN_AT_MOST);
        self.opened = (self.opened + 1).min(u32::BITS);
        let rest = whole / 2 + crate::pacing::part_of(whole / 2, random);
        self.failures = 0;
        self.messages = Default::default();
        self.phase = Phase::Open {
            until: now.saturating_add(rest),
        };
    }
}
