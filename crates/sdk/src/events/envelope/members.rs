use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::events::ProtocolError;

/// A member of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Name,
    Version,
    Id,
    FlowId,
    Payload,
    Metadata,
    Identity,
    Auth,
}

impl Member {
    const ALL: [Self; 8] = [
        Self::Name,
        Self::Version,
        Self::Id,
        Self::FlowId,
        Self::Payload,
        Self::Metadata,
        Self::Identity,
        Self::Auth,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Version => "version",
            Self::Id => "id",
            Self::FlowId => "flowId",
            Self::Payload => "payload",
            Self::Metadata => "metadata",
            Self::Identity => "identity",
            Self::Auth => "auth",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let is_named = |member: &Self| member.as_str().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_named)
    }
}

/// The members of an envelope, each as it stands there; of a repeated one the last.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    values: [Option<&'a RawValue>; 8],
    /// Whether there are bytes after the object.
    pub(crate) is_followed: bool,
}

impl<'a> Members<'a> {
    /// Of a JSON object; `null` is one without members.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let mut members = Self::deserialize(&mut deserializer).map_err(|error| {
            ProtocolError::new(if body.trim_ascii().is_empty() {
                format!("the body is empty: {error}")
            } else if error.is_data() {
                let (line, column) = (error.line(), error.column());
                format!("not a JSON object at line {line} column {column}")
            } else {
                format!("not JSON: {error}")
            })
        })?;
        members.is_followed = deserializer.end().is_err();
        Ok(members)
    }

    /// A member that is there and not null.
    pub(crate) fn get(&self, member: Member) -> Option<&'a RawValue> {
        self.stated(member).filter(|value| value.get() != "null")
    }

    /// A member that is there.
    pub(crate) fn stated(&self, member: Member) -> Option<&'a RawValue> {
        self.values.get(member as usize).copied().flatten()
    }
}

/// The line and the column, both from 1, at which a value of this body stands.
pub(crate) fn place(value: &RawValue, body: &[u8]) -> (usize, usize) {
    let at = value.get().as_ptr().addr() - body.as_ptr().addr();
    let before = body.get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count();
    (line, column)
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Members::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::default();
                while let Some(Key(name)) = map.next_key()? {
                    // Of an ignored member too: only so is it known to be UTF-8.
                    let value = map.next_value()?;
                    let member = Member::named(&name);
                    if let Some(it) = member.and_then(|it| members.values.get_mut(it as usize)) {
                        *it = Some(value);
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_any(Object)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
