//! What the specification demands of one event, in either mode.

use http::{HeaderMap, HeaderName, header};

use super::{InvalidEvent, SpecVersion};
use crate::{
    json::{self, MAX_NESTING, Member, Scalar},
    names::{CE_PREFIX, CE_SPECVERSION},
    value::{
        from_header, is_attribute_name, is_base64, is_media_type, is_string, is_timestamp, is_uri,
        is_uri_reference,
    },
};

/// The attributes that each version requires, but for `specversion`.
#[derive(Default)]
struct Seen {
    id: bool,
    source: bool,
    kind: bool,
}

impl Seen {
    fn add(&mut self, name: &str) {
        match name {
            "id" => self.id = true,
            "source" => self.source = true,
            "type" => self.kind = true,
            _ => {}
        }
    }

    fn all(&self) -> Result<(), InvalidEvent> {
        let required = [
            ("id", self.id),
            ("source", self.source),
            ("type", self.kind),
        ];
        let missing = required.into_iter().find(|(_, seen)| !seen);
        missing.map_or(Ok(()), |(attribute, _)| {
            Err(InvalidEvent::Missing { attribute })
        })
    }
}

/// Checks an event in binary mode.
pub(super) fn binary(headers: &HeaderMap) -> Result<SpecVersion, InvalidEvent> {
    let version = headers
        .get(CE_SPECVERSION)
        .ok_or(InvalidEvent::Missing {
            attribute: "specversion",
        })
        .and_then(|value| text("specversion", value.as_bytes()))
        .and_then(|text| SpecVersion::parse(&text))?;
    let mut seen = Seen::default();
    let mut last: Option<&HeaderName> = None;
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(CE_PREFIX) else {
            continue;
        };
        // The values of one header come one after the other, with the very same name.
        if last.is_some_and(|last| std::ptr::eq(last, header)) {
            return Err(InvalidEvent::duplicate(name));
        }
        last = Some(header);
        check_name(version, name)?;
        check_text(version, name, &text(name, value.as_bytes())?)?;
        seen.add(name);
    }
    if let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .filter(|value| !value.is_empty())
    {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| InvalidEvent::attribute_must("datacontenttype", "must be UTF-8"))?;
        check_text(version, "datacontenttype", value)?;
    }
    seen.all().map(|()| version)
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<std::borrow::Cow<'a, str>, InvalidEvent> {
    from_header(value).ok_or_else(|| InvalidEvent::attribute_must(name, "must be UTF-8"))
}

/// Checks the JSON of an event in structured mode.
pub(crate) fn structured(event: &str) -> Result<SpecVersion, InvalidEvent> {
    let members = json::members(event).map_err(InvalidEvent::json)?;
    check_unique(&members)?;
    let version = match find(&members, "specversion").map(Member::scalar) {
        Some(Scalar::String(version)) => SpecVersion::parse(&version)?,
        None | Some(Scalar::Null) => {
            return Err(InvalidEvent::Missing {
                attribute: "specversion",
            });
        }
        Some(_) => {
            return Err(InvalidEvent::attribute_must(
                "specversion",
                "must be a string",
            ));
        }
    };
    let mut seen = Seen::default();
    for member in &members {
        let name = &*member.name;
        if json::nesting(member.value) > MAX_NESTING {
            return Err(InvalidEvent::too_deep(name));
        }
        match (name, version) {
            ("data", _) => {}
            ("data_base64", SpecVersion::V1) => check_base64(name, member)?,
            // JSON format §3.1: null is the same as unset.
            _ if member.scalar() == Scalar::Null => check_name(version, name)?,
            _ => {
                check_name(version, name)?;
                check_member(version, member)?;
                seen.add(name);
            }
        }
    }
    check_data(version, &members)?;
    seen.all().map(|()| version)
}

fn check_unique(members: &[Member<'_>]) -> Result<(), InvalidEvent> {
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    names.sort_unstable();
    let repeated = names.windows(2).find(|pair| pair.first() == pair.last());
    match repeated.and_then(<[&str]>::first) {
        Some(name) => Err(InvalidEvent::duplicate(name)),
        None => Ok(()),
    }
}

pub(crate) fn find<'m, 'a>(members: &'m [Member<'a>], name: &str) -> Option<&'m Member<'a>> {
    members.iter().find(|member| member.name == name)
}

fn check_name(version: SpecVersion, name: &str) -> Result<(), InvalidEvent> {
    if !is_attribute_name(name) {
        let rule = "is not an attribute's name, which has only a-z and 0-9";
        return Err(InvalidEvent::attribute_must(name, rule));
    }
    if name == "data" {
        return Err(InvalidEvent::attribute_must(
            name,
            "is not an attribute's name",
        ));
    }
    if version == SpecVersion::V03 && name.starts_with(|first: char| first.is_ascii_digit()) {
        let rule = "is not an attribute's name, which begins with a letter in 0.3";
        return Err(InvalidEvent::attribute_must(name, rule));
    }
    Ok(())
}

fn check_member(version: SpecVersion, member: &Member<'_>) -> Result<(), InvalidEvent> {
    let name = &*member.name;
    match member.scalar() {
        Scalar::String(text) => check_text(version, name, &text),
        _ if is_string_attribute(version, name) => {
            Err(InvalidEvent::attribute_must(name, "must be a string"))
        }
        // 0.3 has no closed list of types for extensions.
        _ if version == SpecVersion::V03 => Ok(()),
        Scalar::Number(digits) if digits.parse::<i32>().is_err() => Err(
            InvalidEvent::attribute_must(name, "must be an integer of 32 bits"),
        ),
        Scalar::Nested => {
            let rule = "must be a string, an integer or a boolean";
            Err(InvalidEvent::attribute_must(name, rule))
        }
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => Ok(()),
    }
}

fn is_string_attribute(version: SpecVersion, name: &str) -> bool {
    match name {
        "id" | "source" | "type" | "subject" | "time" | "datacontenttype" => true,
        "dataschema" => version == SpecVersion::V1,
        "schemaurl" | "datacontentencoding" => version == SpecVersion::V03,
        _ => false,
    }
}

fn check_text(version: SpecVersion, name: &str, value: &str) -> Result<(), InvalidEvent> {
    let must = |rule| Err(InvalidEvent::attribute_must(name, rule));
    if !is_string(value) {
        return must("must not have control characters");
    }
    if value.is_empty() && is_string_attribute(version, name) {
        return must("must not be empty");
    }
    match (name, version) {
        ("source", _) | ("schemaurl", SpecVersion::V03) if !is_uri_reference(value) => {
            must("must be a URI-reference")
        }
        ("dataschema", SpecVersion::V1) if !is_uri(value) => must("must be an absolute URI"),
        ("time", _) if !is_timestamp(value) => must("must be a timestamp as RFC 3339 has it"),
        ("datacontenttype", _) if !is_media_type(value) => must("must be a media type"),
        _ => Ok(()),
    }
}

fn check_base64(name: &str, member: &Member<'_>) -> Result<(), InvalidEvent> {
    match member.scalar() {
        Scalar::Null => Ok(()),
        Scalar::String(text) if is_base64(&text) => Ok(()),
        _ => Err(InvalidEvent::attribute_must(
            name,
            "must be a string of Base64",
        )),
    }
}

fn check_data(version: SpecVersion, members: &[Member<'_>]) -> Result<(), InvalidEvent> {
    let Some(data) = find(members, "data").filter(|data| data.scalar() != Scalar::Null) else {
        return Ok(());
    };
    match version {
        SpecVersion::V1 => match find(members, "data_base64").map(Member::scalar) {
            None | Some(Scalar::Null) => Ok(()),
            Some(_) => Err(InvalidEvent::attribute_must(
                "data_base64",
                "excludes `data`",
            )),
        },
        SpecVersion::V03 if has_base64_data(members) => check_base64("data", data),
        SpecVersion::V03 => Ok(()),
    }
}

/// Whether `data` of an event of 0.3 is Base64 in a string.
pub(crate) fn has_base64_data(members: &[Member<'_>]) -> bool {
    match find(members, "datacontentencoding").map(Member::scalar) {
        Some(Scalar::String(encoding)) => encoding.eq_ignore_ascii_case("base64"),
        _ => false,
    }
}
