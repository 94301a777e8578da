//! Strings with a form: durations, sizes, addresses. They stay text here; whoever uses them parses them once.
//!
//! Their forms are CEL rules and no `pattern`, because a rule's message can say what would have been right.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use kube::core::{Message, Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest duration text; the longest sensible one, `99999h59999m999999.999s`, has 23 characters.
pub const MAX_DURATION_TEXT: u32 = 24;
/// Longest size text.
pub const MAX_SIZE_TEXT: u32 = 20;
/// Longest subscriber, reply or dead-letter address.
pub const MAX_ADDRESS_TEXT: u32 = 1024;
/// Longest name of an object (RFC 1123 subdomain).
pub const MAX_OBJECT_NAME: u32 = 253;
/// Longest Channel name: `<name>-channel` must be a Service name of at most 63 characters.
pub const MAX_CHANNEL_NAME: u32 = 55;

/// `1h30m`, `200ms`, `1.5s`, and the time part of ISO-8601, `PT1H30M`.
const DURATION: &str = "^(([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,8}ms)?\
|PT([0-9]{1,5}H)?([0-9]{1,5}M)?([0-9]{1,6}([.][0-9]{1,3})?S)?)$";
const SIZE: &str = "^[0-9]{1,12}(k|M|G|T|Ki|Mi|Gi|Ti)?$";
const HOST: &str = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*[.]?";

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "maxLength": $max })
            }
        }
    };
}

text! {
    /// A duration as a person writes it: `200ms`, `30s`, `1h30m`, or ISO-8601 `PT1H30M`.
    DurationText, MAX_DURATION_TEXT
}
text! {
    /// A number of bytes: `1048576`, `512Ki`, `64Mi`.
    SizeText, MAX_SIZE_TEXT
}
text! {
    /// Where messages are POSTed: a DNS name, `name:port/path`, or an http(s) URL.
    AddressText, MAX_ADDRESS_TEXT
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration, written like 200ms, 30s, 1h30m or PT1H30M")]
pub struct NoDuration;

/// Reads a [`DurationText`], and whatever else is a number and a unit (`h`, `m`, `s`, `ms`, `us`, `ns`), once or several
/// times: as the API server does.
///
/// # Errors
/// On anything else, and past 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, NoDuration> {
    let iso = text.strip_prefix("PT").map(str::to_ascii_lowercase);
    let mut rest = iso.as_deref().unwrap_or(text);
    let mut nanos = 0_u64;
    if rest.is_empty() {
        return Err(NoDuration);
    }
    while !rest.is_empty() {
        let (part, after) = first_part(rest).ok_or(NoDuration)?;
        nanos = nanos.checked_add(part).ok_or(NoDuration)?;
        rest = after;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The first number and unit in nanoseconds, and what follows.
fn first_part(text: &str) -> Option<(u64, &str)> {
    /// Longer names first: `ms` is no `m`.
    const UNITS: [(&str, u64); 6] = [
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let (unit, rest) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((*unit, rest.strip_prefix(name)?)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() && !fraction.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanos = u128::from(whole) * u128::from(unit);
    let mut scale = u128::from(unit);
    for digit in fraction.chars() {
        scale /= 10;
        nanos += u128::from(digit.to_digit(10)?) * scale;
    }
    Some((u64::try_from(nanos).ok()?, rest))
}

/// A duration of that form, from `least` to `most`.
pub(crate) fn duration(least: &str, most: &str) -> Rule {
    let value = "duration(self.startsWith('PT') ? self.substring(2).lowerAscii() : self)";
    Rule::new(format!(
        "self.matches('{DURATION}') && self != '' && self != 'PT' && {value} >= duration('{least}') && {value} <= duration('{most}')"
    ))
    .message(Message::Message(format!(
        "must be a duration from {least} to {most}, written like 200ms, 30s, 1h30m or PT1H30M"
    )))
}

/// A size of that form, from `least` to `most`.
pub(crate) fn size(least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "self.matches('{SIZE}') && {}",
        within_sizes(least, most)
    ))
    .message(Message::Message(format!(
        "must be a size from {least} to {most}, written like 512Ki, 64Mi or \"1048576\""
    )))
}

/// A percentage or a size of that form, from `least` to `most`.
pub(crate) fn share_or_size(least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "self.matches('^([1-9]|[1-9][0-9]|100)%$') || (self.matches('{SIZE}') && {})",
        within_sizes(least, most)
    ))
    .message(Message::Message(format!(
        "must be a share like 50%, or a size from {least} to {most} like 256Mi"
    )))
}

fn within_sizes(least: &str, most: &str) -> String {
    format!(
        "quantity(self).compareTo(quantity('{least}')) >= 0 && quantity(self).compareTo(quantity('{most}')) <= 0"
    )
}

/// An address of one of the three forms.
pub(crate) fn address() -> Rule {
    Rule::new(format!("self.matches('{}')", address_pattern()))
        .message("must be a DNS name, name:port/path, or an http:// or https:// URL with a host")
}

/// An address of one of the three forms, or the empty string.
pub(crate) fn address_or_none() -> Rule {
    Rule::new(format!("self == '' || self.matches('{}')", address_pattern())).message(
        "must be a DNS name, name:port/path, or an http:// or https:// URL with a host; \"\" for none",
    )
}

fn address_pattern() -> String {
    format!(
        "^(https?://[^/?#@\\\\s]+([/?#][^\\\\s]*)?|https?://[^/?#@\\\\s]+@[^/?#@\\\\s]+([/?#][^\\\\s]*)?|{HOST}(:[0-9]{{1,5}})?(/[^\\\\s]*)?)$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_schema_takes_them() {
        for (text, millis) in [
            ("0s", 0),
            ("200ms", 200),
            ("1h30m", 5_400_000),
            ("PT1H30M", 5_400_000),
            ("PT0.5S", 500),
            ("1.5h30m", 7_200_000),
            ("5s10m", 605_000),
            (".5s", 500),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "PT",
            "5",
            "s",
            "1h ",
            "-1s",
            "1..5s",
            "1 hour",
            "9999999999h",
        ] {
            assert_eq!(parse_duration(text), Err(NoDuration), "{text:?}");
        }
    }
}
