use std::time::Duration;

/// The most that is tried.
pub(super) const MOST: u32 = 1_000;
/// What is tried first.
const FIRST: f64 = 8.0;
/// An answer that takes so much longer than the quickest, and this on top, is slow.
const SLOW: f64 = 2.0;
const SLOW_BY: Duration = Duration::from_millis(5);
/// What is left after slow answers.
const AFTER_SLOW: f64 = 0.9;
/// What is left after refusals.
const AFTER_REFUSAL: f64 = 0.5;
/// How much of a new answer's time goes into the average.
const WEIGHT: f64 = 0.1;
/// How much of the way to the average the quickest time goes in a second, so that a subscriber that
/// became slower for good is not held down for ever.
const FORGET: f64 = 0.01;

/// Finds how many attempts a subscriber bears: one more for each round of quick answers while all
/// places are used, a tenth less when answers slow down, half when it refuses (AIMD).
#[derive(Debug)]
pub(super) struct Auto {
    limit: f64,
    /// The quickest answer, about, in seconds.
    quickest: Option<f64>,
    /// The average of late.
    average: f64,
    answered_at: Duration,
    /// Nothing is taken away before: what is in flight now began under the old bound.
    settled_at: Duration,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            limit: FIRST,
            quickest: None,
            average: 0.0,
            answered_at: Duration::ZERO,
            settled_at: Duration::ZERO,
        }
    }
}

impl Auto {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 1 to MOST"
    )]
    pub(super) const fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// An answer came after `took`; `full` says whether all places were used.
    pub(super) fn answered(&mut self, now: Duration, took: Duration, full: bool) {
        let took = took.as_secs_f64();
        let passed = now.saturating_sub(self.answered_at).as_secs_f64();
        self.answered_at = now;
        let quickest = self.quickest.map_or(took, |known| {
            let further = (self.average - known).max(0.0);
            (known + further * (FORGET * passed).min(1.0)).min(took)
        });
        self.average = match self.quickest {
            Some(_) => (took - self.average).mul_add(WEIGHT, self.average),
            None => took,
        };
        self.quickest = Some(quickest);
        if self.average > quickest * SLOW + SLOW_BY.as_secs_f64() {
            self.less(now, AFTER_SLOW);
        } else if full {
            self.limit = (self.limit + 1.0 / self.limit).min(f64::from(MOST));
        }
    }

    pub(super) fn overloaded(&mut self, now: Duration, took: Duration) {
        self.average = self.average.max(took.as_secs_f64());
        self.less(now, AFTER_REFUSAL);
    }

    /// Once per round: every attempt in flight will tell the same story.
    fn less(&mut self, now: Duration, factor: f64) {
        if now < self.settled_at {
            return;
        }
        self.limit = (self.limit * factor).max(1.0);
        let round = Duration::try_from_secs_f64(self.average).unwrap_or(Duration::MAX);
        self.settled_at = now.saturating_add(round);
    }
}
