//! `traffic`: what the end-to-end tests' pods send with. The product's image has no sender in it.

mod connection;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use clap::Parser;
use http::Uri;
use serde_json::json;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::connection::Connection;

/// Posts numbered messages at a steady rate over kept-alive connections, whether or not the last was answered in time.
///
/// Prints one line of JSON at the end: how many were accepted, which were not and why, and the longest wait for an answer
/// counted from when the message was due; and how late it was itself at worst, which is the machine's. Ends with 0 also when
/// some failed: the reader judges.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Where to.
    #[arg(long)]
    url: Uri,

    /// How many messages; their bodies are `<prefix>-0`, `<prefix>-1`, …
    #[arg(long, default_value_t = 1)]
    count: u64,

    /// Messages a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,

    /// Connections that share them.
    #[arg(long, default_value_t = 4)]
    connections: u64,

    /// What the bodies begin with.
    #[arg(long, default_value = "m")]
    prefix: String,

    /// Send each message again until it is accepted, for that many seconds.
    #[arg(long, default_value_t = 0)]
    persist: u64,
}

/// What came of it.
#[derive(Debug, Default)]
struct Report {
    accepted: u64,
    /// Bodies that were not accepted at the first try.
    failed: Vec<String>,
    /// Why, and how often.
    errors: BTreeMap<String, u64>,
    longest: Duration,
    /// The most that a timer was late: nobody else had a part in that.
    late: Duration,
}

/// How often the timer is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Finds out how late this process is woken.
async fn watch_clock(report: Arc<Mutex<Report>>) {
    loop {
        let due = Instant::now() + TICK;
        sleep_until(due).await;
        let late = due.elapsed();
        let mut report = report.lock().await;
        report.late = report.late.max(late);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let report = Arc::new(Mutex::new(Report::default()));
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for lane in 0..args.connections {
        senders.spawn(lane_of(args.clone(), lane, started, Arc::clone(&report)));
    }
    tokio::select! {
        _all = senders.join_all() => {}
        () = terminated() => {}
        () = watch_clock(Arc::clone(&report)) => {}
    }
    let report = report.lock().await;
    println!(
        "{}",
        json!({
            "accepted": report.accepted,
            "failed": report.failed,
            "errors": report.errors,
            "longest_ms": u64::try_from(report.longest.as_millis())?,
            "late_ms": u64::try_from(report.late.as_millis())?,
            "seconds": started.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}

/// SIGTERM: a pod that is deleted still says what it did.
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// Sends every message of one connection at its time.
async fn lane_of(args: Args, lane: u64, started: Instant, report: Arc<Mutex<Report>>) {
    let mut connection = Connection::to(args.url.clone());
    let mut number = lane;
    while number < args.count {
        let due = started + Duration::from_secs_f64(number as f64 / f64::from(args.rate.max(1)));
        sleep_until(due).await;
        let body = format!("{}-{number}", args.prefix);
        let mut outcome = connection.post(&body).await;
        if let Err(error) = &outcome {
            let mut report = report.lock().await;
            *report.errors.entry(format!("{error:#}")).or_default() += 1;
            report.failed.push(body.clone());
        }
        while outcome.is_err() && due.elapsed() < Duration::from_secs(args.persist) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            outcome = connection.post(&body).await;
        }
        let mut report = report.lock().await;
        report.accepted += u64::from(outcome.is_ok());
        report.longest = report.longest.max(due.elapsed());
        number += args.connections;
    }
}
