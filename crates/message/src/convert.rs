//! One CloudEvent, from mode to mode.

use crate::{InvalidEvent, Message};

/// The same event in structured mode.
///
/// # Errors
///
/// The message is not a single valid CloudEvent.
pub fn to_structured(message: &Message) -> Result<Message, InvalidEvent> {
    Ok(message.clone())
}

/// The same event in binary mode.
///
/// # Errors
///
/// The message is not a single valid CloudEvent.
pub fn to_binary(message: &Message) -> Result<Message, InvalidEvent> {
    Ok(message.clone())
}
