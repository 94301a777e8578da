use std::time::Duration;

use super::Rate;

/// Timers fire a millisecond late and more: what came due meanwhile is not lost to the rate.
const LATE: Duration = Duration::from_millis(5);

/// Attempts a second, at least: one in eleven days; a total that is shared by many is still more.
const LEAST: f64 = 1e-6;
/// Attempts a second, at most: what the resources allow.
const MOST: f64 = 1e6;

/// A rate as a moment: the one at which the bucket is full again (GCRA, the leaky bucket as a meter).
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// Between two, at this rate.
    apart: Duration,
    /// How far [`Self::full`] may lie ahead.
    depth: Duration,
    full: Duration,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        // The resources are checked; whoever builds a policy otherwise may not be. What is no number
        // is the slowest there is.
        let per_second = rate.per_second.clamp(LEAST, MOST);
        let per_second = if per_second.is_nan() {
            LEAST
        } else {
            per_second
        };
        let apart = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX);
        let burst = apart.saturating_mul(rate.burst.saturating_sub(1));
        Self {
            rate,
            apart,
            depth: burst.max(LATE.saturating_sub(apart)),
            full: Duration::ZERO,
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next may begin, if that is after `now`.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        let at = self.full.saturating_sub(self.depth);
        (at > now).then_some(at)
    }

    pub(super) fn take(&mut self, now: Duration) {
        self.full = self.full.max(now).saturating_add(self.apart);
    }
}
