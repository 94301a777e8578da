//! How deliveries of a subscription go, as its status shows it: seldom, and only when it matters.

use std::time::{Duration, SystemTime};

use busway_api::{
    conditions::{ConditionType, Said},
    reason::Reason,
};
use busway_core::serving::Health;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use tokio::time::Instant;

/// Failures for so long are told.
const FAILING_AFTER: Duration = Duration::from_mins(1);
/// An overflow or an expiry is told for so long after the last one.
const TOLD_FOR: Duration = Duration::from_mins(5);
/// The backlog of one object is refreshed at most so often.
const BACKLOG_EVERY: Duration = Duration::from_mins(1);
/// Writes of these for one bus: a second's worth.
pub(crate) const WRITES_PER_SECOND: u32 = 20;

/// What the status shows of deliveries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delivering {
    pub(crate) trouble: Option<(Reason, String)>,
    pub(crate) backlog: Option<i64>,
    pub(crate) oldest: Option<Time>,
    pub(crate) refreshed: Option<Instant>,
}

impl Delivering {
    pub(crate) fn said(&self) -> Said {
        match &self.trouble {
            None => Said::yes(ConditionType::Delivering, Reason::SubscriberAnswers, ""),
            Some((reason, message)) => {
                Said::no(ConditionType::Delivering, *reason, message.clone())
            }
        }
    }

    /// What is to be shown now, if it differs enough from what is shown.
    pub(crate) fn refresh(&self, health: &Health, wall: SystemTime, now: Instant) -> Option<Self> {
        let trouble = trouble(health, wall);
        let count = health
            .backlog
            .map(|b| i64::try_from(b.count).unwrap_or(i64::MAX));
        let may = self
            .refreshed
            .is_none_or(|at| now.saturating_duration_since(at) >= BACKLOG_EVERY);
        let refreshes = may && matters(self.backlog, count);
        if trouble == self.trouble && !refreshes {
            return None;
        }
        let mut next = Self {
            trouble,
            ..self.clone()
        };
        if refreshes {
            next.backlog = count;
            next.oldest = health.backlog.and_then(|b| b.oldest).and_then(time);
            next.refreshed = Some(now);
        }
        Some(next)
    }
}

/// It crossed 0, or changed by a quarter.
fn matters(shown: Option<i64>, now: Option<i64>) -> bool {
    match (shown, now) {
        (Some(shown), Some(now)) => {
            (shown == 0) != (now == 0) || shown.abs_diff(now) * 4 >= shown.unsigned_abs().max(1)
        }
        (None, None) => false,
        (None, Some(_)) | (Some(_), None) => true,
    }
}

fn trouble(health: &Health, wall: SystemTime) -> Option<(Reason, String)> {
    let recent = |at: Option<SystemTime>| {
        at.is_some_and(|at| wall.duration_since(at).is_ok_and(|age| age < TOLD_FOR))
    };
    let last = health.last_error.as_deref().unwrap_or("no answer");
    if health.gone {
        return Some((Reason::Gone, "the subscriber answered 410".to_owned()));
    }
    if let Some(since) = health.failing_since
        && wall
            .duration_since(since)
            .is_ok_and(|age| age >= FAILING_AFTER)
    {
        let since = time(since).map_or_else(String::new, |t| format!(" since {}", t.0));
        return Some((
            Reason::SubscriberFailing,
            format!("every attempt has failed{since}; the last with {last}"),
        ));
    }
    if recent(health.last_overflow) {
        let message = "the queue is full and its oldest messages are given up";
        return Some((Reason::Overflowing, message.to_owned()));
    }
    if recent(health.last_expiry) {
        let message = "messages grew older than maxAge before they could be delivered";
        return Some((Reason::MessagesExpired, message.to_owned()));
    }
    None
}

/// To the second, as Kubernetes writes times.
pub(crate) fn time(at: SystemTime) -> Option<Time> {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let seconds = i64::try_from(seconds).ok()?;
    Timestamp::from_second(seconds).ok().map(Time)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use busway_core::bus::Backlog;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn with_backlog(count: u64) -> Health {
        Health {
            backlog: Some(Backlog {
                count,
                oldest: Some(at(5)),
                in_flight: 0,
            }),
            ..Health::default()
        }
    }

    #[test]
    fn failures_are_told_after_a_minute_with_the_last_answer_and_since_when() {
        let health = Health {
            failing_since: Some(at(100)),
            last_error: Some("503".to_owned()),
            ..Health::default()
        };
        assert_eq!(trouble(&health, at(159)), None);
        let (reason, message) = trouble(&health, at(160)).unwrap();
        assert_eq!(reason, Reason::SubscriberFailing);
        assert!(
            message.contains("503") && message.contains("1970-01-01T00:01:40Z"),
            "{message}"
        );
    }

    #[test]
    fn an_overflow_an_expiry_and_a_gone_subscriber_are_told() {
        let overflow = Health {
            last_overflow: Some(at(10)),
            ..Health::default()
        };
        let expiry = Health {
            last_expiry: Some(at(10)),
            ..Health::default()
        };
        let gone = Health {
            gone: true,
            ..Health::default()
        };
        for (health, reason) in [
            (&overflow, Reason::Overflowing),
            (&expiry, Reason::MessagesExpired),
            (&gone, Reason::Gone),
        ] {
            assert_eq!(trouble(health, at(20)).map(|t| t.0), Some(reason));
        }
        assert_eq!(trouble(&overflow, at(1000)), None);
    }

    #[test]
    fn a_backlog_is_refreshed_once_a_minute_and_only_when_it_matters() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let first = Delivering::default()
            .refresh(&with_backlog(0), at(0), now)
            .unwrap();
        assert_eq!(first.backlog, Some(0));
        assert_eq!(
            first.refresh(&with_backlog(10), at(0), now),
            None,
            "too soon"
        );
        let second = first
            .refresh(&with_backlog(100), at(0), now + minute)
            .unwrap();
        assert_eq!(
            (second.backlog, second.oldest.clone()),
            (Some(100), time(at(5)))
        );
        assert_eq!(
            second.refresh(&with_backlog(120), at(0), now + 2 * minute),
            None
        );
        let third = second
            .refresh(&with_backlog(125), at(0), now + 2 * minute)
            .unwrap();
        assert_eq!(
            third
                .refresh(&with_backlog(0), at(0), now + 3 * minute)
                .unwrap()
                .backlog,
            Some(0)
        );
    }
}
