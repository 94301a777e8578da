//! The answer to a scrape, made while it is sent: never more than a few chunks of it are held.

use std::{fmt, io, mem, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
    time::Instant,
};

use super::Introspect;

/// Bytes of one chunk: about 400 series.
const CHUNK: usize = 64 * 1024;
/// Chunks that are made before somebody reads them.
const AHEAD: usize = 2;
/// How long a scrape may take: Prometheus gives up after 10 s.
const WITHIN: Duration = Duration::from_secs(30);
/// Scrapes at once: a pair of Prometheus, and people.
const AT_ONCE: usize = 4;

/// Bounds how many scrapes are answered at once.
#[derive(Clone)]
pub(super) struct Scrapes(Arc<Semaphore>);

impl Default for Scrapes {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A part of the answer; its end is said, so that one that broke off is not taken for a whole one.
enum Part {
    Chunk(Bytes),
    End,
}

impl Scrapes {
    pub(super) fn answer(&self, process: Arc<dyn Introspect>) -> Response {
        let Ok(turn) = Arc::clone(&self.0).try_acquire_owned() else {
            let later = [(header::RETRY_AFTER, "1")];
            let busy = StatusCode::SERVICE_UNAVAILABLE;
            return (busy, later, "too many scrapes at once").into_response();
        };
        let (to, mut parts) = mpsc::channel(AHEAD);
        let mut writer = Writer {
            to,
            buffer: String::new(),
            until: Instant::now() + WITHIN,
            runtime: Handle::current(),
        };
        // Whoever reads slowly holds up this thread, and nothing else.
        spawn_blocking(move || {
            let _turn = turn;
            // An error means that nobody reads any more.
            let _ = process.metrics(&mut writer).and_then(|()| writer.end());
        });
        let mut ended = false;
        let body = futures::stream::poll_fn(move |cx| {
            parts.poll_recv(cx).map(|part| match part {
                Some(Part::Chunk(chunk)) => Some(Ok(chunk)),
                Some(Part::End) => {
                    ended = true;
                    None
                }
                None if ended => None,
                None => {
                    ended = true;
                    Some(Err(io::Error::other("the scrape broke off")))
                }
            })
        });
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
    }
}

/// Sends what is written, a chunk at a time.
struct Writer {
    to: mpsc::Sender<Part>,
    buffer: String,
    until: Instant,
    runtime: Handle,
}

impl Writer {
    fn send(&self, part: Part) -> fmt::Result {
        let left = self.until.saturating_duration_since(Instant::now());
        let sent = self.runtime.block_on(self.to.send_timeout(part, left));
        sent.map_err(|_| fmt::Error)
    }

    fn end(&mut self) -> fmt::Result {
        let last = mem::take(&mut self.buffer);
        self.send(Part::Chunk(last.into()))?;
        self.send(Part::End)
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.buffer.push_str(text);
        if self.buffer.len() < CHUNK {
            return Ok(());
        }
        let next = String::with_capacity(CHUNK + CHUNK / 16);
        let chunk = mem::replace(&mut self.buffer, next);
        self.send(Part::Chunk(chunk.into()))
    }
}

#[cfg(test)]
mod tests;
