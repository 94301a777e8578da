//! An HTTP server for those who have none.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};
use tower::Service;
use tracing::debug;

use super::Answer;

/// Connections at once; further ones wait in the kernel's queue. 1,024: what common limits of open
/// files leave room for.
pub const MAX_CONNECTIONS: usize = 1024;
/// Requests at once on one HTTP/2 connection. 64: what a Subscription has in flight by default.
const MAX_STREAMS: u32 = 64;
/// How long a connection may take to its first request, or to say that it is still there.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to its next request, headers included, or to take the answer to its
/// last one. 40 s: a dispatcher keeps a connection for 30 s, and it has to be the dispatcher that
/// closes it, or some requests meet a connection that was just closed.
const NEXT_REQUEST: Duration = Duration::from_secs(40);
/// How long requests may take after the end was asked for: longer than a handler may by default.
const GRACE: Duration = Duration::from_secs(30);
/// How long to wait after a listener failed, as it does without files left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves [`super::Mux::service`], or any other tower service like it, by HTTP/1.1 and HTTP/2
/// (prior knowledge) until `shutdown` is ready; then answers what it has begun, for at most 30 s.
///
/// ```no_run
/// use busway_sdk::events::{Mux, serve};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mux = Mux::builder().add_batch("batch", 1).build()?;
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:9100").await?;
/// serve(listener, mux.service(), std::future::pending()).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// When the listener has no address any more. One that fails for a moment is tried again.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    listener.local_addr()?;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(SILENCE);
    let builder = Arc::new(builder);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // Dropped with all that is left, when the grace is over.
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accepted => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "accepting");
                time::sleep(PAUSE).await;
                continue;
            }
        };
        // An answer is written at once; without this it may wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let (service, builder) = (service.clone(), Arc::clone(&builder));
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let _slot = slot;
            connection(stream, service, &builder, watcher).await;
        });
    }
    drop(listener);
    let _ = time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Serves one connection, and closes it when no request of it has been at work for too long: whether
/// its peer is silent, only answers pings, or does not take its answers.
async fn connection<S>(
    stream: TcpStream,
    service: S,
    builder: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
) where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let requests = watch::Sender::new(Requests::default());
    let service = {
        let requests = requests.clone();
        let service = TowerToHyperService::new(service);
        service_fn(move |request| {
            let one = AtWork::new(&requests);
            let answer = hyper::service::Service::call(&service, request);
            async move {
                let _one = one;
                answer.await
            }
        })
    };
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = served => {
            if let Err(error) = ended {
                debug!(%error, "connection ended");
            }
        }
        () = idle(requests.subscribe()) => debug!("connection closed: no request"),
    }
}

/// The requests of a connection.
#[derive(Clone, Copy, Default)]
struct Requests {
    has_begun: bool,
    at_work: usize,
}

/// Waits until no request has been at work for too long.
async fn idle(mut requests: watch::Receiver<Requests>) {
    loop {
        let bound = match *requests.borrow_and_update() {
            Requests { at_work: 1.., .. } => Duration::MAX,
            Requests {
                has_begun: true, ..
            } => NEXT_REQUEST,
            Requests { .. } => SILENCE,
        };
        if time::timeout(bound, requests.changed()).await.is_err() {
            return;
        }
    }
}

/// One request at work.
struct AtWork(watch::Sender<Requests>);

impl AtWork {
    fn new(requests: &watch::Sender<Requests>) -> Self {
        requests.send_modify(|requests| {
            requests.has_begun = true;
            requests.at_work += 1;
        });
        Self(requests.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.send_modify(|requests| requests.at_work -= 1);
    }
}
