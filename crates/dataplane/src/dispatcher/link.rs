//! One connection to a subscriber, driven by the task that uses it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use busway_core::{address::Destination, outcome::Failure};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connect::{BoxIo, Network};

/// The largest header of an answer, and what is read at once of a body, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// An open connection.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<TokioIo<Counted>, Full<Bytes>>>>,
    to: Destination,
    read: Arc<AtomicU64>,
    used: bool,
    closed: bool,
}

/// How much of an answer's body is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Bytes read at most; past them the connection is dropped and the status counts.
    pub(super) read: usize,
    /// Bytes kept of them.
    pub(super) keep: usize,
}

/// A whole answer, or its beginning.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether there was more than [`Wanted::keep`].
    pub(super) cut: bool,
}

/// There was no answer.
pub(super) struct Broken {
    /// Whether the request may be repeated on another connection: this one had been kept from an
    /// earlier request, and was closed without a byte of answer.
    ///
    /// That is what a keep-alive timeout of the subscriber looks like. Did it take the request all
    /// the same, it gets it twice, which at-least-once delivery allows; not repeating would cost an
    /// attempt, and with `retry: 0` the message, whenever a subscriber closes first.
    pub(super) stale: bool,
}

impl Link {
    pub(super) async fn open(
        network: &Network,
        to: &Destination,
        within: std::time::Duration,
    ) -> Result<Self, Failure> {
        let io = network.open(to, within).await?;
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            io,
            read: Arc::clone(&read),
        };
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(counted))
            .await
            .map_err(|_| Failure::Connect)?;
        Ok(Self {
            sender,
            connection: Box::pin(connection),
            to: to.clone(),
            read,
            used: false,
            closed: false,
        })
    }

    /// Whether it can carry a request to this destination.
    pub(super) fn is_for(&self, to: &Destination) -> bool {
        !self.closed && self.to == *to
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

    /// Sends a request and reads the answer. Afterwards the link is usable or closed.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        wanted: Wanted,
    ) -> Result<Answer, Broken> {
        let before = self.read.load(Ordering::Relaxed);
        let used = std::mem::replace(&mut self.used, true);
        let result = self.try_exchange(request, wanted).await;
        if result.is_none() {
            self.closed = true;
        }
        result.ok_or_else(|| Broken {
            stale: used && self.read.load(Ordering::Relaxed) == before,
        })
    }

    async fn try_exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        wanted: Wanted,
    ) -> Option<Answer> {
        poll_fn(|cx| {
            if self.poll_closed(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.sender.poll_ready(cx).map(Result::ok)
        })
        .await?;
        let mut answer = std::pin::pin!(self.sender.send_request(request));
        let (connection, closed) = (&mut self.connection, &mut self.closed);
        let response = poll_fn(|cx| {
            if !*closed {
                *closed = connection.as_mut().poll(cx).is_ready();
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(response.ok()),
                Poll::Pending if *closed => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (parts, body) = response.into_parts();
        let (body, cut) = self.read_body(body, wanted).await?;
        Some(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            cut,
        })
    }

    async fn read_body(&mut self, mut body: Incoming, wanted: Wanted) -> Option<(Bytes, bool)> {
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        let mut seen = 0usize;
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                // A connection that has ended left its last frames with the body.
                let _closed = self.poll_closed(cx);
                Pin::new(&mut body).poll_frame(cx)
            })
            .await;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.ok()?.into_data() else {
                continue;
            };
            let kept = first.len().max(rest.len());
            seen += data.len();
            let data = data.slice(..data.len().min(wanted.keep.saturating_sub(kept)));
            if kept == 0 {
                first = data;
            } else if !data.is_empty() {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
            if seen > wanted.read {
                self.closed = true;
                break;
            }
        }
        let bytes = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Some((bytes, seen > wanted.keep))
    }
}

/// Counts the bytes that came.
struct Counted {
    io: BoxIo,
    read: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let came = u64::try_from(buf.filled().len() - before).unwrap_or(0);
        if came > 0 {
            self.read.fetch_add(came, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
