//! HTTP/2: with prior knowledge, and negotiated.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use busway_core::{gate::MaxInFlight, policy::Protocol};
use busway_dataplane::{
    Network, World,
    connect::{Connect, DnsResolver, Resolve, TcpConnector, Trust},
};
use busway_testkit::{fakes::FakeBus, wait::until, zoo::Authority};
use http::{Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::AbortHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::RootCertStore};

use super::harness::{DEADLINE, Harness};

/// Version, authority, path and whether a Host header came.
type Asked = (Version, String, String, bool);

/// What a subscriber that speaks HTTP/2 saw.
#[derive(Clone, Default)]
struct Seen {
    connections: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Asked>>>,
    /// Whether requests are left waiting.
    hold: Arc<AtomicBool>,
    /// Connections that are open, to be cut.
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Seen {
    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let service = service_fn(|request: http::Request<Incoming>| {
            let this = self.clone();
            async move {
                let uri = request.uri().clone();
                let seen = (
                    request.version(),
                    uri.authority().map(ToString::to_string).unwrap_or_default(),
                    uri.path().to_owned(),
                    request.headers().contains_key("host"),
                );
                let now = this.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                this.most_at_once.fetch_max(now, Ordering::Relaxed);
                let _body = request.into_body().collect().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                while this.hold.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                this.at_once.fetch_sub(1, Ordering::Relaxed);
                this.requests.lock().unwrap().push(seen);
                Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::default()))
            }
        });
        let io = TokioIo::new(stream);
        let _closed = http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    }

    async fn start(&self, tls: Option<TlsAcceptor>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (one, tls) = (this.clone(), tls.clone());
                let serving = tokio::spawn(async move {
                    match tls {
                        None => one.serve(stream).await,
                        Some(tls) => one.serve(tls.accept(stream).await.unwrap()).await,
                    }
                });
                this.open.lock().unwrap().push(serving.abort_handle());
            }
        });
        address
    }
}

const MESSAGES: usize = 40;

async fn send(h: &Harness, count: usize) {
    for number in 0..count {
        h.send(&number.to_string()).await;
    }
}

#[tokio::test]
async fn lanes_share_one_connection_and_find_another_when_it_is_cut() {
    let h = Harness::start();
    let seen = Seen::default();
    let address = seen.start(None).await;
    let mut route = h.route("s", &format!("http://{address}/in?x=1"));
    route.policy.protocol = Protocol::H2c;
    route.policy.max_in_flight = MaxInFlight::Number(8);
    h.serve(route).await;
    // The first connection is made by one message alone; what comes then shares it.
    send(&h, 1).await;
    h.wait_settled("s").await;
    send(&h, MESSAGES).await;
    h.wait_settled("s").await;
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    assert!(seen.most_at_once.load(Ordering::Relaxed) > 1);
    for (version, authority, path, host) in seen.requests.lock().unwrap().drain(..) {
        assert_eq!(version, Version::HTTP_2);
        assert_eq!(
            (authority, path, host),
            (address.to_string(), "/in".to_owned(), false)
        );
    }
    seen.cut();
    send(&h, MESSAGES).await;
    h.wait_settled("s").await;
    assert!(seen.count() >= MESSAGES);
    assert_eq!(
        h.metric("busway_dispatcher_dropped", &["RetriesExhausted"]),
        0
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_is_one_failure_however_many_requests_were_on_it() {
    let h = Harness::start();
    let seen = Seen::default();
    let address = seen.start(None).await;
    let mut route = h.route("s", &format!("http://{address}/"));
    route.policy.protocol = Protocol::H2c;
    route.policy.max_in_flight = MaxInFlight::Number(32);
    h.serve(route).await;
    send(&h, 1).await;
    h.wait_settled("s").await;
    seen.hold.store(true, Ordering::Relaxed);
    send(&h, 32).await;
    until("all are under way", DEADLINE, || async {
        match seen.at_once.load(Ordering::Relaxed) {
            32 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    seen.cut();
    seen.at_once.store(0, Ordering::Relaxed);
    seen.most_at_once.store(0, Ordering::Relaxed);
    // An open breaker would let one come, then two, then four.
    until("all have come again", DEADLINE, || async {
        match seen.most_at_once.load(Ordering::Relaxed) {
            32 => Ok(()),
            other => Err(other),
        }
    })
    .await
    .unwrap();
    seen.hold.store(false, Ordering::Relaxed);
    h.wait_settled("s").await;
}

#[tokio::test]
async fn one_that_speaks_http_1_only_is_a_failure_with_prior_knowledge() {
    let h = Harness::start();
    let old = busway_testkit::subscriber::Subscriber::start()
        .await
        .unwrap();
    let mut route = h.route("s", &old.url());
    route.policy.protocol = Protocol::H2c;
    route.policy.retry = 1;
    h.serve(route).await;
    send(&h, 1).await;
    h.wait_settled("s").await;
    assert_eq!(
        h.metric("busway_dispatcher_dropped", &["RetriesExhausted"]),
        1
    );
}

#[tokio::test]
async fn tls_negotiates_it() {
    let authority = Authority::new().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let tls = authority.good(&["localhost"], &[b"h2"]).unwrap();
    let seen = Seen::default();
    let address = seen.start(Some(tls)).await;
    let network = Network::new(
        Arc::new(DnsResolver::system()) as Arc<dyn Resolve>,
        Arc::new(TcpConnector) as Arc<dyn Connect>,
        Trust::roots(roots),
    );
    let h = Harness::unloaded(FakeBus::new(), World::new(network));
    h.publish();
    h.serve(h.route("s", &format!("https://localhost:{}/", address.port())))
        .await;
    send(&h, 3).await;
    h.wait_settled("s").await;
    let requests = seen.requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|seen| seen.0 == Version::HTTP_2));
}
