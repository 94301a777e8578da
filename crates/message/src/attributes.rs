mod members;
mod name;

use std::borrow::Cow;

use http::{HeaderMap, header};

pub(crate) use members::{Members, canonical};
pub use name::{AttributeName, InvalidAttributeName};

use crate::{Message, event::Declared, value::from_header};

/// The attributes of one message.
///
/// Values are canonical strings (CloudEvents §3.1), equal in structured and binary mode. On a plain
/// message the headers are its attributes, by their names with or without hyphens. Where the
/// attributes of a structured event stand is found out once, for the message and all its clones.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(From<'a>);

#[derive(Clone, Copy, Debug)]
enum From<'a> {
    Plain(&'a HeaderMap),
    Binary(&'a HeaderMap),
    Structured(&'a Members, &'a [u8]),
}

impl<'a> Attributes<'a> {
    /// Of a message of any kind; one that is not valid has those that can be read.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        if let Some(members) = message.members() {
            return Self(From::Structured(members, message.body()));
        }
        let headers = message.headers();
        Self(match Declared::by(headers) {
            Declared::Binary => From::Binary(headers),
            _ => From::Plain(headers),
        })
    }

    /// The canonical string of one attribute; nothing when it is not set.
    #[must_use]
    pub fn get(&self, name: &AttributeName) -> Option<Cow<'a, str>> {
        match self.0 {
            From::Plain(headers) => plain(headers, name),
            From::Binary(headers) => binary(headers, name),
            From::Structured(members, body) => members.get(body, name.as_str()),
        }
    }
}

/// The canonical string of one attribute; nothing when it is not set.
#[must_use]
pub fn attribute<'a>(message: &'a Message, name: &AttributeName) -> Option<Cow<'a, str>> {
    Attributes::of(message).get(name)
}

fn plain<'a>(headers: &'a HeaderMap, name: &AttributeName) -> Option<Cow<'a, str>> {
    let value = headers.get(&name.plain).or_else(|| {
        let name = name.as_str();
        let unhyphened =
            |header: &str| header.bytes().filter(|byte| *byte != b'-').eq(name.bytes());
        headers
            .iter()
            .find(|(header, _)| unhyphened(header.as_str()))
            .map(|(_, value)| value)
    })?;
    std::str::from_utf8(value.as_bytes())
        .ok()
        .map(Cow::Borrowed)
}

fn binary<'a>(headers: &'a HeaderMap, name: &AttributeName) -> Option<Cow<'a, str>> {
    let header = name.binary.as_ref()?;
    let value = headers.get(header)?.as_bytes();
    if header == header::CONTENT_TYPE {
        // No attribute's header, so nothing in it is encoded.
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    from_header(value)
}

#[cfg(test)]
pub(crate) mod tests;
