//! The data plane: the bare loop and Busway side by side, in turns.

mod rows;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    load::Pace,
    run::{Bench, Sample},
    sink_process::Sinks,
    stats::Spread,
    systems::{Subscribers, System, WhenFull},
    table::Table,
};

/// Deliveries of each message.
const FAN_OUT: u64 = 10;
/// The fixed rates, in messages a second.
const RATES: [u64; 2] = [500, 1000];
/// What `--sabotage loss` loses: one delivery of so many.
const LOSE_EVERY: u64 = 100;
/// How long `--sabotage stall` stands still: well over what [`crate::check`] lets pass.
const STALL_MILLIS: u64 = 700;

/// How the data plane is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataArgs {
    /// How often each system is measured at each load, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// For how long, each time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Worker threads of the bare loop, and shards of Busway.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: u16,
    /// Messages that are on their way at once when the system is saturated.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: u16,
    /// Measure the bare loop only: to try the harness out.
    #[arg(long)]
    pub(crate) bare_only: bool,
    /// Break something on purpose, to see the benchmark fail.
    #[arg(long, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// The bare loop loses one delivery of a hundred.
    Loss,
    /// The generator stands still in the middle of a run.
    Stall,
}

/// The samples of one load, a round after the other.
#[derive(Debug, Default)]
struct Rounds {
    bare: Vec<Sample>,
    busway: Vec<Sample>,
}

/// What the whole benchmark showed.
#[derive(Debug)]
struct Results {
    /// By rate, in the order of [`RATES`].
    fixed: Vec<(u64, Rounds)>,
    saturated: Rounds,
    /// The rate, and what it showed.
    half: (u64, Rounds),
    accepting: Rounds,
    memory: Memory,
}

/// Resident memory, in MB: bare loop, Busway.
#[derive(Debug)]
struct Memory {
    empty: (f64, Option<f64>),
    peak: (f64, Option<f64>),
}

/// A bare system and Busway doing the same.
#[derive(Debug)]
struct Pair {
    bare: System,
    busway: Option<System>,
}

/// Measures, and returns the table.
///
/// # Errors
/// When a run does not count, or a system does not start.
pub(crate) async fn measure(args: &DataArgs) -> Result<Table> {
    let folder = tempfile::tempdir().context("a folder for logs and manifests")?;
    let mut sinks = Sinks::start(FAN_OUT as usize, folder.path()).await?;
    let threads = usize::from(args.threads);
    let lose_every = (args.sabotage == Some(Sabotage::Loss)).then_some(LOSE_EVERY);
    let mut systems = Vec::new();
    for ports in [sinks.ports(), &[]] {
        let busway = match args.bare_only {
            true => None,
            false => {
                let subscribers = Subscribers {
                    name: &ports.len().to_string(),
                    ports,
                    when_full: WhenFull::Reject,
                };
                Some(System::busway(subscribers, threads, folder.path()).await?)
            }
        };
        let bare = System::bare(ports, threads, lose_every, folder.path()).await?;
        systems.push(Pair { bare, busway });
    }
    let [carrying, empty] = systems
        .try_into()
        .map_err(|_| anyhow::anyhow!("two pairs"))?;
    let mut bench = Bench {
        sinks: &mut sinks,
        folder: folder.path(),
    };
    for (pair, fan_out) in [(&carrying, FAN_OUT), (&empty, 0)] {
        bench
            .until_it_delivers(&pair.bare, fan_out)
            .await
            .context("bare loop")?;
        if let Some(busway) = &pair.busway {
            bench
                .until_it_delivers(busway, fan_out)
                .await
                .context("Busway")?;
        }
    }
    let results = all_loads(&mut bench, args, &carrying, &empty).await?;
    Ok(rows::table(args, &results))
}

async fn all_loads(
    bench: &mut Bench<'_>,
    args: &DataArgs,
    carrying: &Pair,
    empty: &Pair,
) -> Result<Results> {
    let resident_when_empty = empty.memory(|usage| usage.resident)?;
    let mut fixed = Vec::new();
    for rate in RATES {
        let rounds = in_turns(bench, args, carrying, args.at(rate), FAN_OUT).await?;
        fixed.push((rate, rounds));
    }
    let window = Pace::Window {
        size: args.window.into(),
        fan_out: FAN_OUT,
    };
    let saturated = in_turns(bench, args, carrying, window, FAN_OUT).await?;
    let half = half_of(&saturated.bare)?;
    let half = (
        half,
        in_turns(bench, args, carrying, args.at(half), FAN_OUT).await?,
    );
    let accepting = in_turns(bench, args, empty, Pace::Closed, 0).await?;
    let peak = carrying.memory(|usage| usage.peak)?;
    Ok(Results {
        fixed,
        saturated,
        half,
        accepting,
        memory: Memory {
            empty: resident_when_empty,
            peak,
        },
    })
}

/// Bare loop, Busway, Busway, bare loop, and so on: what drifts on the machine meets both.
async fn in_turns(
    bench: &mut Bench<'_>,
    args: &DataArgs,
    pair: &Pair,
    pace: Pace,
    fan_out: u64,
) -> Result<Rounds> {
    let mut rounds = Rounds::default();
    for round in 0..args.rounds {
        eprintln!("{pace:?}, round {} of {}", round + 1, args.rounds);
        for turn in [round % 2, (round + 1) % 2] {
            let (name, system, samples) = match turn {
                0 => ("bare loop", Some(&pair.bare), &mut rounds.bare),
                _ => ("Busway", pair.busway.as_ref(), &mut rounds.busway),
            };
            let Some(system) = system else { continue };
            let sample = bench.measure(system, pace, args.seconds, fan_out).await;
            let sample = sample.with_context(|| format!("{name} at {pace:?}"))?;
            eprintln!("  {name}: {sample:?}");
            samples.push(sample);
        }
    }
    Ok(rounds)
}

/// Half of what the bare loop holds, in whole messages a second.
fn half_of(saturated: &[Sample]) -> Result<u64> {
    let held = Spread::of(saturated.iter().map(|sample| sample.rate)).context("no rounds")?;
    let half = format!("{:.0}", held.median / 2.0);
    half.parse().context(half)
}

impl DataArgs {
    fn at(&self, rate: u64) -> Pace {
        match self.sabotage {
            Some(Sabotage::Stall) => Pace::Fixed {
                rate,
                stall_millis: STALL_MILLIS,
            },
            _ => Pace::fixed(rate),
        }
    }
}

impl Pair {
    fn memory(&self, of: fn(crate::process::Usage) -> f64) -> Result<(f64, Option<f64>)> {
        let busway = self.busway.as_ref().map(|busway| busway.usage().map(of));
        Ok((of(self.bare.usage()?), busway.transpose()?))
    }
}
