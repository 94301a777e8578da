//! A connection of HTTP/1.1, driven by the lane that has it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;

use super::counted::Counted;
use crate::connect::BoxIo;

/// The largest header of an answer, and what is read at once of a body, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// Bytes before an answer's own head is complete: answers 1xx may come first, and without end. Many
/// times what a server has to say that way.
const MAX_BEFORE_ANSWER: u64 = 256 * 1024;

pub(super) struct H1 {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<TokioIo<Counted>, Full<Bytes>>>>,
    read: Arc<AtomicU64>,
    used: bool,
    closed: bool,
}

impl H1 {
    pub(super) async fn open(io: BoxIo) -> hyper::Result<Self> {
        let (counted, read) = Counted::new(io);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(counted))
            .await?;
        Ok(Self {
            sender,
            connection: Box::pin(connection),
            read,
            used: false,
            closed: false,
        })
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// Bytes that came so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether it carried a request before.
    pub(super) const fn reuse(&mut self) -> bool {
        std::mem::replace(&mut self.used, true)
    }

    /// Ready when the other side has closed it.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.closed {
            let ended = ready!(self.connection.as_mut().poll(cx));
            if let Err(error) = ended {
                tracing::trace!(%error, "a connection broke");
            }
            self.closed = true;
        }
        Poll::Ready(())
    }

    /// Sends a request; the beginning of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Option<Response<Incoming>> {
        poll_fn(|cx| {
            if self.poll_closed(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.sender.poll_ready(cx).map(Result::ok)
        })
        .await?;
        let mut answer = std::pin::pin!(self.sender.send_request(request));
        let (connection, closed, read) = (&mut self.connection, &mut self.closed, &self.read);
        let most = read.load(Ordering::Relaxed) + MAX_BEFORE_ANSWER;
        poll_fn(|cx| {
            if !*closed {
                *closed = connection.as_mut().poll(cx).is_ready();
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(response.ok()),
                Poll::Pending if *closed => Poll::Ready(None),
                Poll::Pending if read.load(Ordering::Relaxed) > most => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
