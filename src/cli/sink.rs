//! `busway sink`: a small subscriber that prints what it gets.

use std::{
    convert::Infallible,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How a sink answers.
#[derive(Clone, Debug, Args)]
pub struct Behaviour {
    /// Answer 503 to the first N attempts of each message (of everything, where `busway-attempt` is missing).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub fail_first: u64,

    /// What to answer.
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,

    /// How long to wait before answering.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = busway_api::text::parse_duration)]
    pub delay: Duration,
}

/// `busway sink`
#[derive(Debug, Args)]
pub struct SinkArgs {
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,

    /// How it answers.
    #[command(flatten)]
    pub behaviour: Behaviour,
}

/// Bodies over this are refused: a sink shows messages, it does not store them.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How much of a body is shown.
const SHOWN: usize = 200;

/// Prints one line: a name for the sink, and what it got.
pub type Print = Arc<dyn Fn(String) + Send + Sync>;

/// Serves on `listen` until the token is cancelled, each request printed to standard output.
///
/// # Errors
/// When the address cannot be bound.
pub async fn run(args: SinkArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    let print: Print = Arc::new(|line| {
        // Whoever reads it may have gone; a sink goes on answering.
        let _ = writeln!(std::io::stdout(), "{line}");
    });
    print(format!(
        "listening sink={} · Ctrl-C ends it",
        listener.local_addr()?
    ));
    serve(listener, args.behaviour, print, shutdown).await;
    Ok(())
}

/// Serves a bound listener until the token is cancelled.
pub async fn serve(
    listener: TcpListener,
    behaviour: Behaviour,
    print: Print,
    shutdown: CancellationToken,
) {
    let sink = Arc::new(Sink {
        behaviour,
        print,
        seen: AtomicU64::new(0),
    });
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, slot)) = accepted else {
            // Out of file descriptors, most likely: give connections time to end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let sink = Arc::clone(&sink);
        let shutdown = shutdown.clone();
        tasks.spawn(async move {
            let service = service_fn(|request| {
                let sink = Arc::clone(&sink);
                async move { Ok::<_, Infallible>(sink.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_mins(1))
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A broken connection is the sender's to report.
                _ = connection => {}
                () = shutdown.cancelled() => {}
            }
            drop(slot);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, slot))
}

struct Sink {
    behaviour: Behaviour,
    print: Print,
    seen: AtomicU64,
}

impl Sink {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let text = |name: &str| {
            head.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        let attempt = text("busway-attempt")
            .and_then(|attempt| attempt.parse::<u64>().ok())
            .unwrap_or(before + 1);
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return answer(StatusCode::PAYLOAD_TOO_LARGE),
        };
        let status = if attempt <= self.behaviour.fail_first {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::from_u16(self.behaviour.status).unwrap_or(StatusCode::OK)
        };
        let what = text("ce-type")
            .map(|kind| format!(" {kind}"))
            .unwrap_or_default();
        let why = text("ce-knativeerrorcode")
            .or_else(|| text("busway-error-code"))
            .map(|code| format!(" (a dead letter: the subscriber's last answer was {code})"))
            .unwrap_or_default();
        (self.print)(format!(
            "{} {}{what}{why} · {} · answering {}",
            head.method,
            head.uri.path(),
            shown(&body),
            status.as_u16()
        ));
        tokio::time::sleep(self.behaviour.delay).await;
        answer(status)
    }
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The start of a body, on one line, without anything a terminal would act on.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut line: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    if line.is_empty() {
        line.push_str("(empty)");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_body_is_shown_on_one_short_line() {
        assert_eq!(shown(b"a\nb\x1b[31m"), "a b [31m");
        assert_eq!(shown(b""), "(empty)");
        assert_eq!(shown(&[b'x'; 500]).chars().count(), 201);
        assert_eq!(shown(&[0xff]), "\u{fffd}");
    }
}
