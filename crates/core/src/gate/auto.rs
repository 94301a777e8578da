use std::time::Duration;

/// The most that is tried.
pub(super) const MOST: u32 = 1_000;
/// What is tried first.
const FIRST: f64 = 8.0;
/// Answers that take so much longer than at the best of times, and this on top, are slow.
const SLOW: f64 = 2.0;
const SLOW_BY: f64 = 0.005;
/// What is left after slow answers.
const AFTER_SLOW: f64 = 0.9;
/// What is left after refusals.
const AFTER_REFUSAL: f64 = 0.5;
/// How much of a new answer's time goes into the average.
const WEIGHT: f64 = 0.1;
/// Over how long an average is taken to be one of the times: single quick answers are none, where a
/// subscriber has quick and slow ones.
const TIMES: Duration = Duration::from_secs(1);
/// How much of the way to the average of now the best of times goes in a second, so that a subscriber
/// that became slower for good is not held down for ever.
const FORGET: f64 = 0.01;

/// Finds how many attempts a subscriber bears: one more for each round of quick answers while all
/// places are used, a tenth less when answers slow down, half when it refuses (AIMD).
#[derive(Debug)]
pub(super) struct Auto {
    limit: f64,
    /// The average of late, in seconds.
    average: Option<f64>,
    /// The lowest average that a second had.
    best: Option<f64>,
    /// The second that is under way: when it began, the sum of its answers' times, and their number.
    times: (Duration, f64, f64),
    /// Nothing is taken away before: what is in flight now began under the old bound.
    settled_at: Duration,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            limit: FIRST,
            average: None,
            best: None,
            times: (Duration::ZERO, 0.0, 0.0),
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
        let average = self
            .average
            .map_or(took, |average| (took - average).mul_add(WEIGHT, average));
        self.average = Some(average);
        self.note(now, took);
        if self
            .best
            .is_some_and(|best| average > best.mul_add(SLOW, SLOW_BY))
        {
            self.less(now, AFTER_SLOW);
        } else if full {
            self.limit = (self.limit + 1.0 / self.limit).min(f64::from(MOST));
        }
    }

    /// Takes an answer's time into the second that is under way.
    fn note(&mut self, now: Duration, took: f64) {
        let (began, sum, count) = &mut self.times;
        *sum += took;
        *count += 1.0;
        let passed = now.saturating_sub(*began);
        if passed >= TIMES {
            let average = *sum / *count;
            let best = self.best.map_or(average, |best| {
                let further = (average - best).max(0.0);
                let part = (FORGET * passed.as_secs_f64()).min(1.0);
                further.mul_add(part, best).min(average)
            });
            self.best = Some(best);
            self.times = (now, 0.0, 0.0);
        }
    }

    pub(super) fn overloaded(&mut self, now: Duration, took: Duration) {
        let took = took.as_secs_f64();
        self.average = Some(self.average.map_or(took, |average| average.max(took)));
        self.less(now, AFTER_REFUSAL);
    }

    /// Once per round: every attempt in flight will tell the same story.
    fn less(&mut self, now: Duration, factor: f64) {
        if now < self.settled_at {
            return;
        }
        self.limit = (self.limit * factor).max(1.0);
        let round = Duration::try_from_secs_f64(self.average.unwrap_or_default());
        self.settled_at = now.saturating_add(round.unwrap_or(Duration::MAX));
    }
}
