use std::{fmt, str::FromStr};

use http::HeaderValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::{Builder, Uuid, fmt::Hyphenated};

/// The id that a message gets when it is accepted: a UUIDv7 (RFC 9562 §5.7), so that ids sort by
/// the time of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message id, which is a UUID")]
pub struct InvalidMessageId(#[source] uuid::Error);

impl InvalidMessageId {
    /// The stable short name for metrics and answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "InvalidMessageId"
    }
}

impl MessageId {
    /// An id of this time in milliseconds since 1970, and of 74 of these random bits.
    #[must_use]
    pub fn new(unix_millis: u64, random: u128) -> Self {
        let [bytes @ .., _, _, _, _, _, _] = random.to_le_bytes();
        Self(Builder::from_unix_timestamp_millis(unix_millis, &bytes).into_uuid())
    }

    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        // RFC 9562 §5.7: the first 48 bits.
        u64::try_from(self.0.as_u128() >> 80).unwrap_or_default()
    }

    /// As the value of a header; allocates nothing but the value itself.
    #[must_use]
    pub fn header_value(self) -> HeaderValue {
        let mut buffer = [0; Hyphenated::LENGTH];
        let text: &str = self.0.hyphenated().encode_lower(&mut buffer);
        // Hex digits and hyphens are always a header value.
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), formatter)
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(InvalidMessageId)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = MessageId::new(0x018f_2a3b_4c5d, u128::MAX);
        assert_eq!(id.0.get_version_num(), 7);
        assert_eq!(id.to_string(), "018f2a3b-4c5d-7fff-bfff-ffffffffffff");
    }

    proptest! {
        #[test]
        fn an_id_says_the_same_as_text_header_and_json(millis in 0u64..1 << 48, random: u128) {
            let id = MessageId::new(millis, random);
            prop_assert_eq!(id.unix_millis(), millis);
            prop_assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
            prop_assert_eq!(id.header_value(), id.to_string());
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<MessageId>(&json).unwrap(), id);
        }

        #[test]
        fn later_ids_sort_after_earlier_ones(millis in 0u64..(1 << 48) - 1, a: u128, b: u128) {
            prop_assert!(MessageId::new(millis, a) < MessageId::new(millis + 1, b));
            prop_assert!(MessageId::new(millis, a).to_string() < MessageId::new(millis + 1, b).to_string());
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".*") {
            let _parsed = text.parse::<MessageId>();
        }
    }
}
