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
