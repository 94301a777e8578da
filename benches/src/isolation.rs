//! One subscription's trouble is nobody else's: ninety-nine good subscribers with and without a hanging and a failing
//! one beside them; and what a process holds while every subscriber hangs.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    load::Pace,
    process::Usage,
    run::{Bench, Sample},
    sink_process::Sinks,
    stats::Spread,
    systems::{Subscribers, System, WhenFull},
    table::Table,
};

/// Subscribers that answer.
const GOOD: usize = 99;
/// Subscribers that hang, where all do.
const HUNG: usize = 10;
/// Times as many messages for the second look at the memory, where all hang.
const TIMES: u64 = 10;

/// How isolation is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct IsolationArgs {
    /// How often each system is measured, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) isolation_rounds: u32,
    /// For how long, each time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) isolation_seconds: u64,
    /// Messages a second; each is delivered to all good subscribers.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) isolation_rate: u64,
}

/// The same three systems in turns: twice without the bad two, to see how much equal runs differ, and with them.
const NAMES: [&str; 3] = ["without them", "without them, again", "beside them"];

/// Measures, and returns the table.
///
/// # Errors
/// When a run does not count, or a system does not start.
pub(crate) async fn measure(args: &IsolationArgs) -> Result<Table> {
    let folder = tempfile::tempdir().context("a folder for logs and manifests")?;
    let mut sinks = Sinks::start(GOOD, folder.path()).await?;
    let (hangs, fails) = (stand(hang).await?, stand(refuse).await?);
    let mut systems = Vec::new();
    for (number, bad) in [&[][..], &[], &[hangs, fails]].into_iter().enumerate() {
        let ports: Vec<u16> = sinks.ports().iter().chain(bad).copied().collect();
        let subscribers = Subscribers {
            name: &format!("isolation-{number}"),
            ports: &ports,
            when_full: WhenFull::DropOldest,
        };
        systems.push(System::busway(subscribers, 1, folder.path()).await?);
    }
    let mut bench = Bench {
        sinks: &mut sinks,
        folder: folder.path(),
    };
    let fan_out = GOOD as u64;
    for system in &systems {
        bench.until_it_delivers(system, fan_out).await?;
    }
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    let pace = Pace::fixed(args.isolation_rate);
    for round in 0..args.isolation_rounds as usize {
        eprintln!(
            "isolation, round {} of {}",
            round + 1,
            args.isolation_rounds
        );
        for turn in 0..systems.len() {
            let number = (round + turn) % systems.len();
            let (Some(system), Some(samples)) = (systems.get(number), samples.get_mut(number))
            else {
                continue;
            };
            let sample = bench
                .measure(system, pace, args.isolation_seconds, fan_out)
                .await;
            let sample = sample.with_context(|| NAMES.get(number).copied().unwrap_or_default())?;
            eprintln!(
                "  {}: {sample:?}",
                NAMES.get(number).copied().unwrap_or_default()
            );
            samples.push(sample);
        }
    }
    drop(systems);
    let memory = all_hung(&mut bench, args, hangs).await?;
    Ok(table(args, &samples, memory))
}

/// The most memory, in MB, after so many messages to subscribers that all hang, and after many times as many.
async fn all_hung(bench: &mut Bench<'_>, args: &IsolationArgs, port: u16) -> Result<(f64, f64)> {
    let subscribers = Subscribers {
        name: "hung",
        ports: &[port; HUNG],
        when_full: WhenFull::DropOldest,
    };
    let system = System::busway(subscribers, 1, bench.folder).await?;
    bench.until_it_delivers(&system, 0).await?;
    let peak = |usage: Usage| usage.peak;
    bench
        .measure(&system, Pace::Closed, args.isolation_seconds, 0)
        .await?;
    let once = system.usage().map(peak)?;
    for _ in 1..TIMES {
        bench
            .measure(&system, Pace::Closed, args.isolation_seconds, 0)
            .await?;
    }
    Ok((once, system.usage().map(peak)?))
}

/// What a row is called, its decimals, and its figure.
type Row = (&'static str, usize, fn(&Sample) -> f64);

fn table(args: &IsolationArgs, samples: &[Vec<Sample>; 3], (once, often): (f64, f64)) -> Table {
    let mut table = Table {
        columns: vec![
            "measure",
            NAMES[0],
            NAMES[1],
            NAMES[2],
            "inside the spread of the equal two",
        ],
        ..Table::default()
    };
    let rows: [Row; 4] = [
        ("messages/s that reached all of the good", 1, |sample| {
            sample.rate
        }),
        ("end to end p50, ms", 2, |sample| {
            f64::from(sample.latency.p50) / 1000.0
        }),
        ("end to end p99, ms", 2, |sample| {
            f64::from(sample.latency.p99) / 1000.0
        }),
        ("CPU per delivery to the good, µs", 1, |sample| sample.cpu),
    ];
    for (name, decimals, of) in rows {
        let spreads = samples
            .each_ref()
            .map(|samples| Spread::of(samples.iter().map(of)));
        let mut cells = vec![name.to_owned()];
        cells.extend(spreads.iter().map(|spread| {
            spread
                .as_ref()
                .map_or_else(|| "–".to_owned(), |spread| format!("{spread:.decimals$}"))
        }));
        let inside = match &spreads {
            [Some(a), Some(b), Some(with)] => {
                let (least, most) = (a.min.min(b.min), a.max.max(b.max));
                if (least..=most).contains(&with.median) {
                    "yes"
                } else {
                    "no"
                }
            }
            _ => "",
        };
        cells.push(inside.to_owned());
        table.row(cells);
    }
    table.taken.push(format!(
        "{GOOD} good subscribers at {} messages/s, median of {} rounds of {} s (smallest–largest), in turns; beside them one \
         that accepts and never answers and one that answers 500, both tried again as the default policy says.",
        args.isolation_rate, args.isolation_rounds, args.isolation_seconds,
    ));
    table.taken.push(format!(
        "Memory with every subscriber hung ({HUNG} of them, `whenFull: dropOldest`, as many messages as are taken): at most \
         {once:.0} MB after {} s, {often:.0} MB after {TIMES} times as long.",
        args.isolation_seconds,
    ));
    table
}

/// Serves a port as long as this process runs.
async fn stand<F>(with: fn(TcpStream) -> F) -> Result<u16>
where
    F: Future<Output = ()> + 'static,
{
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await?;
    let port = listener.local_addr()?.port();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(with(stream));
        }
    });
    Ok(port)
}

/// Reads, and never answers.
async fn hang(mut stream: TcpStream) {
    let mut bytes = vec![0; 16 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// Answers each request 500. What comes at once is one request: a lane sends the next after the answer.
async fn refuse(mut stream: TcpStream) {
    let mut bytes = vec![0; 16 * 1024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
        let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
