use std::time::Duration;

/// How long a step takes.
const STEP: Duration = Duration::from_secs(1);

/// One in flight at first, then twice as many after each second without a failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    /// How many, at `since`.
    from: u32,
    since: Duration,
}

impl Ramp {
    pub(super) const fn new(since: Duration) -> Self {
        Self { from: 1, since }
    }

    pub(super) fn limit(&self, now: Duration) -> u32 {
        let steps = now.saturating_sub(self.since).as_secs();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let factor = 1u32.checked_shl(steps).unwrap_or(u32::MAX);
        self.from.saturating_mul(factor)
    }

    /// When it lets more in.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        if now < self.since {
            return Some(self.since);
        }
        let into = (now - self.since).as_nanos() % STEP.as_nanos();
        let left = STEP - Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        now.checked_add(left)
    }

    /// The second begins anew, with as many as there were.
    pub(super) fn failed(&mut self, now: Duration) {
        if now >= self.since {
            *self = Self {
                from: self.limit(now),
                since: now,
            };
        }
    }
}
