//! What a dead letter says of its failure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Message,
    event::{Declared, find},
    json,
    names::{
        BUSWAY_ERROR_ATTEMPTS, BUSWAY_ERROR_CODE, BUSWAY_ERROR_DATA, BUSWAY_ERROR_DEST, CE_PREFIX,
        ERROR_ATTEMPTS_ATTRIBUTE, ERROR_CODE_ATTRIBUTE, ERROR_DATA_ATTRIBUTE, ERROR_DEST_ATTRIBUTE,
    },
    value::{percent_encode, to_header},
};

mod redact;

pub use redact::redact_url;

/// How much of an answer a dead letter repeats, in bytes before Base64: what Knative repeats, and
/// little enough for a header.
pub const MAX_ERROR_DATA: usize = 1024;

/// How the last attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// With an answer.
    Answer {
        /// Its status.
        status: u16,
        /// What was read of its body; the first [`MAX_ERROR_DATA`] bytes are repeated in Base64.
        body: &'a [u8],
    },
    /// Without one: network error, timeout, expired. The code is 0 then.
    NoAnswer {
        /// The error's stable short name, which is repeated as it is.
        reason: &'a str,
    },
}

/// Why a message became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorInfo<'a> {
    /// The URL it could not be delivered to; goes through [`redact_url`].
    pub dest: &'a str,
    /// How the last attempt ended.
    pub cause: Cause<'a>,
    /// How many attempts were made.
    pub attempts: u32,
}

/// The message with its failure written into it.
///
/// An event gets extensions: headers in binary mode; in structured mode members before the final
/// `}`, while all other bytes stay. Anything else, also what only says that it is an event, gets
/// `busway-error-*` headers. Of a dead letter of a dead letter the last failure is told.
#[must_use]
pub fn mark(message: Message, info: &ErrorInfo<'_>) -> Message {
    let fields = Fields::of(info);
    match Declared::by(message.headers()) {
        Declared::Binary => fields.into_attributes(message),
        Declared::Structured => match fields.members_in(message.body()) {
            Some(body) => message.with_body(body.into()),
            None => fields.into_headers(message),
        },
        Declared::Nothing | Declared::Batch | Declared::Other(_) => fields.into_headers(message),
    }
}

struct Fields {
    dest: String,
    code: u16,
    data: String,
    attempts: u32,
}

impl Fields {
    fn of(info: &ErrorInfo<'_>) -> Self {
        let (code, data) = match info.cause {
            Cause::Answer { status, body } => (
                status,
                STANDARD.encode(body.get(..MAX_ERROR_DATA).unwrap_or(body)),
            ),
            Cause::NoAnswer { reason } => (0, reason.to_owned()),
        };
        // An attribute is an integer of 32 bits with a sign.
        let attempts = info.attempts.min(i32::MAX.unsigned_abs());
        Self {
            dest: redact_url(info.dest),
            code,
            data,
            attempts,
        }
    }

    fn into_headers(self, message: Message) -> Message {
        let (mut headers, body) = message.into_parts();
        set(&mut headers, BUSWAY_ERROR_DEST, &visible(&self.dest));
        set(&mut headers, BUSWAY_ERROR_CODE, &self.code.to_string());
        set(&mut headers, BUSWAY_ERROR_DATA, &visible(&self.data));
        set(
            &mut headers,
            BUSWAY_ERROR_ATTEMPTS,
            &self.attempts.to_string(),
        );
        Message::new(headers, body)
    }

    fn into_attributes(self, message: Message) -> Message {
        let (mut headers, body) = message.into_parts();
        for (name, value) in [
            (ERROR_DEST_ATTRIBUTE, to_header(&self.dest)),
            (ERROR_CODE_ATTRIBUTE, self.code.to_string()),
            (ERROR_DATA_ATTRIBUTE, to_header(&self.data)),
            (ERROR_ATTEMPTS_ATTRIBUTE, self.attempts.to_string()),
        ] {
            if let Ok(name) = HeaderName::try_from([CE_PREFIX, name].concat()) {
                set(&mut headers, name, &value);
            }
        }
        Message::new(headers, body)
    }

    /// The JSON of the event with these members; nothing when it is no object.
    fn members_in(&self, event: &[u8]) -> Option<Vec<u8>> {
        let event = std::str::from_utf8(event).ok()?;
        let members = json::members(event).ok()?;
        let end = event.rfind('}')?;
        let (mut replaced, mut added) = (Vec::new(), String::new());
        for (name, value) in [
            (
                ERROR_DEST_ATTRIBUTE,
                serde_json::to_string(&self.dest).ok()?,
            ),
            (ERROR_CODE_ATTRIBUTE, self.code.to_string()),
            (
                ERROR_DATA_ATTRIBUTE,
                serde_json::to_string(&self.data).ok()?,
            ),
            (ERROR_ATTEMPTS_ATTRIBUTE, self.attempts.to_string()),
        ] {
            if let Some(member) = find(&members, name) {
                replaced.push((member.range_in(event), value));
            } else {
                let comma = if members.is_empty() && added.is_empty() {
                    ""
                } else {
                    ","
                };
                added.extend([comma, "\"", name, "\":", &value]);
            }
        }
        replaced.push((end..end, added));
        replaced.sort_unstable_by_key(|(range, _)| range.start);

        let mut marked = Vec::with_capacity(event.len() + 2 * MAX_ERROR_DATA);
        let mut from = 0;
        for (range, value) in replaced {
            marked.extend_from_slice(event.get(from..range.start)?.as_bytes());
            marked.extend_from_slice(value.as_bytes());
            from = range.end;
        }
        marked.extend_from_slice(event.get(from..)?.as_bytes());
        Some(marked)
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Values are visible ASCII; a message of 32,768 headers, which nobody can send, stays unmarked.
    if let Ok(value) = HeaderValue::from_str(value) {
        let _full = headers.try_insert(name, value);
    }
}

/// The text with everything that is not visible ASCII percent-encoded; unlike an attribute's value
/// this is not decoded again, so that a URL looks like one.
fn visible(text: &str) -> String {
    percent_encode(text, |byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
