//! The delivery policy: what Bus, Channel and Subscription say, merged field by field.

use std::{num::NonZeroU32, time::Duration};

use crate::{
    gate::{MaxInFlight, Rate},
    outcome::StatusRule,
    pacing::Backoff,
};

/// The policy of one subscription, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryPolicy {
    /// Attempts after the first.
    pub retry: u32,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How long one attempt may take, connecting included.
    pub timeout: Duration,
    /// How long connecting (look-up, TCP, TLS) may take.
    pub connect_timeout: Duration,
    /// How old a message may become before it is attempted again; counted from acceptance.
    pub max_age: Option<Duration>,
    /// The longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
    /// Rules that come before the built-in outcome table.
    pub status_rules: Vec<StatusRule>,
    /// Attempts in flight at once.
    pub max_in_flight: MaxInFlight,
    /// Messages taken from the bus and not settled.
    pub max_unsettled: u32,
    /// Attempts that begin in a second.
    pub rate: Option<Rate>,
    /// What a 410 means for the messages that come after.
    pub on_gone: OnGone,
    /// Whether a 307 or 308 is followed.
    pub redirects: Redirects,
    /// Which HTTP is spoken.
    pub protocol: Protocol,
}

/// What a 410 means, beside the message's dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGone {
    /// Nothing: the next message is attempted.
    #[default]
    DeadLetter,
    /// Nothing is attempted until the subscription's spec changes.
    Pause,
}

/// Whether a 307 or 308 is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// It is an answer as any other.
    #[default]
    Never,
    /// It is, to the same scheme, host and port.
    SameHost,
}

/// Which HTTP is spoken with a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, or HTTP/2 where https negotiates it.
    #[default]
    Auto,
    /// HTTP/2 also without TLS, with prior knowledge.
    H2c,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            retry: 10,
            backoff: Backoff::default(),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            max_age: None,
            retry_after_max: Duration::from_mins(5),
            status_rules: Vec::new(),
            max_in_flight: MaxInFlight::Number(64),
            max_unsettled: 1024,
            rate: None,
            on_gone: OnGone::default(),
            redirects: Redirects::default(),
            protocol: Protocol::default(),
        }
    }
}

impl DeliveryPolicy {
    /// One of so many replicas' part of it: `max_in_flight` and `rate` are totals. A count is at least
    /// 1; what is found out (`auto`) is each replica's own, and so is all else.
    #[must_use]
    pub fn share(self, replicas: NonZeroU32) -> Self {
        let part = |total: u32| (total / replicas).max(1);
        Self {
            max_in_flight: match self.max_in_flight {
                MaxInFlight::Number(total) => MaxInFlight::Number(part(total)),
                MaxInFlight::Auto => MaxInFlight::Auto,
            },
            rate: self.rate.map(|total| Rate {
                per_second: total.per_second / f64::from(replicas.get()),
                burst: part(total.burst),
            }),
            ..self
        }
    }
}

/// What one resource says about delivery; unset fields are left to the next level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryOverrides {
    /// As [`DeliveryPolicy::retry`].
    pub retry: Option<u32>,
    /// As [`Backoff::policy`].
    pub backoff_policy: Option<crate::pacing::BackoffPolicy>,
    /// As [`Backoff::delay`].
    pub backoff_delay: Option<Duration>,
    /// As [`Backoff::max`].
    pub backoff_max: Option<Duration>,
    /// As [`Backoff::jitter`].
    pub jitter: Option<crate::pacing::Jitter>,
    /// As [`DeliveryPolicy::timeout`].
    pub timeout: Option<Duration>,
    /// As [`DeliveryPolicy::connect_timeout`].
    pub connect_timeout: Option<Duration>,
    /// As [`DeliveryPolicy::max_age`].
    pub max_age: Option<Duration>,
    /// As [`DeliveryPolicy::retry_after_max`].
    pub retry_after_max: Option<Duration>,
    /// As [`DeliveryPolicy::status_rules`]; a list replaces the whole list of the next level.
    pub status_rules: Option<Vec<StatusRule>>,
    /// The dead-letter sink's address; the empty text means none, also where the next level has one.
    pub dead_letter_sink: Option<String>,
    /// As [`DeliveryPolicy::max_in_flight`].
    pub max_in_flight: Option<MaxInFlight>,
    /// As [`DeliveryPolicy::max_unsettled`].
    pub max_unsettled: Option<u32>,
    /// As [`DeliveryPolicy::rate`].
    pub rate: Option<Rate>,
    /// As [`DeliveryPolicy::on_gone`].
    pub on_gone: Option<OnGone>,
    /// As [`DeliveryPolicy::redirects`].
    pub redirects: Option<Redirects>,
    /// As [`DeliveryPolicy::protocol`].
    pub protocol: Option<Protocol>,
}

impl DeliveryOverrides {
    /// These fields, and where they are unset, those of `below` (Subscription over Channel over Bus).
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            retry: self.retry.or(below.retry),
            backoff_policy: self.backoff_policy.or(below.backoff_policy),
            backoff_delay: self.backoff_delay.or(below.backoff_delay),
            backoff_max: self.backoff_max.or(below.backoff_max),
            jitter: self.jitter.or(below.jitter),
            timeout: self.timeout.or(below.timeout),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            max_age: self.max_age.or(below.max_age),
            retry_after_max: self.retry_after_max.or(below.retry_after_max),
            status_rules: self.status_rules.or(below.status_rules),
            dead_letter_sink: self.dead_letter_sink.or(below.dead_letter_sink),
            max_in_flight: self.max_in_flight.or(below.max_in_flight),
            max_unsettled: self.max_unsettled.or(below.max_unsettled),
            rate: self.rate.or(below.rate),
            on_gone: self.on_gone.or(below.on_gone),
            redirects: self.redirects.or(below.redirects),
            protocol: self.protocol.or(below.protocol),
        }
    }

    /// The dead-letter sink, if there is one.
    #[must_use]
    pub fn sink(&self) -> Option<&str> {
        self.dead_letter_sink.as_deref().filter(|s| !s.is_empty())
    }

    /// The policy, with the built-in defaults for what nobody set.
    ///
    /// At least one message is in flight and unsettled: a policy of none would hold everything
    /// without saying so.
    #[must_use]
    pub fn complete(self) -> DeliveryPolicy {
        let base = DeliveryPolicy::default();
        DeliveryPolicy {
            retry: self.retry.unwrap_or(base.retry),
            backoff: Backoff {
                policy: self.backoff_policy.unwrap_or(base.backoff.policy),
                delay: self.backoff_delay.unwrap_or(base.backoff.delay),
                max: self.backoff_max.unwrap_or(base.backoff.max),
                jitter: self.jitter.unwrap_or(base.backoff.jitter),
            },
            timeout: self.timeout.unwrap_or(base.timeout),
            connect_timeout: self.connect_timeout.unwrap_or(base.connect_timeout),
            max_age: self.max_age.or(base.max_age),
            retry_after_max: self.retry_after_max.unwrap_or(base.retry_after_max),
            status_rules: self.status_rules.unwrap_or(base.status_rules),
            max_in_flight: match self.max_in_flight.unwrap_or(base.max_in_flight) {
                MaxInFlight::Number(number) => MaxInFlight::Number(number.max(1)),
                MaxInFlight::Auto => MaxInFlight::Auto,
            },
            max_unsettled: self.max_unsettled.unwrap_or(base.max_unsettled).max(1),
            rate: self.rate.or(base.rate),
            on_gone: self.on_gone.unwrap_or(base.on_gone),
            redirects: self.redirects.unwrap_or(base.redirects),
            protocol: self.protocol.unwrap_or(base.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subscription_wins_field_by_field() {
        let bus = DeliveryOverrides {
            retry: Some(1),
            timeout: Some(Duration::from_secs(1)),
            dead_letter_sink: Some("bus-sink".to_owned()),
            ..Default::default()
        };
        let channel = DeliveryOverrides {
            retry: Some(2),
            max_in_flight: Some(MaxInFlight::Number(2)),
            ..Default::default()
        };
        let subscription = DeliveryOverrides {
            retry: Some(3),
            dead_letter_sink: Some(String::new()),
            ..Default::default()
        };
        let merged = subscription.over(channel).over(bus);
        assert_eq!(merged.sink(), None);
        let policy = merged.complete();
        assert_eq!(
            (policy.retry, policy.max_in_flight, policy.timeout),
            (3, MaxInFlight::Number(2), Duration::from_secs(1))
        );
        assert_eq!(policy.max_unsettled, 1024);
    }

    #[test]
    fn a_replica_has_its_part_of_what_is_a_total_and_all_of_the_rest() {
        let n = |replicas| NonZeroU32::new(replicas).unwrap_or(NonZeroU32::MIN);
        let total = DeliveryPolicy {
            max_in_flight: MaxInFlight::Number(10),
            rate: Some(Rate {
                per_second: 1.0,
                burst: 7,
            }),
            ..DeliveryPolicy::default()
        };
        assert_eq!(total.clone().share(n(1)), total);
        for (replicas, in_flight, per_second, burst) in
            [(2, 5, 0.5, 3), (4, 2, 0.25, 1), (100, 1, 0.01, 1)]
        {
            let part = total.clone().share(n(replicas));
            let rate = Rate { per_second, burst };
            assert_eq!(part.max_in_flight, MaxInFlight::Number(in_flight));
            assert_eq!(part.rate, Some(rate), "{replicas}");
            assert_eq!(part.max_unsettled, total.max_unsettled);
        }
        let auto = DeliveryPolicy {
            max_in_flight: MaxInFlight::Auto,
            ..total
        };
        assert_eq!(auto.share(n(3)).max_in_flight, MaxInFlight::Auto);
    }

    #[test]
    fn nothing_set_is_the_default() {
        let policy = DeliveryOverrides::default().complete();
        assert_eq!(policy, DeliveryPolicy::default());
    }
}
