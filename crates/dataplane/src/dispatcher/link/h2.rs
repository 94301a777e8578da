//! A connection of HTTP/2, which the lanes of one destination share; it has a task of its own.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{
    Request, Response, header,
    uri::{Authority, Parts, Scheme, Uri},
};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2, rt::Executor};
use hyper_util::rt::TokioIo;

use super::counted::Counted;
use crate::connect::BoxIo;

/// The largest header list of an answer, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;

/// Spawns what a connection needs on this thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

#[derive(Clone)]
pub(super) struct H2 {
    sender: http2::SendRequest<Full<Bytes>>,
    https: bool,
    read: Arc<AtomicU64>,
}

impl H2 {
    pub(super) async fn open(io: BoxIo, https: bool) -> hyper::Result<Self> {
        let (counted, read) = Counted::new(io);
        let (sender, connection) = http2::Builder::new(Local)
            .max_header_list_size(MAX_HEADERS)
            .handshake(TokioIo::new(counted))
            .await?;
        // It ends when the last sender is dropped.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection broke");
            }
        });
        Ok(Self {
            sender,
            https,
            read,
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Bytes that came so far, for whomever.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Sends a request; the beginning of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Option<Response<Incoming>> {
        poll_fn(|cx| self.sender.poll_ready(cx)).await.ok()?;
        let request = absolute(request, self.https)?;
        self.sender.send_request(request).await.ok()
    }
}

/// HTTP/2 has the scheme and the host in the request's target, and no Host header (RFC 9113 §8.3.1).
fn absolute(mut request: Request<Full<Bytes>>, https: bool) -> Option<Request<Full<Bytes>>> {
    let host = request.headers_mut().remove(header::HOST)?;
    let mut parts = Parts::default();
    parts.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority =
        Some(Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes())).ok()?);
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(request)
}
