//! A connection of HTTP/2, which the lanes of one destination share.

use std::{
    error::Error as _,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    Request, Response, header,
    uri::{Authority, Parts, Scheme, Uri},
};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2, rt::Executor};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;

use super::counted::Counted;
use crate::connect::BoxIo;

/// The largest header list of an answer, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;
/// How often the other side is asked whether it is there, and how long it may take to say so: a
/// connection that a firewall forgot would else cost each lane an attempt.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(5);

/// The tasks of a connection; they end with its last holder.
type Tasks = Mutex<JoinSet<()>>;

/// Spawns what a connection needs on this thread.
#[derive(Clone)]
struct Local(Weak<Tasks>);

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn_local(async move {
                future.await;
            });
        }
    }
}

#[derive(Clone)]
pub(super) struct H2 {
    sender: http2::SendRequest<Full<Bytes>>,
    https: bool,
    read: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
    told: Arc<AtomicBool>,
    _tasks: Arc<Tasks>,
}

/// There was no answer.
pub(super) struct Unanswered {
    /// The other side has not looked at the request (RFC 9113 §8.7): it may be repeated.
    pub(super) unprocessed: bool,
}

impl H2 {
    pub(super) async fn open(io: BoxIo, https: bool) -> hyper::Result<Self> {
        let (counted, read) = Counted::new(io);
        let tasks = Arc::new(Tasks::default());
        let local = Local(Arc::downgrade(&tasks));
        let (sender, connection) = http2::Builder::new(local.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .max_header_list_size(MAX_HEADERS)
            .handshake(TokioIo::new(counted))
            .await?;
        local.execute(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection broke");
            }
        });
        Ok(Self {
            sender,
            https,
            read,
            dead: Arc::default(),
            told: Arc::default(),
            _tasks: tasks,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.dead.load(Ordering::Relaxed)
    }

    /// Nobody uses it again.
    pub(super) fn close(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// Tells that it has ended; whether that had been told before.
    pub(super) fn tell_end(&self) -> bool {
        self.told.swap(true, Ordering::Relaxed)
    }

    /// Bytes that came so far, for whomever.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Sends a request; the beginning of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let ready = poll_fn(|cx| self.sender.poll_ready(cx)).await;
        ready.map_err(|_| Unanswered { unprocessed: true })?;
        let request = absolute(request, self.https);
        let request = request.ok_or(Unanswered { unprocessed: false })?;
        let mut sent = self.sender.try_send_request(request).await;
        sent.as_mut().map_err(|error| Unanswered {
            unprocessed: error.take_message().is_some() || was_refused(error.error()),
        })?;
        sent.map_err(|_| Unanswered { unprocessed: false })
    }
}

/// Whether the other side said that it has not looked at the request: it refused the stream, or it
/// is going away and counts this one among those that come after.
fn was_refused(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let gone = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            return error.is_remote() && (gone || refused);
        }
        source = error.source();
    }
    false
}

/// HTTP/2 has the scheme and the host in the request's target, and no Host header (RFC 9113 §8.3.1).
fn absolute(mut request: Request<Full<Bytes>>, https: bool) -> Option<Request<Full<Bytes>>> {
    let host = request.headers_mut().remove(header::HOST)?;
    let mut parts = Parts::default();
    parts.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    let host = Bytes::copy_from_slice(host.as_bytes());
    parts.authority = Some(Authority::from_maybe_shared(host).ok()?);
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}
