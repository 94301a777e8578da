use crate::Message;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not a CloudEvent.
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
    /// 1.0
    V1,
}

/// Why a message that says it is a CloudEvent is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A required attribute is missing.
    #[error("the attribute `{attribute}` is missing")]
    Missing {
        /// Which.
        attribute: &'static str,
    },
}

impl InvalidEvent {
    /// The stable short name for metrics and answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "MissingAttribute",
        }
    }
}

impl Kind {
    /// Tells what a message is.
    ///
    /// # Errors
    ///
    /// It says that it is a CloudEvent and is not a valid one.
    pub fn of(_message: &Message) -> Result<Self, InvalidEvent> {
        Ok(Self::Plain)
    }
}
