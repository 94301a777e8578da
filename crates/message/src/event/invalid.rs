use std::str::Utf8Error;

use crate::json::MAX_NESTING;

/// How many characters of a sender's text an error repeats.
const SHOWN: usize = 64;

/// Why a message that says it is a CloudEvent is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// It does not say that it is a single CloudEvent.
    #[error("not a single CloudEvent")]
    NotAnEvent,
    /// It is in an event format other than JSON.
    #[error("the event format `{format}` is not supported, only `application/cloudevents+json`")]
    UnsupportedFormat {
        /// The content type, shortened.
        format: Box<str>,
    },
    /// The `specversion` is another one.
    #[error("`specversion` `{version}` is not supported, only 0.3 and 1.0")]
    UnsupportedVersion {
        /// What it says, shortened.
        version: Box<str>,
    },
    /// The body of a structured event is not UTF-8.
    #[error("the event is not UTF-8")]
    NotUtf8(#[source] Utf8Error),
    /// The body of a structured event is not JSON.
    #[error("the event is not valid JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body of a structured event is JSON, but no object.
    #[error("the event is not a JSON object")]
    NotAnObject,
    /// A required attribute is missing.
    #[error("the required attribute `{attribute}` is missing")]
    Missing {
        /// Which.
        attribute: &'static str,
    },
    /// An attribute, or the data, is there twice.
    #[error("`{attribute}` is there more than once")]
    Duplicate {
        /// Which, shortened.
        attribute: Box<str>,
    },
    /// An attribute, or the data, is not what the specification says.
    #[error("`{attribute}` {rule}")]
    Attribute {
        /// Which, shortened.
        attribute: Box<str>,
        /// What it would have to be.
        rule: &'static str,
    },
    /// The data, or an attribute, nests too deep.
    #[error("`{attribute}` nests deeper than {MAX_NESTING} levels")]
    TooDeep {
        /// Which, shortened.
        attribute: Box<str>,
    },
}

impl InvalidEvent {
    /// The stable short name for metrics and answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotAnEvent => "NotAnEvent",
            Self::UnsupportedFormat { .. } => "UnsupportedEventFormat",
            Self::UnsupportedVersion { .. } => "UnsupportedSpecVersion",
            Self::NotUtf8(_) | Self::NotJson(_) | Self::NotAnObject => "MalformedEvent",
            Self::Missing { .. } => "MissingAttribute",
            Self::Duplicate { .. } => "DuplicateAttribute",
            Self::Attribute { .. } => "InvalidAttribute",
            Self::TooDeep { .. } => "EventTooDeep",
        }
    }

    /// The attribute that is wrong, where it is one.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Missing { attribute } => Some(attribute),
            Self::Duplicate { attribute }
            | Self::Attribute { attribute, .. }
            | Self::TooDeep { attribute } => Some(attribute),
            Self::UnsupportedVersion { .. } => Some("specversion"),
            Self::NotAnEvent
            | Self::UnsupportedFormat { .. }
            | Self::NotUtf8(_)
            | Self::NotJson(_)
            | Self::NotAnObject => None,
        }
    }

    pub(crate) fn json(error: serde_json::Error) -> Self {
        if error.is_data() {
            Self::NotAnObject
        } else {
            Self::NotJson(error)
        }
    }

    pub(crate) fn unsupported_format(format: &str) -> Self {
        Self::UnsupportedFormat {
            format: shown(format),
        }
    }

    pub(crate) fn unsupported_version(version: &str) -> Self {
        Self::UnsupportedVersion {
            version: shown(version),
        }
    }

    pub(crate) fn duplicate(attribute: &str) -> Self {
        Self::Duplicate {
            attribute: shown(attribute),
        }
    }

    pub(crate) fn attribute_must(attribute: &str, rule: &'static str) -> Self {
        Self::Attribute {
            attribute: shown(attribute),
            rule,
        }
    }

    pub(crate) fn too_deep(attribute: &str) -> Self {
        Self::TooDeep {
            attribute: shown(attribute),
        }
    }
}

/// Text of a sender as an answer or a log line can repeat it.
fn shown(text: &str) -> Box<str> {
    let mut characters = text.escape_debug();
    let mut shown: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown.into()
}
