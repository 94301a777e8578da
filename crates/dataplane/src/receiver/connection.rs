//! One connection of a sender: its timeouts, and closing it so that the last answer arrives.

use std::{
    cell::RefCell, convert::Infallible, future::poll_fn, pin::pin, rc::Rc, task::Poll,
    time::Duration,
};

use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    desk::Desk,
    watched::{Doing, Pulse, Watched},
};
use crate::{connect::BoxIo, handle::Phase, metrics::Family, problem::Problem};

/// The largest header of a request, in bytes: eight times what common servers take.
const MAX_HEADER: usize = 64 * 1024;
/// How long what a sender still sends is read after the last answer, or it might never see the
/// answer: closing a connection with unread bytes resets it.
const LINGER: Duration = Duration::from_secs(1);
/// How many of those bytes are read at most.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Connection {
    pub(super) desk: Rc<Desk>,
    pub(super) header_timeout: Duration,
    /// Cancelled when the data plane accepts nothing more.
    pub(super) leaving: CancellationToken,
    pub(super) phase: watch::Receiver<Phase>,
}

/// Why a connection ended.
enum End {
    /// The client closed it, or it was closed after an answer, or broke.
    Done,
    /// A header did not come in time.
    SlowHeader,
    /// There was no request for long.
    Idle,
}

impl Connection {
    pub(super) async fn serve(self, io: BoxIo) {
        let io = Rc::new(RefCell::new(TokioIo::new(io)));
        let end = self.answer_all(&io).await;
        // The server is gone, and with it the other owner of the stream.
        let Some(io) = Rc::into_inner(io) else { return };
        let mut io = io.into_inner().into_inner();
        if matches!(end, End::SlowHeader) {
            self.desk.counts.one(Family::HeaderTimeouts);
            let limit = self.header_timeout;
            let answer = Problem::SlowHeader { limit }.raw();
            if timeout(LINGER, io.write_all(&answer)).await.is_err() {
                return;
            }
        }
        let _closed = timeout(LINGER, linger(io)).await;
    }

    async fn answer_all(&self, io: &Rc<RefCell<TokioIo<BoxIo>>>) -> End {
        let pulse = Rc::new(Pulse::new());
        let service = service_fn(|request: Request<Incoming>| {
            pulse.set(Doing::Answering);
            let (desk, pulse) = (&self.desk, &pulse);
            async move {
                let mut answer = desk.answer(request).await;
                if *self.phase.borrow() != Phase::Serving {
                    answer
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                pulse.set(Doing::Nothing);
                Ok::<_, Infallible>(answer)
            }
        });
        let watched = Watched {
            io: Rc::clone(io),
            pulse: Rc::clone(&pulse),
        };
        let connection = http1::Builder::new()
            .max_buf_size(MAX_HEADER)
            .header_read_timeout(None)
            .serve_connection(watched, service);
        let mut connection = pin!(connection);
        let mut leaving = pin!(self.leaving.cancelled());
        let mut told = false;
        let mut armed = Instant::now() + self.header_timeout;
        let mut timer = pin!(sleep_until(armed));
        poll_fn(|cx| {
            if !told && leaving.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Done);
            }
            // The timer is moved only to come earlier, or when it fires too early: a request that
            // comes and goes in time costs none.
            loop {
                let deadline = pulse.deadline(self.header_timeout);
                if let Some(deadline) = deadline.filter(|deadline| *deadline < armed) {
                    armed = deadline;
                    timer.as_mut().reset(armed);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                match deadline {
                    Some(deadline) if deadline <= now => {
                        return Poll::Ready(match pulse.doing() {
                            Doing::Header => End::SlowHeader,
                            Doing::Answering | Doing::Nothing => End::Idle,
                        });
                    }
                    other => armed = other.unwrap_or(now + self.header_timeout),
                }
                timer.as_mut().reset(armed);
            }
        })
        .await
    }
}

async fn linger(mut io: BoxIo) {
    if io.shutdown().await.is_err() {
        return;
    }
    let mut bytes = Vec::with_capacity(8 * 1024);
    let mut left = LINGER_BYTES;
    while left > 0 {
        bytes.clear();
        match io.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
}
