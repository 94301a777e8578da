//! A sender's stream, with what its connection has to know of it.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::connect::BoxIo;

/// How long a connection is kept without a request: longer than most clients keep theirs, so that
/// they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Waiting for the rest of a request's header.
    Header,
    /// Answering; the body has a timeout of its own.
    Answering,
    /// Waiting for the next request.
    Nothing,
}

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Pulse {
    doing: Cell<Doing>,
    since: Cell<Instant>,
}

impl Pulse {
    /// Of a new connection: its first header is awaited.
    pub(super) fn new() -> Self {
        Self {
            doing: Cell::new(Doing::Header),
            since: Cell::new(Instant::now()),
        }
    }

    pub(super) fn set(&self, doing: Doing) {
        self.doing.set(doing);
        self.since.set(Instant::now());
    }

    pub(super) fn doing(&self) -> Doing {
        self.doing.get()
    }

    /// When it will have taken too long.
    pub(super) fn deadline(&self, header_timeout: Duration) -> Option<Instant> {
        match self.doing.get() {
            Doing::Header => Some(self.since.get() + header_timeout),
            Doing::Answering => None,
            Doing::Nothing => Some(self.since.get() + KEEP_ALIVE),
        }
    }
}

/// Notes when bytes of a next request come, and leaves closing to its owner.
pub(super) struct Watched {
    pub(super) io: Rc<RefCell<TokioIo<BoxIo>>>,
    pub(super) pulse: Rc<Pulse>,
}

impl Read for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, buf);
        if read.is_ready() && self.pulse.doing() == Doing::Nothing {
            self.pulse.set(Doing::Header);
        }
        read
    }
}

impl Write for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
