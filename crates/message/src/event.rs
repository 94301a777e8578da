mod invalid;
mod rules;

use http::{HeaderMap, header};

pub use invalid::InvalidEvent;
pub(crate) use rules::{find, has_base64_data, structured};

use crate::{
    Message,
    names::{BATCH_JSON, CE_SPECVERSION, STRUCTURED_JSON},
    value::essence,
};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not a CloudEvent, and does not say so.
    Plain,
    /// One valid CloudEvent.
    Event {
        /// How it is put into the message.
        mode: Mode,
        /// Of which version it is.
        version: SpecVersion,
    },
    /// Says that it is a batch; [`crate::batch::split`] tells whether it is a valid one.
    Batch,
}

/// How a single CloudEvent is put into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Attributes are headers, the body is the data.
    Binary,
    /// The body is a JSON object of attributes and data.
    Structured,
}

/// The versions of CloudEvents that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecVersion {
    /// 0.3
    V03,
    /// 1.0, which all 1.0.x call themselves.
    V1,
}

impl SpecVersion {
    /// The value of `specversion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V1 => "1.0",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidEvent> {
        match text {
            "1.0" => Ok(Self::V1),
            "0.3" => Ok(Self::V03),
            other => Err(InvalidEvent::unsupported_version(other)),
        }
    }
}

impl Kind {
    /// Tells what a message is.
    ///
    /// Only a message that says it is a CloudEvent is held to the rules: by its content type,
    /// which decides when it begins with `application/cloudevents`, else by `ce-specversion`
    /// (HTTP binding §3). Wherever the specification says MUST of a single event, it is checked.
    ///
    /// Allocates nothing for plain messages and, unless a value is percent-encoded, for events in
    /// binary mode.
    ///
    /// # Errors
    ///
    /// It says that it is a CloudEvent and is not a valid one, or is of a version or in a format
    /// that is not taken. A batch is looked at only by [`crate::batch::split`].
    pub fn of(message: &Message) -> Result<Self, InvalidEvent> {
        let (mode, version) = match Declared::by(message.headers()) {
            Declared::Nothing => return Ok(Self::Plain),
            Declared::Batch => return Ok(Self::Batch),
            Declared::Other(format) => return Err(InvalidEvent::unsupported_format(format)),
            Declared::Binary => (Mode::Binary, rules::binary(message.headers())?),
            Declared::Structured => {
                let text = std::str::from_utf8(message.body()).map_err(InvalidEvent::NotUtf8)?;
                (Mode::Structured, structured(text)?)
            }
        };
        Ok(Self::Event { mode, version })
    }
}

/// What a message says it is, true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared<'a> {
    Nothing,
    Binary,
    Structured,
    Batch,
    /// A CloudEvent in a format other than JSON.
    Other(&'a str),
}

impl<'a> Declared<'a> {
    pub(crate) fn by(headers: &'a HeaderMap) -> Self {
        const PREFIX: &[u8] = b"application/cloudevents";
        let media_type = headers
            .get(header::CONTENT_TYPE)
            .map(|value| value.as_bytes().trim_ascii())
            .filter(|value| {
                value
                    .get(..PREFIX.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(PREFIX))
            });
        match media_type.map(std::str::from_utf8) {
            Some(Ok(value)) => match essence(value) {
                format if format.eq_ignore_ascii_case(STRUCTURED_JSON) => Self::Structured,
                format if format.eq_ignore_ascii_case(BATCH_JSON) => Self::Batch,
                format => Self::Other(format),
            },
            Some(Err(_)) => Self::Other("application/cloudevents"),
            None if headers.contains_key(CE_SPECVERSION) => Self::Binary,
            None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
