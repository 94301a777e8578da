//! When the next attempt comes. Pure; what an answer means is [`crate::outcome`]'s.

use std::time::{Duration, SystemTime};

use crate::{outcome::Cause, policy::DeliveryPolicy};

/// How waits grow from retry to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// `delay × n`
    Linear,
    /// `delay × 2^(n-1)`
    Exponential,
}

/// How waits are spread, so that many subscribers' retries do not come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Uniform in [half, whole].
    Equal,
    /// Uniform in [0, whole].
    Full,
    /// The whole wait.
    None,
}

/// The waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How they grow.
    pub policy: BackoffPolicy,
    /// The first wait.
    pub delay: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How they are spread.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            policy: BackoffPolicy::Exponential,
            delay: Duration::from_millis(200),
            max: Duration::from_mins(1),
            jitter: Jitter::Equal,
        }
    }
}

impl Backoff {
    /// The wait before retry `n` (from 1): grown, then capped, then jittered by `random`.
    #[must_use]
    pub fn wait(&self, n: u32, random: u64) -> Duration {
        let factor = match self.policy {
            BackoffPolicy::Linear => n.max(1),
            BackoffPolicy::Exponential => 1u32
                .checked_shl(n.saturating_sub(1))
                .filter(|f| *f > 0)
                .unwrap_or(u32::MAX),
        };
        let whole = self.delay.saturating_mul(factor).min(self.max);
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => part_of(whole, random),
            Jitter::Equal => {
                let half = whole / 2;
                half + part_of(whole.saturating_sub(half), random)
            }
        }
    }
}

/// A uniform part of a duration, by 64 random bits.
pub(crate) fn part_of(whole: Duration, random: u64) -> Duration {
    let nanos = whole.as_nanos().min(u128::from(u64::MAX));
    let part = (nanos * u128::from(random)) >> 64;
    u64::try_from(part).map_or(whole, Duration::from_nanos)
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, after this wait.
    After(Duration),
    /// The dead letter.
    DeadLetter(Cause),
}

/// Decides after `attempts` attempts, the last of which failed in a way that a retry may mend.
///
/// `retry_after` is what the answer asked for, if it did; it is capped by the policy and never
/// shortens the wait.
#[must_use]
pub fn next(
    policy: &DeliveryPolicy,
    attempts: u32,
    retry_after: Option<Duration>,
    random: u64,
) -> Next {
    if attempts > policy.retry {
        return Next::DeadLetter(Cause::Exhausted);
    }
    let wait = policy.backoff.wait(attempts, random);
    let asked = retry_after.map_or(Duration::ZERO, |after| after.min(policy.retry_after_max));
    Next::After(wait.max(asked))
}

/// Whether a message is past the policy's `maxAge`. A clock set back makes nothing expire.
#[must_use]
pub fn expired(policy: &DeliveryPolicy, accepted_at: SystemTime, now: SystemTime) -> bool {
    policy.max_age.is_some_and(|max_age| {
        now.duration_since(accepted_at)
            .is_ok_and(|age| age > max_age)
    })
}

#[cfg(test)]
#[path = "pacing/tests.rs"]
mod tests;
