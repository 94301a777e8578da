//! The admin and the debug port, each answered by a thread of its own: also while every worker is
//! busy.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use busway_monitor::peers::LoadedPage;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What the ports ask of a process.
pub trait Introspect: Send + Sync + 'static {
    /// Whether it takes messages now; if not, why.
    fn ready(&self) -> Result<(), String>;

    /// Every metric, in the OpenMetrics text format.
    fn metrics(&self) -> String;

    /// What this replica serves, as far as it changed since.
    fn loaded(&self, since: u64) -> LoadedPage;

    /// Our objects with their conditions, where this process keeps them.
    fn objects(&self) -> Value;

    /// What a subscription is doing now; nothing when it is not known.
    fn subscription(&self, namespace: &str, name: &str) -> Option<Value>;
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

async fn metrics(State(process): Process) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        process.metrics(),
    )
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

async fn subscription(
    State(process): Process,
    Path((namespace, name)): Path<(String, String)>,
) -> impl IntoResponse {
    match process.subscription(&namespace, &name) {
        Some(value) => Json(value).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            format!("no subscription {namespace}/{name} is served here"),
        )
            .into_response(),
    }
}
