//! How messages are delivered: merged field by field, Subscription over Channel over Bus over the default.

use std::borrow::Cow;
use std::fmt;

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{self, AddressText, DurationText};

/// Most attempts in flight for one subscription.
pub const MAX_IN_FLIGHT: u32 = 10_000;

/// How messages are delivered. What is unset here comes from the Channel, then the Bus, then the default;
/// lists and nested objects are taken as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Attempts after the first one. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub retry: Option<u32>,
    /// How the delay grows from retry to retry: `exponential` doubles it, `linear` adds it. Default exponential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_policy: Option<BackoffPolicy>,
    /// Delay before the first retry. Default 200ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("1ms", "1h")]))]
    pub backoff_delay: Option<DurationText>,
    /// Longest delay between two attempts. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("1ms", "24h")]))]
    pub backoff_max: Option<DurationText>,
    /// How delays are spread: `equal` between half and whole, `full` between 0 and whole, `none`. Default equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// Longest time of one attempt, from connecting to the end of the answer. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("1ms", "1h")]))]
    pub timeout: Option<DurationText>,
    /// Longest time to connect, TLS included. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("1ms", "5m")]))]
    pub connect_timeout: Option<DurationText>,
    /// Longest time from acceptance to delivery; a message older than that is expired and goes to the dead letter.
    /// Unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("1ms", "8760h")]))]
    pub max_age: Option<DurationText>,
    /// Longest Retry-After that is honoured; a longer one counts as this. Default 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("0s", "24h")]))]
    pub retry_after_max: Option<DurationText>,
    /// What a status means, where it differs from the built-in table. The first rule that fits decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub status_rules: Option<Vec<StatusRule>>,
    /// Where a message goes that could not be delivered: an address as in `subscriber`; a channel's works.
    /// `""` means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::address_or_none()]))]
    pub dead_letter_sink: Option<AddressText>,
    /// Most attempts in flight at once, over all replicas; or `auto`: adapted to latency and refusals. Default 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// Most messages taken from the bus and not yet settled, per replica: in flight, in backoff, waiting. Default 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_unsettled: Option<u32>,
    /// Most deliveries a second, over all replicas. Unset: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What a 410 means beside the message's dead letter: `dead-letter` goes on with the next message, `pause` holds
    /// the subscription until its spec changes. Default dead-letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_gone: Option<OnGone>,
    /// Whether a 307 or 308 is followed: `Never`, or within the `SameHost`. What is followed is part of its attempt:
    /// it counts neither as another attempt nor for `rate`. Default Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
    /// `Auto`: HTTP/1.1, or HTTP/2 where https negotiates it; `H2C`: HTTP/2 without TLS. Default Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// How the delay grows from retry to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "described where they are used")]
pub enum BackoffPolicy {
    Exponential,
    Linear,
}

/// How delays are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "described where they are used")]
pub enum Jitter {
    Equal,
    Full,
    None,
}

/// What happens to a subscription whose subscriber answers 410.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "described where they are used")]
pub enum OnGone {
    DeadLetter,
    Pause,
}

/// Whether redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum Redirects {
    Never,
    SameHost,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum Protocol {
    Auto,
    H2C,
}

/// What one status, or one class of statuses, means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusRule {
    /// A status (`"418"`) or a class (`"4xx"`).
    #[schemars(length(min = 3, max = 3))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self.matches('^[1-5](xx|[0-9][0-9])$')").message("must be a status like \"418\" or a class like \"4xx\"")]))]
    pub status: String,
    /// `retry` tries again, `reject` goes straight to the dead letter, `accept` counts as delivered.
    pub action: StatusAction,
}

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "described where they are used")]
pub enum StatusAction {
    Retry,
    Reject,
    Accept,
}

/// Most deliveries a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Deliveries a second; below 1 for one in several seconds.
    // A rule and no minimum: a server cuts the minimum to a whole number when the value is one.
    #[schemars(range(max = 1_000_000.0), extend("x-kubernetes-validations" = [Rule::new("self >= 0.001").message("must be at least 0.001: one in 1000 seconds")]))]
    pub per_second: f64,
    /// Deliveries that may come at once after a pause.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

/// Most attempts in flight: a number, or adapted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxInFlight {
    /// At most so many, from 1 to [`MAX_IN_FLIGHT`].
    Number(u32),
    /// Adapted to latency and refusals.
    Auto,
}

impl Serialize for MaxInFlight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for MaxInFlight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaxInFlightVisitor)
    }
}

struct MaxInFlightVisitor;

impl Visitor<'_> for MaxInFlightVisitor {
    type Value = MaxInFlight;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from 1 to {MAX_IN_FLIGHT}, or \"auto\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<MaxInFlight, E> {
        match u32::try_from(number) {
            Ok(number @ 1..=MAX_IN_FLIGHT) => Ok(MaxInFlight::Number(number)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<MaxInFlight, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxInFlight, E> {
        match (text, text.parse()) {
            ("auto", _) => Ok(MaxInFlight::Auto),
            (_, Ok(number)) => self.visit_u64(number),
            (_, Err(_)) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl JsonSchema for MaxInFlight {
    fn schema_name() -> Cow<'static, str> {
        "MaxInFlight".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 5,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^(auto|[1-9][0-9]{0,3}|10000)$')",
                "message": "must be a number from 1 to 10000, or \"auto\"",
            }],
        })
    }
}
