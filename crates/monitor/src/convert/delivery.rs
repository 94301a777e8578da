//! `delivery` of a Bus, Channel or Subscription.

use std::time::Duration;

use busway_api::{delivery as api, reason::Reason};
use busway_core::{
    duration,
    gate::{MaxInFlight, Rate},
    outcome::{RuleAction, StatusRule},
    pacing::{BackoffPolicy, Jitter},
    policy::{DeliveryOverrides, OnGone, Protocol, Redirects},
};

use super::Problem;

/// What a resource says of delivery. The API server has checked the forms already; a text that it
/// let through and that is none is told by its path.
pub(crate) fn overrides(delivery: Option<&api::Delivery>) -> Result<DeliveryOverrides, Problem> {
    let Some(d) = delivery else {
        return Ok(DeliveryOverrides::default());
    };
    Ok(DeliveryOverrides {
        retry: d.retry,
        backoff_policy: d.backoff_policy.map(|policy| match policy {
            api::BackoffPolicy::Exponential => BackoffPolicy::Exponential,
            api::BackoffPolicy::Linear => BackoffPolicy::Linear,
        }),
        backoff_delay: time("backoffDelay", d.backoff_delay.as_deref())?,
        backoff_max: time("backoffMax", d.backoff_max.as_deref())?,
        jitter: d.jitter.map(|jitter| match jitter {
            api::Jitter::Equal => Jitter::Equal,
            api::Jitter::Full => Jitter::Full,
            api::Jitter::None => Jitter::None,
        }),
        timeout: time("timeout", d.timeout.as_deref())?,
        connect_timeout: time("connectTimeout", d.connect_timeout.as_deref())?,
        max_age: time("maxAge", d.max_age.as_deref())?,
        retry_after_max: time("retryAfterMax", d.retry_after_max.as_deref())?,
        status_rules: d.status_rules.as_deref().map(rules).transpose()?,
        dead_letter_sink: d.dead_letter_sink.as_ref().map(ToString::to_string),
        max_in_flight: d.max_in_flight.map(|most| match most {
            api::MaxInFlight::Number(number) => MaxInFlight::Number(number),
            api::MaxInFlight::Auto => MaxInFlight::Auto,
        }),
        max_unsettled: d.max_unsettled,
        rate: d.rate.map(|rate| Rate {
            per_second: rate.per_second,
            burst: rate.burst,
        }),
        on_gone: d.on_gone.map(|on_gone| match on_gone {
            api::OnGone::DeadLetter => OnGone::DeadLetter,
            api::OnGone::Pause => OnGone::Pause,
        }),
        redirects: d.redirects.map(|redirects| match redirects {
            api::Redirects::Never => Redirects::Never,
            api::Redirects::SameHost => Redirects::SameHost,
        }),
        protocol: d.protocol.map(|protocol| match protocol {
            api::Protocol::Auto => Protocol::Auto,
            api::Protocol::H2C => Protocol::H2c,
        }),
    })
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Duration>, Problem> {
    text.map(duration::parse)
        .transpose()
        .map_err(|error| invalid(&format!("spec.delivery.{field}"), &error.to_string()))
}

fn rules(rules: &[api::StatusRule]) -> Result<Vec<StatusRule>, Problem> {
    rules
        .iter()
        .enumerate()
        .map(|(n, rule)| {
            let action = match rule.action {
                api::StatusAction::Retry => RuleAction::Retry,
                api::StatusAction::Reject => RuleAction::Reject,
                api::StatusAction::Accept => RuleAction::Accept,
            };
            StatusRule::new(&rule.status, action).map_err(|error| {
                let path = format!("spec.delivery.statusRules[{n}].status");
                invalid(&path, &error.to_string())
            })
        })
        .collect()
}

pub(crate) fn invalid(path: &str, why: &str) -> Problem {
    Problem::new(Reason::InvalidSpec, format!("{path}: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn read(delivery: Value) -> Result<DeliveryOverrides, Problem> {
        overrides(Some(&serde_json::from_value(delivery).unwrap()))
    }

    #[test]
    fn durations_are_read_in_both_forms() {
        for (text, millis) in [
            ("0s", 0),
            ("1ms", 1),
            ("1m30s", 90_000),
            ("PT1M30S", 90_000),
            ("PT0.5S", 500),
            ("8760h", 31_536_000_000),
            ("PT8760H", 31_536_000_000),
        ] {
            let time = Some(Duration::from_millis(millis));
            let own = read(json!({
                "backoffDelay": text, "backoffMax": text, "timeout": text,
                "connectTimeout": text, "maxAge": text, "retryAfterMax": text,
            }));
            let expected = DeliveryOverrides {
                backoff_delay: time,
                backoff_max: time,
                timeout: time,
                connect_timeout: time,
                max_age: time,
                retry_after_max: time,
                ..DeliveryOverrides::default()
            };
            assert_eq!(own, Ok(expected), "{text}");
        }
    }

    #[test]
    fn numbers_at_their_limits_are_what_the_policy_has() {
        for (retry, in_flight, unsettled, per_second, burst) in [
            (0, 1, 1, 0.001, 1),
            (1000, 10_000, 100_000, 1_000_000.0, 1_000_000),
        ] {
            let policy = read(json!({
                "retry": retry, "maxInFlight": in_flight, "maxUnsettled": unsettled,
                "rate": {"perSecond": per_second, "burst": burst},
            }));
            let policy = policy.unwrap().complete();
            assert_eq!((policy.retry, policy.max_unsettled), (retry, unsettled));
            assert_eq!(policy.max_in_flight, MaxInFlight::Number(in_flight));
            assert_eq!(policy.rate, Some(Rate { per_second, burst }));
        }
    }

    /// What an older or a wrong definition let through.
    #[test]
    fn what_is_past_the_limits_is_refused_by_its_path_and_never_wraps_around() {
        for (delivery, path) in [
            (json!({"timeout": "-1s"}), "spec.delivery.timeout"),
            (
                json!({"maxAge": "99999999999999999999h"}),
                "spec.delivery.maxAge",
            ),
            (json!({"backoffMax": "P1Y"}), "spec.delivery.backoffMax"),
            (
                json!({"retryAfterMax": "soon"}),
                "spec.delivery.retryAfterMax",
            ),
            (
                json!({"statusRules": [{"status": "4xx", "action": "retry"}, {"status": "999", "action": "retry"}]}),
                "spec.delivery.statusRules[1].status",
            ),
        ] {
            let problem = read(delivery).unwrap_err();
            assert!(problem.message.starts_with(path), "{problem:?}");
        }
        for number in [json!(-1), json!(4_294_967_296_u64), json!(1.5)] {
            for field in ["retry", "maxUnsettled", "maxInFlight"] {
                let decoded = serde_json::from_value::<api::Delivery>(json!({field: number}));
                assert!(decoded.is_err(), "{field}: {number}");
            }
        }
        // None at all would hold everything without a word.
        assert!(serde_json::from_value::<api::Delivery>(json!({"maxInFlight": 0})).is_err());
        let policy = read(json!({"maxUnsettled": 0})).unwrap().complete();
        assert_eq!(policy.max_unsettled, 1);
    }
}
