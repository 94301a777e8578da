//! A subscriber that remembers which messages it got.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use super::ID;

/// Ids that are kept; past it the smallest goes, which of time-ordered ids is the oldest.
const MAX_IDS: usize = 1024;
/// Connections at once; more are closed.
const MAX_CONNECTIONS: usize = 64;
/// Bodies are read so that connections can be kept, and not kept themselves.
const MAX_BODY: usize = 1024 * 1024;

#[derive(Default)]
struct Got {
    ids: Mutex<BTreeSet<String>>,
    more: Notify,
}

/// Listens until it is dropped.
pub(super) struct Arrivals {
    got: Arc<Got>,
    #[cfg(test)]
    pub(super) at: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Arrivals {
    pub(super) async fn listen(at: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(at)
            .await
            .with_context(|| format!("listening at {at}"))?;
        let got = Arc::new(Got::default());
        Ok(Self {
            #[cfg(test)]
            at: listener.local_addr()?,
            serving: tokio::spawn(serve(listener, Arc::clone(&got))).abort_handle(),
            got,
        })
    }

    /// The first of these that is there.
    pub(super) async fn one_of(&self, ids: &BTreeSet<String>) -> String {
        loop {
            let more = self.got.more.notified();
            if let Some(id) = self.got.lock().intersection(ids).next() {
                return id.clone();
            }
            more.await;
        }
    }
}

impl Got {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        // What is too long or breaks off has arrived all the same.
        let _ = Limited::new(body, MAX_BODY).collect().await;
        if let Some(Ok(id)) = head.headers.get(ID).map(|id| id.to_str()) {
            let mut ids = self.lock();
            ids.insert(id.to_owned());
            if ids.len() > MAX_IDS {
                ids.pop_first();
            }
        }
        self.more.notify_waiters();
        Response::new(Full::default())
    }
}

async fn serve(listener: TcpListener, got: Arc<Got>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: give connections time to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            continue;
        }
        let got = Arc::clone(&got);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let got = Arc::clone(&got);
                async move { Ok::<_, Infallible>(got.answer(request).await) }
            });
            // A broken connection is the sender's to report.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_mins(1))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
