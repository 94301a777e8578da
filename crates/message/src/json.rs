//! The members of a JSON object, with their places in the bytes.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep the data of a structured event may nest: what serde_json reads. Subscribers written
/// with it, or with anything of a smaller stack, would fail on more.
pub const MAX_NESTING: usize = 127;

/// One member of an object. Its value is text of the object, as it stands there.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: &'a str,
}

/// A JSON value as an attribute can have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// The digits as they stand there.
    Number(&'a str),
    String(Cow<'a, str>),
    /// An array or an object.
    Nested,
}

/// The members of an object, in their order, repeated ones too.
pub(crate) fn members(object: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    serde_json::from_str::<Members<'_>>(object).map(|members| members.0)
}

impl<'a> Member<'a> {
    pub(crate) fn scalar(&self) -> Scalar<'a> {
        match self.value.as_bytes().first() {
            Some(b'n') | None => Scalar::Null,
            Some(b't') => Scalar::Bool(true),
            Some(b'f') => Scalar::Bool(false),
            Some(b'{' | b'[') => Scalar::Nested,
            // A lone surrogate is all that can be wrong with it here; then it has no characters.
            Some(b'"') => string(self.value).map_or(Scalar::Nested, Scalar::String),
            Some(_) => Scalar::Number(self.value),
        }
    }

    /// Where the value stands in the object that [`members`] was given.
    pub(crate) fn range_in(&self, object: &str) -> Range<usize> {
        let start = self
            .value
            .as_ptr()
            .addr()
            .saturating_sub(object.as_ptr().addr());
        start..start.saturating_add(self.value.len())
    }
}

/// The characters of a JSON string.
pub(crate) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// How deep valid JSON nests; 0 for a string or a number. Takes no stack, however deep it is.
#[must_use]
pub fn nesting(value: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in value.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<Member<'de>>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // What most events have, and few more.
                let mut members = Vec::with_capacity(8);
                while let Some(Name(name)) = map.next_key()? {
                    let value = map.next_value::<&RawValue>()?.get();
                    members.push(Member { name, value });
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Members)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_are_found_where_they_stand() {
        let object = " { \"a\" : 1 ,\"b\\u0063\":[ {} ] , \"a\":\"\\n\" } ";
        let members = members(object).unwrap();
        let names: Vec<_> = members.iter().map(|member| &*member.name).collect();
        assert_eq!(names, ["a", "bc", "a"]);
        let values: Vec<_> = members.iter().map(|member| member.value).collect();
        assert_eq!(values, ["1", "[ {} ]", "\"\\n\""]);
        for member in &members {
            assert_eq!(&object[member.range_in(object)], member.value);
        }
    }

    #[test]
    fn scalars_are_told_apart() {
        let object =
            r#"{"a":null,"b":true,"c":false,"d":-1.5e3,"e":"x\u00e9","f":[],"g":{},"h":"\ud800"}"#;
        let scalars: Vec<_> = members(object)
            .unwrap()
            .iter()
            .map(Member::scalar)
            .collect();
        let expected = [
            Scalar::Null,
            Scalar::Bool(true),
            Scalar::Bool(false),
            Scalar::Number("-1.5e3"),
            Scalar::String("xé".into()),
            Scalar::Nested,
            Scalar::Nested,
            Scalar::Nested,
        ];
        assert_eq!(scalars, expected);
    }

    #[test]
    fn what_nests_no_deeper_than_allowed_is_read_by_serde_json() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for (depth, is_read) in [(MAX_NESTING, true), (MAX_NESTING + 1, false)] {
            let read = serde_json::from_str::<serde_json::Value>(&nested(depth));
            assert_eq!(read.is_ok(), is_read, "{depth}");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(nesting(r#""[[[""#), 0);
        assert_eq!(nesting(r#"{"a\"[":["]",{}]}"#), 3);
        assert_eq!(nesting("[][][]"), 1);
    }

    #[test]
    fn a_million_brackets_do_not_overflow_the_stack() {
        let object = format!(
            "{{\"data\":{}{}}}",
            "[".repeat(1_000_000),
            "]".repeat(1_000_000)
        );
        assert_eq!(nesting(members(&object).unwrap()[0].value), 1_000_000);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _read = members(&text);
            let _nesting = nesting(&text);
            let _string = string(&text);
        }
    }
}
