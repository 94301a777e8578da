//! The admin and the debug port, each answered by a thread of its own: also while every worker is
//! busy.

mod scrape;

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use busway_dataplane::problem::TYPE_PREFIX;
use busway_monitor::peers::LoadedPage;
use futures::future::{BoxFuture, ready};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::scrape::Scrapes;

/// What the ports ask of a process.
pub trait Introspect: Send + Sync + 'static {
    /// Whether it takes messages now; if not, why.
    fn ready(&self) -> Result<(), String>;

    /// Writes every metric, in the OpenMetrics text format. Called on a thread that may wait.
    ///
    /// # Errors
    /// When it cannot be written.
    fn metrics(&self, to: &mut dyn fmt::Write) -> fmt::Result;

    /// What this replica serves, as far as it changed since.
    fn loaded(&self, since: u64) -> LoadedPage;

    /// Our objects with their conditions, where this process keeps them.
    fn objects(&self) -> Value;

    /// What a subscription is doing now; as the error, what is served here where it is not.
    fn subscription(&self, namespace: &str, name: &str) -> BoxFuture<'_, Result<Value, Value>> {
        let _ = (namespace, name);
        Box::pin(ready(Err(Value::Null)))
    }

    /// A page of the subscriptions that are served, by name.
    fn subscriptions(&self, page: &Page) -> Value {
        let _ = page;
        json!({ "items": [] })
    }
}

/// How many subscriptions a page has, unless asked for.
const PAGE: usize = 100;
/// How many it has at most.
const LARGEST_PAGE: usize = 500;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Page {
    limit: Option<usize>,
    /// What the page before said.
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl Page {
    /// How many there may be on it.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE)
    }

    /// It begins after this name.
    #[must_use]
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// Serves probes, metrics and `/replica/loaded` on a thread of its own, until the token is cancelled.
///
/// # Errors
/// When the thread cannot be started or the socket cannot be used.
pub fn serve_admin(
    listener: TcpListener,
    process: Arc<dyn Introspect>,
    shutdown: CancellationToken,
) -> std::io::Result<thread::JoinHandle<()>> {
    let scrapes = Scrapes::default();
    let metrics = async move |State(process): Process| -> Response { scrapes.answer(process) };
    let router = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/replica/loaded", get(loaded))
        .with_state(process);
    serve("admin", listener, router, shutdown)
}

/// Serves what a process is doing, for `kubectl port-forward`; the socket should be on loopback.
///
/// # Errors
/// When the thread cannot be started or the socket cannot be used.
pub fn serve_debug(
    listener: TcpListener,
    process: Arc<dyn Introspect>,
    shutdown: CancellationToken,
) -> std::io::Result<thread::JoinHandle<()>> {
    let router = Router::new()
        .route("/objects", get(objects))
        .route("/subscriptions", get(subscriptions))
        .route("/subscriptions/{namespace}/{name}", get(subscription))
        .with_state(process);
    serve("debug", listener, router, shutdown)
}

/// Binds a socket for [`serve_admin`] or [`serve_debug`].
///
/// # Errors
/// When the address is in use or not ours.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name(format!("busway-{name}"))
        .spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    served = axum::serve(listener, router) => served,
                    () = shutdown.cancelled() => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::error!(port = name, %error, "the port is not served any more");
                // Probes would fail from here on: end in order rather than by a kill.
                shutdown.cancel();
            }
        })
}

type Process = State<Arc<dyn Introspect>>;

async fn readyz(State(process): Process) -> impl IntoResponse {
    match process.ready() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn loaded(State(process): Process, Query(since): Query<Since>) -> Json<LoadedPage> {
    Json(process.loaded(since.since))
}

async fn objects(State(process): Process) -> Json<Value> {
    Json(process.objects())
}

async fn subscriptions(State(process): Process, Query(page): Query<Page>) -> Json<Value> {
    Json(process.subscriptions(&page))
}

async fn subscription(
    State(process): Process,
    Path((namespace, name)): Path<(String, String)>,
) -> Response {
    match process.subscription(&namespace, &name).await {
        Ok(value) => Json(value).into_response(),
        Err(loaded) => {
            let problem = json!({
                "type": format!("{TYPE_PREFIX}unknown-subscription"),
                "title": "Not Found",
                "status": 404,
                "detail": format!("this replica does not serve a subscription {namespace}/{name}"),
                "loaded": loaded,
            });
            let kind = [(header::CONTENT_TYPE, "application/problem+json")];
            (StatusCode::NOT_FOUND, kind, problem.to_string()).into_response()
        }
    }
}
