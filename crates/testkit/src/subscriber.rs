//! A subscriber on a real loopback socket that records what it gets and answers as told. Those that
//! misbehave are in the [`zoo`](crate::zoo).

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use crate::wait::until;

/// A request that a [`Subscriber`] got.
#[derive(Clone, Debug)]
pub struct Got {
    /// When its body had come.
    pub at: Instant,
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Got {
    /// One header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// How a [`Subscriber`] answers a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    delay: Duration,
}

impl Answer {
    /// With this status and no body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
        }
    }

    /// The same, with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same, after a while.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

type Answering = Arc<dyn Fn(usize, &Got) -> Answer + Send + Sync>;

/// A subscriber that records. It ends when it is dropped.
pub struct Subscriber {
    address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    got: Mutex<Vec<Got>>,
    answering: Mutex<Answering>,
    connections: AtomicUsize,
}

impl State {
    fn got(&self) -> MutexGuard<'_, Vec<Got>> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    /// One that answers 202.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn start() -> anyhow::Result<Self> {
        Self::answering(|_, _| Answer::status(202)).await
    }

    /// One that answers so; the function gets the number of the request, from 0.
    ///
    /// # Errors
    /// When no loopback port can be bound.
    pub async fn answering(
        answer: impl Fn(usize, &Got) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            got: Mutex::default(),
            answering: Mutex::new(Arc::new(answer)),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _tasks: tasks,
        })
    }

    /// Answers so from now on.
    pub fn now_answers(&self, answer: impl Fn(usize, &Got) -> Answer + Send + Sync + 'static) {
        let mut answering = self
            .state
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *answering = Arc::new(answer);
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it got until now.
    #[must_use]
    pub fn got(&self) -> Vec<Got> {
        self.state.got().clone()
    }

    /// Connections that it accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Waits until it got that many requests, and returns what it got.
    ///
    /// # Errors
    /// After ten seconds.
    pub async fn wait_for(&self, requests: usize) -> anyhow::Result<Vec<Got>> {
        until(
            "the subscriber got its requests",
            Duration::from_secs(10),
            || async {
                let got = self.got();
                if got.len() >= requests {
                    Ok(got)
                } else {
                    Err(format!("{} of {requests}", got.len()))
                }
            },
        )
        .await
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request).await) }
            });
            let _closed = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(state: &State, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Answer::status(400).response();
    };
    let got = Got {
        at: Instant::now(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: body.to_bytes(),
    };
    let answering = {
        let answering = state
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&answering)
    };
    let number = {
        let mut all = state.got();
        all.push(got.clone());
        all.len() - 1
    };
    let answer = answering(number, &got);
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    answer.response()
}
