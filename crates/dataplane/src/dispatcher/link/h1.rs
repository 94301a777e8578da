//! A connection of HTTP/1.1, driven by the lane that has it.

use std::{
    future::poll_fn,
    io::{self, Cursor},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut, buf::Chain};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::answer::{Broke, Pieces};
use crate::{
    connect::BoxIo,
    dispatcher::request::Post,
    http1::{Answer, Body, Head, Step},
};

/// Room for what is read at once. Most answers are smaller, and an idle connection keeps it.
const READ: usize = 2 * 1024;
/// The same, where that was too little.
const READ_MORE: usize = 64 * 1024;
/// Bytes before an answer's own head is complete: answers 1xx may come first, and without end. Many
/// times what a server has to say that way.
const MAX_BEFORE_ANSWER: u64 = 256 * 1024;
/// An answer of more leaves no buffer behind.
const KEPT_READ: u64 = 2 * READ as u64;
/// What an idle connection keeps for the head of the next request.
const KEPT_HEAD: usize = 4 * 1024;

pub(super) struct H1 {
    io: BoxIo,
    /// The request, as far as it was not sent.
    unsent: Chain<Cursor<Vec<u8>>, Bytes>,
    /// Whether something of it is on this side still.
    sending: bool,
    /// What came and was not taken.
    came: BytesMut,
    /// Whether the last read filled all the room that it had.
    filled: bool,
    /// What is to come of the body, whether the status is a success, and whether the connection stays.
    body: Body,
    succeeds: bool,
    keeps_alive: bool,
    read: u64,
    /// What had been read when the last request began.
    read_before: u64,
    used: bool,
    closed: bool,
}

impl H1 {
    pub(super) fn new(io: BoxIo) -> Self {
        Self {
            io,
            unsent: Cursor::new(Vec::new()).chain(Bytes::new()),
            sending: false,
            came: BytesMut::new(),
            filled: false,
            body: Body::none(),
            succeeds: false,
            keeps_alive: true,
            read: 0,
            read_before: 0,
            used: false,
            closed: false,
        }
    }

    /// Whether it can carry no request: also while a subscriber that answered before it had read all still reads.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed || self.sending
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// Bytes that came so far.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// Whether it carried a request before.
    pub(super) const fn reuse(&mut self) -> bool {
        std::mem::replace(&mut self.used, true)
    }

    /// Ready when it is of no use any more; between two requests only.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_send(cx);
        if !self.closed {
            let mut byte = [0];
            // Its end, an error, or an answer that nobody asked for.
            let came = Pin::new(&mut self.io).poll_read(cx, &mut ReadBuf::new(&mut byte));
            ready!(came).unwrap_or_else(broke);
            self.closed = true;
        }
        Poll::Ready(())
    }

    /// Sends a request; the head of its answer.
    pub(super) async fn send(
        &mut self,
        post: &Post<'_>,
        wants_headers: impl Fn(u16) -> bool,
    ) -> Option<Head> {
        // What came since the last answer would be taken for the next one; so would its end.
        let closed = poll_fn(|cx| Poll::Ready(self.poll_closed(cx).is_ready())).await;
        if closed || self.sending {
            return None;
        }
        let head = self.unsent.first_mut();
        head.set_position(0);
        head.get_mut().clear();
        post.write_head(head.get_mut());
        *self.unsent.last_mut() = post.body().clone();
        self.sending = true;
        self.read_before = self.read;
        let most = self.read + MAX_BEFORE_ANSWER;
        let mut answer = Answer::default();
        poll_fn(|cx| {
            // Both at once: a subscriber may answer before it has read all.
            self.poll_send(cx);
            loop {
                match answer.take(&mut self.came, &wants_headers) {
                    Err(error) => {
                        tracing::trace!(%error, "an answer cannot be read");
                        return Poll::Ready(None);
                    }
                    Ok(Some((head, body))) => {
                        self.body = body;
                        self.keeps_alive = head.keeps_alive;
                        self.succeeds = (200..300).contains(&head.status);
                        return Poll::Ready(Some(head));
                    }
                    Ok(None) if self.read > most => return Poll::Ready(None),
                    Ok(None) => {}
                }
                if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    /// Sends what can be sent now.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        while self.sending {
            let step = if self.unsent.has_remaining() {
                poll_write_buf(Pin::new(&mut self.io), cx, &mut self.unsent)
            } else {
                let flushed = Pin::new(&mut self.io).poll_flush(cx);
                flushed.map_ok(|()| {
                    self.sent();
                    1
                })
            };
            match step {
                Poll::Pending => return,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => self.cannot_send(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => self.cannot_send(error),
            }
        }
    }

    /// There may be an answer all the same.
    fn cannot_send(&mut self, error: io::Error) {
        broke(error);
        self.closed = true;
        self.sent();
    }

    fn sent(&mut self) {
        self.sending = false;
        // The message may go when others are through with it.
        *self.unsent.last_mut() = Bytes::new();
        let head = self.unsent.first_mut().get_mut();
        if head.capacity() > KEPT_HEAD {
            *head = Vec::new();
        }
    }

    /// Reads what there is; 0 at its end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broke>> {
        let room = if self.filled { READ_MORE } else { READ };
        if self.came.capacity() - self.came.len() < room / 2 {
            self.came.reserve(room);
        }
        let came = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.came);
        let came = ready!(came).map_err(|error| {
            broke(error);
            Broke
        })?;
        self.filled = self.came.len() == self.came.capacity();
        self.read += came as u64;
        Poll::Ready(Ok(came))
    }

    /// The answer is whole: whether the connection is good for another request.
    fn answered(&mut self) {
        // Who took it may read on, until the connection is needed; who did not has no use for the rest.
        let cut_off = self.sending && !self.succeeds;
        // What comes after an answer that nobody asked for would be taken for the next one.
        if cut_off || !self.keeps_alive || !self.came.is_empty() {
            self.closed = true;
        }
        if self.read - self.read_before > KEPT_READ {
            self.came = BytesMut::new();
        }
        self.filled = false;
    }
}

fn broke(error: io::Error) {
    tracing::trace!(%error, "a connection broke");
}

impl Pieces for H1 {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broke>>> {
        self.poll_send(cx);
        loop {
            match self.body.take(&mut self.came) {
                Ok(Step::Piece(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Step::More) => {}
                Ok(Step::End) => {
                    self.answered();
                    return Poll::Ready(None);
                }
                Err(error) => {
                    tracing::trace!(%error, "an answer cannot be read");
                    return Poll::Ready(Some(Err(Broke)));
                }
            }
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                // Only an orderly end may be one of the body.
                Ok(0) if self.body.end().is_ok() => {
                    self.closed = true;
                    return Poll::Ready(None);
                }
                Ok(0) | Err(Broke) => return Poll::Ready(Some(Err(Broke))),
            }
        }
    }

    fn stop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
