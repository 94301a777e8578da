#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use busway_monitor::peers::LoadedPage;
use futures::StreamExt as _;
use serde_json::Value;

use super::*;

/// Writes so many lines, and notes how many it has written; then ends so.
struct Lines {
    many: usize,
    written: Arc<AtomicUsize>,
    result: fmt::Result,
}

const LINE: &str = "busway_lines_total{number=\"0123456789\"} 1\n";

impl Introspect for Lines {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        for _ in 0..self.many {
            to.write_str(LINE)?;
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        self.result
    }

    fn loaded(&self, _: u64) -> LoadedPage {
        LoadedPage::default()
    }

    fn objects(&self) -> Value {
        Value::Null
    }
}

fn lines(many: usize, result: fmt::Result) -> (Arc<dyn Introspect>, Arc<AtomicUsize>) {
    let written = Arc::default();
    let lines = Lines {
        many,
        written: Arc::clone(&written),
        result,
    };
    (Arc::new(lines), written)
}

#[tokio::test]
async fn everything_arrives_and_little_is_made_ahead_of_who_reads() {
    const MANY: usize = 100_000;
    let (process, written) = lines(MANY, Ok(()));
    let answer = Scrapes::default().answer(process);
    let mut body = answer.into_body().into_data_stream();
    let (mut read, mut ahead) = (0, 0);
    while let Some(chunk) = body.next().await {
        read += chunk.unwrap().len();
        let made = written.load(Ordering::Relaxed) * LINE.len();
        ahead = ahead.max(made.saturating_sub(read));
    }
    assert_eq!(read, MANY * LINE.len());
    // What waits, what waits to be put there, and what is being made.
    let most = (AHEAD + 2) * (CHUNK + LINE.len());
    assert!(ahead <= most, "{ahead} > {most}");
}

#[tokio::test]
async fn what_breaks_off_is_an_error_and_no_short_answer() {
    let (process, _) = lines(10, Err(fmt::Error));
    let body = Scrapes::default().answer(process).into_body();
    assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
}

#[tokio::test]
async fn more_at_once_than_the_bound_are_asked_to_come_again() {
    let scrapes = Scrapes::default();
    let (process, _) = lines(100_000, Ok(()));
    let going: Vec<_> = (0..AT_ONCE)
        .map(|_| scrapes.answer(Arc::clone(&process)))
        .collect();
    let refused = scrapes.answer(Arc::clone(&process));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    // Who goes away makes room.
    drop(going);
    let free = free(&scrapes).await;
    assert_eq!(free, AT_ONCE);
}

/// Waits until all turns are free; how many are, at the deadline.
async fn free(scrapes: &Scrapes) -> usize {
    let all = u32::try_from(AT_ONCE).unwrap();
    let acquired = tokio::time::timeout(Duration::from_secs(10), scrapes.0.acquire_many(all));
    match acquired.await {
        Ok(_) => AT_ONCE,
        Err(_) => scrapes.0.available_permits(),
    }
}
