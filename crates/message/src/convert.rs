//! One CloudEvent, from mode to mode. Busway itself never changes an event's mode.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::value::RawValue;

use crate::{
    InvalidEvent, Kind, Message, Mode, SpecVersion,
    attributes::canonical,
    event::{find, has_base64_data},
    json::{self, MAX_NESTING, Member, Scalar},
    names::{CE_PREFIX, STRUCTURED_JSON},
    value::{essence, from_header, is_base64, to_header},
};

/// The same event in structured mode; its other headers go along.
///
/// JSON data stays JSON but for white space around it, other text becomes a string, all else
/// Base64. Of the types only strings are known in binary mode, so all attributes become strings.
///
/// # Errors
///
/// The message is not a single valid CloudEvent.
pub fn to_structured(message: &Message) -> Result<Message, InvalidEvent> {
    let version = match Kind::of(message)? {
        Kind::Event {
            mode: Mode::Binary,
            version,
        } => version,
        Kind::Event {
            mode: Mode::Structured,
            ..
        } => return Ok(message.clone()),
        Kind::Plain | Kind::Batch => return Err(InvalidEvent::NotAnEvent),
    };
    let mut event = format!("{{\"specversion\":{}", quoted(version.as_str()));
    let mut headers = HeaderMap::new();
    let mut encoding = None;
    for (name, value) in message.headers() {
        match name.as_str().strip_prefix(CE_PREFIX) {
            // The content type says the latter.
            Some("specversion" | "datacontenttype") => {}
            Some(name) => {
                let value = from_header(value.as_bytes()).unwrap_or_default();
                put(&mut event, name, &quoted(&value));
                if name == "datacontentencoding" {
                    encoding = Some(value);
                }
            }
            None => insert(&mut headers, name.clone(), value.clone())?,
        }
    }
    let content_type = message
        .headers()
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    let content_type = content_type.and_then(|it| std::str::from_utf8(it).ok());
    let content_type = content_type.filter(|it| !it.is_empty());
    if let Some(content_type) = content_type {
        put(&mut event, "datacontenttype", &quoted(content_type));
    }
    let encoding = encoding.filter(|_| version == SpecVersion::V03);
    put_data(
        &mut event,
        version,
        message.body(),
        content_type,
        encoding.as_deref(),
    )?;
    event.push('}');
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(STRUCTURED_JSON),
    );
    Ok(Message::new(headers, event.into()))
}

/// The same event in binary mode; its other headers go along.
///
/// # Errors
///
/// The message is not a single valid CloudEvent, or has more or longer attributes than headers can
/// be.
pub fn to_binary(message: &Message) -> Result<Message, InvalidEvent> {
    let version = match Kind::of(message)? {
        Kind::Event {
            mode: Mode::Structured,
            version,
        } => version,
        Kind::Event {
            mode: Mode::Binary, ..
        } => return Ok(message.clone()),
        Kind::Plain | Kind::Batch => return Err(InvalidEvent::NotAnEvent),
    };
    let event = std::str::from_utf8(message.body()).map_err(InvalidEvent::NotUtf8)?;
    let members = json::members(event).map_err(InvalidEvent::json)?;
    let mut headers = HeaderMap::new();
    for (name, value) in message.headers() {
        // Attributes as headers beside those in the body are only a copy.
        if name != header::CONTENT_TYPE && !name.as_str().starts_with(CE_PREFIX) {
            insert(&mut headers, name.clone(), value.clone())?;
        }
    }
    let is_base64 = version == SpecVersion::V03 && has_base64_data(&members);
    for member in &members {
        let (name, Some(value)) = (&*member.name, canonical(member)) else {
            continue;
        };
        match name {
            "data" | "data_base64" => {}
            "datacontentencoding" if is_base64 => {}
            "datacontenttype" => {
                insert(
                    &mut headers,
                    header::CONTENT_TYPE,
                    header_value(name, value.as_bytes())?,
                )?;
            }
            _ => {
                let value = header_value(name, to_header(&value).as_bytes())?;
                let header = HeaderName::try_from([CE_PREFIX, name].concat())
                    .map_err(|_| InvalidEvent::attribute_must(name, TOO_LONG))?;
                insert(&mut headers, header, value)?;
            }
        }
    }
    let body = data(message.body(), &members, is_base64, &mut headers);
    Ok(Message::new(headers, body))
}

const TOO_LONG: &str = "is too long for a header";

fn header_value(name: &str, value: &[u8]) -> Result<HeaderValue, InvalidEvent> {
    HeaderValue::from_bytes(value).map_err(|_| InvalidEvent::attribute_must(name, TOO_LONG))
}

fn insert(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
) -> Result<(), InvalidEvent> {
    let shown = name.clone();
    match headers.try_append(name, value) {
        Ok(_) => Ok(()),
        Err(_) => Err(InvalidEvent::attribute_must(
            shown.as_str(),
            "is one header too many",
        )),
    }
}

/// The data's bytes; sets the content type that is implied without one (JSON format §3.1.1).
fn data(body: &Bytes, members: &[Member<'_>], is_base64: bool, headers: &mut HeaderMap) -> Bytes {
    let decoded = |text: &str| STANDARD.decode(text).unwrap_or_default().into();
    if let Some(Scalar::String(text)) = find(members, "data_base64").map(Member::scalar) {
        return decoded(&text);
    }
    let Some(data) = find(members, "data") else {
        return Bytes::new();
    };
    let scalar = data.scalar();
    if let (true, Scalar::String(text)) = (is_base64, &scalar) {
        return decoded(text);
    }
    let content_type = headers
        .entry(header::CONTENT_TYPE)
        .or_insert(const { HeaderValue::from_static("application/json") });
    match (is_json(content_type.as_bytes()), scalar) {
        (false, Scalar::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        (true | false, _) => body.slice_ref(data.value.as_bytes()),
    }
}

fn put_data(
    event: &mut String,
    version: SpecVersion,
    body: &[u8],
    content_type: Option<&str>,
    encoding: Option<&str>,
) -> Result<(), InvalidEvent> {
    if body.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(body).ok();
    if encoding.is_some_and(|it| it.eq_ignore_ascii_case("base64")) {
        let rule = "must be Base64, as `datacontentencoding` says";
        let text = text.filter(|text| is_base64(text));
        let text = text.ok_or_else(|| InvalidEvent::attribute_must("data", rule))?;
        put(event, "data", &quoted(text));
        return Ok(());
    }
    match (text, content_type) {
        (Some(text), Some(kind)) if is_json(kind.as_bytes()) && is_json_value(text) => {
            put(event, "data", text.trim_ascii());
        }
        (Some(text), Some(kind)) if is_text(kind) => put(event, "data", &quoted(text)),
        _ if encoding.is_some() => {
            let rule = "is not an encoding that JSON can have";
            return Err(InvalidEvent::attribute_must("datacontentencoding", rule));
        }
        _ if version == SpecVersion::V03 => {
            put(event, "datacontentencoding", "\"base64\"");
            put(event, "data", &quoted(&STANDARD.encode(body)));
        }
        _ => put(event, "data_base64", &quoted(&STANDARD.encode(body))),
    }
    Ok(())
}

fn put(event: &mut String, name: &str, value: &str) {
    event.extend([",\"", name, "\":", value]);
}

fn quoted(text: &str) -> Cow<'_, str> {
    // A string can always be written.
    serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned)
}

fn is_json(content_type: &[u8]) -> bool {
    let kind = essence(std::str::from_utf8(content_type).unwrap_or_default()).to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

fn is_json_value(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok() && json::nesting(text) <= MAX_NESTING
}

/// Text whose bytes are what a JSON string of it would be read as.
fn is_text(content_type: &str) -> bool {
    let kind = content_type.to_ascii_lowercase();
    let is_text = kind.starts_with("text/") || essence(&kind).ends_with("xml");
    is_text && (!kind.contains("charset=") || kind.contains("utf-8") || kind.contains("us-ascii"))
}

#[cfg(test)]
mod tests;
