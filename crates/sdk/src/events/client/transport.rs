use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};

/// How long a connection waits for its next request: less than servers commonly do, so that few are
/// closed under a request.
const IDLE: Duration = Duration::from_secs(15);
/// Idle connections to one host.
const MAX_IDLE: usize = 32;

/// Connections over HTTP/1.1, kept for the next request.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<HttpConnector, Full<Bytes>>,
    max_answer: usize,
}

/// The head of an answer, and the body that is still to come.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Not an `http` URL.
    Url(String),
    /// Nothing was sent.
    Connect(Box<dyn Error + Send + Sync>),
    /// It broke after that.
    Broken(Box<dyn Error + Send + Sync>),
    /// The answer is too large.
    TooLarge,
    /// It took too long.
    TimedOut,
}

impl Transport {
    pub(super) fn new(connect_timeout: Duration, max_answer: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Self { client, max_answer }
    }

    /// POSTs until the deadline; the answer's head is the outcome.
    pub(super) async fn post(
        &self,
        to: &Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Answered, Failed> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.clone();
        *request.headers_mut() = headers;
        let answer = timeout_at(deadline, self.client.request(request)).await;
        let answer = answer.map_err(|_| Failed::TimedOut)?;
        let (head, body) = answer.map_err(failed)?.into_parts();
        Ok(Answered {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Reads a body until the deadline.
    pub(super) async fn whole(&self, body: Incoming, deadline: Instant) -> Result<Bytes, Failed> {
        let body = Limited::new(body, self.max_answer).collect();
        match timeout_at(deadline, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failed::TooLarge),
            Ok(Err(error)) => Err(Failed::Broken(error)),
            Err(_) => Err(Failed::TimedOut),
        }
    }
}

/// An absolute `http` URL.
pub(super) fn url(text: &str) -> Result<Uri, Failed> {
    let refused = || Failed::Url(format!("`{}` is no http URL", shown(text)));
    let url: Uri = text.parse().map_err(|_| refused())?;
    let is_http = url.scheme_str() == Some("http") && url.host().is_some();
    if is_http { Ok(url) } else { Err(refused()) }
}

/// User info and query may hold secrets.
pub(super) fn shown(url: &str) -> &str {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    url.rsplit_once('@').map_or(url, |(_, after)| after)
}

fn failed(error: hyper_util::client::legacy::Error) -> Failed {
    if error.is_connect() {
        Failed::Connect(error.into())
    } else {
        Failed::Broken(error.into())
    }
}

/// `Retry-After` in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(
        at.duration_since(std::time::SystemTime::now())
            .unwrap_or_default(),
    )
}
