use std::{borrow::Cow, ops::Range};

use crate::{
    json::{self, Member, Scalar},
    value::is_attribute_name,
};

/// Attributes of one event that are remembered: more than any real one has, and a bound on what an
/// event of a thousand tiny ones makes a message hold beside its bytes. One that has more is read
/// anew each time.
const MAX_KEPT: usize = 64;
/// Bytes of values that do not stand in the event as they are (escapes), likewise.
const MAX_KEPT_BYTES: usize = 4096;

/// Where the attributes stand in the body of an event in structured mode.
#[derive(Debug)]
pub(crate) enum Members {
    Kept(Box<[Entry]>),
    /// Too many to be remembered.
    Many,
}

#[derive(Debug)]
pub(crate) struct Entry {
    name: Place,
    value: Place,
}

#[derive(Debug)]
enum Place {
    At(Range<usize>),
    Own(Box<str>),
}

impl Members {
    /// Of any bytes; those that are no event have none.
    pub(crate) fn of(body: &[u8]) -> Self {
        let Ok(event) = std::str::from_utf8(body) else {
            return Self::Kept(Box::default());
        };
        let mut entries = Vec::new();
        let mut own_bytes = 0;
        for (name, value) in attributes(event) {
            let entry = Entry {
                name: Place::of(name, event),
                value: Place::of(value, event),
            };
            own_bytes += entry.name.own_bytes() + entry.value.own_bytes();
            if entries.len() == MAX_KEPT || own_bytes > MAX_KEPT_BYTES {
                return Self::Many;
            }
            entries.push(entry);
        }
        Self::Kept(entries.into())
    }

    pub(crate) fn get<'a>(&'a self, body: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
        match self {
            Self::Kept(entries) => entries
                .iter()
                .find(|entry| entry.name.bytes(body) == name.as_bytes())
                .and_then(|entry| entry.value.text(body))
                .map(Cow::Borrowed),
            Self::Many => attributes(std::str::from_utf8(body).ok()?)
                .find(|(found, _)| found == name)
                .map(|(_, value)| value),
        }
    }
}

impl Place {
    fn of(text: Cow<'_, str>, event: &str) -> Self {
        match text {
            Cow::Owned(text) => Self::Own(text.into()),
            Cow::Borrowed(text) => {
                let start = text.as_ptr().addr().wrapping_sub(event.as_ptr().addr());
                let end = start.wrapping_add(text.len());
                match event.get(start..end) {
                    Some(same) if same == text => Self::At(start..end),
                    // A constant, as `true`.
                    _ => Self::Own(text.into()),
                }
            }
        }
    }

    fn own_bytes(&self) -> usize {
        match self {
            Self::At(_) => 0,
            Self::Own(text) => text.len(),
        }
    }

    fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Self::At(range) => body.get(range.clone()).unwrap_or_default(),
            Self::Own(text) => text.as_bytes(),
        }
    }

    fn text<'a>(&'a self, body: &'a [u8]) -> Option<&'a str> {
        match self {
            Self::At(_) => std::str::from_utf8(self.bytes(body)).ok(),
            Self::Own(text) => Some(text),
        }
    }
}

/// The attributes that are set, with their canonical strings. The first of a repeated one comes
/// first, as in validation.
fn attributes(event: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    json::members(event)
        .unwrap_or_default()
        .into_iter()
        .filter(|member| member.name != "data" && is_attribute_name(&member.name))
        .filter_map(|member| {
            let value = canonical(&member)?;
            Some((member.name, value))
        })
}

/// The canonical string of a member that is an attribute.
pub(crate) fn canonical<'a>(member: &Member<'a>) -> Option<Cow<'a, str>> {
    Some(match member.scalar() {
        Scalar::Null => return None,
        Scalar::Bool(true) => Cow::Borrowed("true"),
        Scalar::Bool(false) => Cow::Borrowed("false"),
        Scalar::Number("-0") => Cow::Borrowed("0"),
        Scalar::Number(digits) => Cow::Borrowed(digits),
        Scalar::String(text) => text,
        // Only 0.3 lets an extension be one.
        Scalar::Nested => Cow::Borrowed(member.value),
    })
}
