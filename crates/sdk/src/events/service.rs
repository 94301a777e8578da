//! HTTP, but for a server: tower services over any body.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context as Poller, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::Full;
use tower::Service;

use super::{
    BusStatus, Context, Event, EventError, Mux, PayloadError, cloud_event, cloud_event::Came, docs,
    envelope, envelope::Unread, failure::Failure, incoming, incoming::Incoming, run::Fate, status,
};

/// What these services answer.
///
/// ```
/// use busway_sdk::events::{Answer, Mux};
/// use http_body_util::Full;
/// use tower::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = http::Request::post("/events").body(Full::<bytes::Bytes>::from("{}"))?;
/// let answer: Answer = Mux::builder().build()?.service().call(request).await?;
/// assert_eq!(answer.headers()["content-type"], "application/json");
/// # Ok(()) }
/// ```
pub type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const FAILED: &str = "Internal Server Error";

/// Takes events by POST at whatever path it is mounted; see [`Mux::events`].
///
/// ```
/// use busway_sdk::events::Mux;
/// use http_body_util::{BodyExt as _, Full};
/// use tower::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut service = Mux::builder().build()?.events();
/// let request = http::Request::post("/").body(Full::<bytes::Bytes>::from("no event"))?;
/// let answer = service.call(request).await?;
/// assert_eq!(answer.status(), 200);
/// let body = answer.into_body().collect().await?.to_bytes();
/// assert!(body.starts_with(br#"{"name":"error","version":1,"#));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct EventsService(Mux);

/// Shows the documentation page by GET at whatever path it is mounted; see [`Mux::docs`].
///
/// ```
/// use busway_sdk::events::Mux;
/// use http_body_util::{BodyExt as _, Empty};
/// use tower::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut service = Mux::builder().add_batch("batch", 1).build()?.docs();
/// let request = http::Request::get("/").header("accept", "application/json");
/// let answer = service.call(request.body(Empty::<bytes::Bytes>::new())?).await?;
/// let body = answer.into_body().collect().await?.to_bytes();
/// assert_eq!(&body[..], br#"[{"name":"batch","version":1}]"#);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DocsService(Mux);

/// Both, at `/events` and `/doc`; see [`Mux::service`].
///
/// ```
/// use busway_sdk::events::{Mux, MuxError, MuxService};
///
/// fn service() -> Result<MuxService, MuxError> {
///     Ok(Mux::builder().add_batch("batch", 1).build()?.service())
/// }
/// # service().map(|_| ())?;
/// # Ok::<(), MuxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MuxService(Mux);

impl EventsService {
    pub(super) const fn new(mux: Mux) -> Self {
        Self(mux)
    }
}

impl DocsService {
    pub(super) const fn new(mux: Mux) -> Self {
        Self(mux)
    }
}

impl MuxService {
    pub(super) const fn new(mux: Mux) -> Self {
        Self(mux)
    }
}

impl<B> Service<Request<B>> for EventsService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mux = self.0.clone();
        guarded(async move { events(&mux, request).await })
    }
}

impl<B: Send + 'static> Service<Request<B>> for DocsService {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mux = self.0.clone();
        let (parts, _) = request.into_parts();
        guarded(async move { page(&mux, &parts) })
    }
}

impl<B> Service<Request<B>> for MuxService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match request.uri().path() {
            "/events" | "/events/" => EventsService(self.0.clone()).call(request),
            "/doc" | "/doc/" => DocsService(self.0.clone()).call(request),
            _ => Box::pin(async { Ok(empty(StatusCode::NOT_FOUND)) }),
        }
    }
}

/// What panics outside of a handler, such as a tracker, costs its own request only.
fn guarded(
    answer: impl Future<Output = Answer> + Send + 'static,
) -> BoxFuture<'static, Result<Answer, Infallible>> {
    let answer = AssertUnwindSafe(answer).catch_unwind();
    Box::pin(async { Ok(answer.await.unwrap_or_else(|_| failed(HeaderMap::new()))) })
}

async fn events<B: Body>(mux: &Mux, request: Request<B>) -> Answer {
    let (mut parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return not_allowed("POST");
    }
    let settings = mux.settings();
    let read = incoming::body(&parts.headers, body, settings).await;
    match read.and_then(|body| incoming::read(&parts.headers, body, settings)) {
        Ok(incoming) => {
            let extensions = std::mem::take(&mut parts.extensions);
            let context = Context::of(Arc::new(parts.headers.clone()), extensions);
            answer(mux, context, incoming, &parts).await
        }
        Err(status) => empty(status),
    }
}

async fn answer(mux: &Mux, context: Context, incoming: Incoming, request: &Parts) -> Answer {
    let Incoming { came, event } = incoming;
    let subscription = status::subscription(&request.headers);
    let mut headers = HeaderMap::new();
    let (event, answer, fate, context) = match event {
        Ok(event) => {
            let is_answer = subscription.is_some() && status::is_answer(&event.name);
            if is_answer && mux.find(&event.name, event.version).is_none() {
                return empty(StatusCode::NO_CONTENT);
            }
            let served = mux.dispatch(context, &event, request, &mut headers).await;
            (event, served.answer, served.fate, served.context)
        }
        Err(unread) => {
            let Unread { error, readable } = *unread;
            let error = EventError::Protocol(error);
            let context = mux.tracker().notice_error(context, &error);
            let failure = Failure::of(&error, "");
            let answer = failure.answer(mux.settings().error_style, &readable);
            (readable, answer, Fate::Undecodable, context)
        }
    };
    let source = || match (&mux.settings().source, subscription) {
        (Some(source), _) => source.clone(),
        (None, Some(name)) if status::is_name(name) => format!("/busway/events/{name}"),
        (None, _) => "/busway/events".to_owned(),
    };
    match written(came.as_ref(), &event, &answer, source) {
        Ok((more, body)) => {
            headers.extend(more);
            let status = match (subscription, mux.settings().bus_status) {
                (Some(_), BusStatus::On) => status::on_the_bus(fate),
                _ => StatusCode::OK,
            };
            respond(status, headers, body)
        }
        Err(error) => {
            let error = EventError::NotJson(error);
            mux.tracker()
                .notice_event_error(context, &event, Some(&error));
            failed(headers)
        }
    }
}

/// The answer's own headers and its body.
fn written(
    came: Option<&Came>,
    request: &Event,
    answer: &Event,
    source: impl FnOnce() -> String,
) -> Result<(HeaderMap, Bytes), PayloadError> {
    if let Some(came) = came {
        let message = cloud_event::answer(came, request, answer, &source())?;
        return Ok(message.into_parts());
    }
    let mut body = envelope::write(answer).map_err(PayloadError::write)?;
    body.extend_from_slice(b"\n");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, JSON);
    Ok((headers, body.freeze()))
}

fn page(mux: &Mux, request: &Parts) -> Answer {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    let (content_type, page) = if wants_json(&request.headers) {
        (JSON, docs::json(mux))
    } else {
        (HTML, docs::html(mux))
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::VARY, const { HeaderValue::from_static("accept") });
    respond(StatusCode::OK, headers, page.into())
}

/// Whether JSON is asked for, and a page for people is not.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = |wanted: &str| {
        let values = headers.get_all(header::ACCEPT).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .any(|range| range.trim().eq_ignore_ascii_case(wanted))
    };
    accepted("application/json") && !accepted("text/html")
}

fn respond(status: StatusCode, headers: HeaderMap, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn empty(status: StatusCode) -> Answer {
    respond(status, HeaderMap::new(), Bytes::new())
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(header::ALLOW, allowed);
    answer
}

fn failed(mut headers: HeaderMap) -> Answer {
    headers.insert(header::CONTENT_TYPE, JSON);
    let body = Bytes::from_static(FAILED.as_bytes());
    respond(StatusCode::INTERNAL_SERVER_ERROR, headers, body)
}
