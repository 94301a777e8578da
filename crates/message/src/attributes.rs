use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::{
    Message,
    event::{Declared, find},
    json::{self, Member, Scalar},
    names::CE_PREFIX,
    value::{from_header, is_attribute_name},
};

/// The attributes of one message, read once and asked often.
///
/// Values are canonical strings (CloudEvents §3.1), equal in structured and binary mode. On a plain
/// message the headers are its attributes, by their names with or without hyphens.
#[derive(Debug)]
pub struct Attributes<'a>(From<'a>);

#[derive(Debug)]
enum From<'a> {
    Plain(&'a HeaderMap),
    Binary(&'a HeaderMap),
    Structured(Vec<Member<'a>>),
}

impl<'a> Attributes<'a> {
    /// Of a message of any kind; one that is not valid has those that can be read.
    #[must_use]
    pub fn of(message: &'a Message) -> Self {
        let headers = message.headers();
        Self(match Declared::by(headers) {
            Declared::Binary => From::Binary(headers),
            Declared::Structured => From::Structured(
                std::str::from_utf8(message.body())
                    .ok()
                    .and_then(|event| json::members(event).ok())
                    .unwrap_or_default(),
            ),
            Declared::Nothing | Declared::Batch | Declared::Other(_) => From::Plain(headers),
        })
    }

    /// The canonical string of one attribute; nothing when it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        match &self.0 {
            From::Plain(headers) => plain(headers, name),
            From::Binary(headers) => binary(headers, name),
            From::Structured(members) => structured(members, name),
        }
    }
}

/// The canonical string of one attribute; [`Attributes`] is there to ask for several.
#[must_use]
pub fn attribute<'a>(message: &'a Message, name: &str) -> Option<Cow<'a, str>> {
    Attributes::of(message).get(name)
}

fn plain<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let value = headers.get(name).or_else(|| {
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

fn binary<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    if name == "datacontenttype" {
        let value = headers.get(header::CONTENT_TYPE)?;
        return std::str::from_utf8(value.as_bytes())
            .ok()
            .map(Cow::Borrowed);
    }
    if !is_attribute_name(name) {
        return None;
    }
    let value = get_prefixed(headers, name)?;
    from_header(value.as_bytes())
}

/// Looks `ce-<name>` up without allocating for names of the usual length.
fn get_prefixed<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a http::HeaderValue> {
    const USUAL: usize = 64;
    let mut buffer = [0; USUAL];
    let length = CE_PREFIX.len() + name.len();
    if let Some(space) = buffer.get_mut(..length) {
        let (prefix, rest) = space.split_at_mut(CE_PREFIX.len());
        prefix.copy_from_slice(CE_PREFIX.as_bytes());
        rest.copy_from_slice(name.as_bytes());
        return headers.get(std::str::from_utf8(space).ok()?);
    }
    headers.get([CE_PREFIX, name].concat())
}

fn structured<'a>(members: &[Member<'a>], name: &str) -> Option<Cow<'a, str>> {
    if name == "data" || !is_attribute_name(name) {
        return None;
    }
    canonical(find(members, name)?)
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

#[cfg(test)]
mod tests;
