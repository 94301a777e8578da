//! What a request brings.

use std::{pin::pin, time::Duration};

use busway_message::{Kind, Message};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{
    Event, Settings, cloud_event,
    cloud_event::Came,
    envelope::{self, Unread},
};

/// How much of a body over the limit is still read, so that a sender that does not listen while it
/// sends gets its 413.
const MAX_DRAINED: usize = 4 * 1024 * 1024;

/// An event, or why it is none, and how it came.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Nothing for a plain envelope.
    pub(super) came: Option<Came>,
    pub(super) event: Result<Event, Box<Unread>>,
}

/// Reads a request's body; a status is the whole answer.
pub(super) async fn body<B: Body>(
    headers: &HeaderMap,
    body: B,
    settings: &Settings,
) -> Result<Bytes, StatusCode> {
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let max = u64::try_from(settings.max_body).unwrap_or(u64::MAX);
    // Such a sender waits to hear whether it may send.
    if headers.contains_key(header::EXPECT) && declared.is_some_and(|length| length > max) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    // The same time as for a handler; a bound so large as to overflow is none.
    let time: Duration = settings.handler_timeout;
    match timeout(time, collect(body, settings.max_body)).await {
        Ok(read) => read,
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

async fn collect<B: Body>(body: B, max: usize) -> Result<Bytes, StatusCode> {
    let mut body = pin!(body);
    let mut read = BytesMut::new();
    let mut drained = 0usize;
    while let Some(frame) = body.frame().await {
        // The connection is broken: nobody reads this.
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if drained == 0 && data.remaining() <= max - read.len() {
            read.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            continue;
        }
        drained = drained.saturating_add(data.remaining());
        if drained > MAX_DRAINED {
            break;
        }
    }
    if drained > 0 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(read.freeze())
}

/// Tells what a body is; a status is the whole answer.
pub(super) fn read(
    headers: &HeaderMap,
    body: Bytes,
    settings: &Settings,
) -> Result<Incoming, StatusCode> {
    let message = Message::new(headers.clone(), body);
    let plain = |event| Incoming { came: None, event };
    match cloud_event::kind(&message).ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)? {
        Ok(Kind::Event { mode, version }) => {
            let (came, event) = cloud_event::read(&message, mode, version, settings.validation);
            Ok(Incoming {
                came: Some(came),
                event,
            })
        }
        Ok(Kind::Plain | Kind::Batch) => {
            Ok(plain(envelope::read(message.body(), settings.validation)))
        }
        Err(error) => Ok(plain(Err(Box::new(Unread {
            error,
            readable: cloud_event::readable(&message),
        })))),
    }
}
