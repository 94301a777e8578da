//! What is read of an answer, and where that ends.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use busway_core::budget::{MemoryBudget, Reservation};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, sleep};

/// How much of an answer is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::dispatcher) struct Wanted<'a> {
    /// Whether a success may be a reply: else its headers say nothing.
    pub(in crate::dispatcher) reply: bool,
    /// Bytes read at most of the body; past them the connection is dropped and the status counts.
    pub(in crate::dispatcher) read: usize,
    /// Bytes kept of them.
    pub(in crate::dispatcher) keep: usize,
    /// What is kept counts against it; while there is no room, nothing more is read.
    pub(in crate::dispatcher) budget: Option<&'a MemoryBudget>,
}

impl Wanted<'_> {
    pub(super) fn headers(&self, status: u16) -> bool {
        self.reply || !(200..300).contains(&status)
    }
}

/// What is kept without asking for room: as much as is read of any answer.
const FREE: usize = 64 * 1024;
/// How often it is looked whether there is room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(20);
/// How long; then the answer is read without. The subscriber did its part, and is not to be asked again
/// because others fill the memory.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// A whole answer, or its beginning.
#[derive(Debug)]
pub(in crate::dispatcher) struct Answer {
    pub(in crate::dispatcher) status: u16,
    /// Empty where [`Wanted`] has no use for them.
    pub(in crate::dispatcher) headers: HeaderMap,
    pub(in crate::dispatcher) body: Bytes,
    /// Whether there was more than [`Wanted::keep`].
    pub(in crate::dispatcher) cut: bool,
    /// The room that the body takes, where it needed some.
    pub(in crate::dispatcher) room: Option<Reservation>,
}

/// The body of an answer, piece by piece.
pub(super) trait Pieces {
    /// The next one; nothing at its end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>>;

    /// Nothing more is read of it.
    fn stop(&mut self);
}

/// The body did not come to its end.
pub(super) struct Broke;

impl Pieces for Incoming {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>> {
        loop {
            let frame = match Pin::new(&mut *self).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Broke))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing here.
            if let Ok(data) = frame.into_data() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }

    /// Dropping it ends the stream, and no more.
    fn stop(&mut self) {}
}

/// Reads the rest of an answer; nothing when it broke.
pub(super) async fn read(
    status: u16,
    headers: HeaderMap,
    pieces: &mut impl Pieces,
    wanted: Wanted<'_>,
) -> Option<Answer> {
    let mut room = wanted.budget.and_then(|budget| budget.reserve(0));
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    let mut seen = 0usize;
    while let Some(piece) = poll_fn(|cx| pieces.poll_piece(cx)).await {
        if planted!(EarlyAck) {
            break;
        }
        let Ok(piece) = piece else { return None };
        let kept = first.len().max(rest.len());
        seen += piece.len();
        let piece = piece.slice(..piece.len().min(wanted.keep.saturating_sub(kept)));
        if kept + piece.len() > FREE {
            make_room(&mut room, piece.len()).await;
        }
        if kept == 0 {
            first = piece;
        } else if !piece.is_empty() {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&piece);
        }
        if seen > wanted.read {
            pieces.stop();
            break;
        }
    }
    let body = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Some(Answer {
        status,
        headers,
        body,
        cut: seen > wanted.keep,
        room,
    })
}

/// Waits for room; gives up what there is when none comes.
async fn make_room(room: &mut Option<Reservation>, bytes: usize) {
    let until = Instant::now() + ROOM_WITHIN;
    while let Some(held) = room {
        if held.grow(bytes) {
            return;
        }
        if Instant::now() >= until {
            *room = None;
            return;
        }
        sleep(LOOK_FOR_ROOM).await;
    }
}
