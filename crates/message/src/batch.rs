//! Several CloudEvents in one request (HTTP binding §3.3, JSON format §4).

use std::{fmt, str::Utf8Error};

use http::{HeaderMap, HeaderValue, header};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::{
    InvalidEvent, Message,
    event::{Declared, structured},
    names::{CE_PREFIX, STRUCTURED_JSON},
};

/// How many events one batch may have.
///
/// Their ids go back in one header: 200 are under 8 KiB, which is what common clients and proxies
/// take. A sender that cannot read the answer would send the batch again.
pub const MAX_EVENTS: usize = 200;

/// Why a batch is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// It does not say that it is a batch.
    #[error("not a batch of CloudEvents")]
    NotABatch,
    /// The body is not UTF-8.
    #[error("the batch is not UTF-8")]
    NotUtf8(#[source] Utf8Error),
    /// The body is not JSON.
    #[error("the batch is not valid JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body is JSON, but no array.
    #[error("the batch is not a JSON array")]
    NotAnArray,
    /// It has more than [`MAX_EVENTS`].
    #[error("the batch has more than {MAX_EVENTS} events")]
    TooMany,
    /// One of its events is not valid.
    #[error("event {index} of the batch, counted from 0, is not valid")]
    Event {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        source: InvalidEvent,
    },
}

impl InvalidBatch {
    /// The stable short name for metrics and answers; that of the event where one is not valid.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotABatch => "NotABatch",
            Self::NotUtf8(_) | Self::NotJson(_) | Self::NotAnArray => "MalformedBatch",
            Self::TooMany => "BatchTooLarge",
            Self::Event { source, .. } => source.reason(),
        }
    }
}

/// One message in structured mode for each event of the batch, in its order.
///
/// Each has exactly its own bytes, which are shared with the batch and not copied, and the batch's
/// other headers. An empty batch is valid and gives none. Events of both versions may be mixed:
/// from here on each goes its own way.
///
/// # Errors
///
/// It is no batch, or has too many events, or one of them is not valid: then none is taken.
pub fn split(batch: &Message) -> Result<Vec<Message>, InvalidBatch> {
    if Declared::by(batch.headers()) != Declared::Batch {
        return Err(InvalidBatch::NotABatch);
    }
    let text = std::str::from_utf8(batch.body()).map_err(InvalidBatch::NotUtf8)?;
    let events = match serde_json::from_str(text) {
        Ok(Events::Some(events)) => events,
        Ok(Events::TooMany) => return Err(InvalidBatch::TooMany),
        Err(error) if error.is_data() => return Err(InvalidBatch::NotAnArray),
        Err(error) => return Err(InvalidBatch::NotJson(error)),
    };
    for (index, event) in events.iter().enumerate() {
        structured(event).map_err(|source| InvalidBatch::Event { index, source })?;
    }
    // A clone of this shares the headers.
    let template = Message::new(headers_of_one(batch.headers()), bytes::Bytes::new());
    let one = |event: &&str| {
        template
            .clone()
            .with_body(batch.body().slice_ref(event.as_bytes()))
    };
    Ok(events.iter().map(one).collect())
}

fn headers_of_one(batch: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(batch.keys_len());
    for (name, value) in batch {
        // The attributes of an event in structured mode are in its body only.
        if name != header::CONTENT_TYPE && !name.as_str().starts_with(CE_PREFIX) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::CONTENT_TYPE, content_type_of_one(batch));
    headers
}

fn content_type_of_one(batch: &HeaderMap) -> HeaderValue {
    let charset = batch
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            value
                .split(';')
                .skip(1)
                .map(str::trim)
                .find(|it| is_charset(it))
        });
    charset
        .and_then(|charset| HeaderValue::from_str(&format!("{STRUCTURED_JSON}; {charset}")).ok())
        .unwrap_or(const { HeaderValue::from_static(STRUCTURED_JSON) })
}

fn is_charset(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case("charset")
            && (value.len() < 2 || value.starts_with('"') == value.ends_with('"'))
    })
}

enum Events<'a> {
    Some(Vec<&'a str>),
    TooMany,
}

impl<'de: 'a, 'a> Deserialize<'de> for Events<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;

        impl<'de> Visitor<'de> for Array {
            type Value = Events<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = array.next_element::<&RawValue>()? {
                    if events.len() == MAX_EVENTS {
                        while array.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Events::TooMany);
                    }
                    events.push(event.get());
                }
                Ok(Events::Some(events))
            }
        }

        deserializer.deserialize_seq(Array)
    }
}

#[cfg(test)]
mod tests;
