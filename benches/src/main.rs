//! Busway beside a bare loop, in one run: what `make bench` prints. docs/benchmarks.md says how to read it.
//!
//! Each part runs as a process of its own: the generator, the sinks, the bare loop, and the product.

mod clock;
mod message;
mod stats;
mod tally;

mod bare;
mod load;
mod sinks;

mod process;
mod sink_process;
mod systems;

mod check;
mod control;
mod data;
mod isolation;
mod run;

mod machine;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use http::Uri;
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};

use crate::{
    bare::Bare, control::ControlArgs, data::DataArgs, isolation::IsolationArgs, load::Load,
    table::Table,
};

#[derive(Debug, Parser)]
#[command(about = "Busway beside a bare loop, in one run")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The data plane, isolation, then the control plane.
    All {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        isolation: IsolationArgs,
        #[command(flatten)]
        control: ControlArgs,
        #[command(flatten)]
        output: Output,
    },
    /// The bare loop and Busway side by side.
    Data {
        #[command(flatten)]
        data: DataArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Ninety-nine good subscribers beside two bad ones.
    Isolation {
        #[command(flatten)]
        isolation: IsolationArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Ten thousand Subscriptions on a real API server.
    Control {
        #[command(flatten)]
        control: ControlArgs,
        #[command(flatten)]
        output: Output,
    },
    /// The generator.
    #[command(hide = true)]
    Load(Load),
    /// The sinks.
    #[command(hide = true)]
    Sinks {
        #[arg(long)]
        ports: usize,
    },
    /// The bare loop.
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        threads: usize,
        #[arg(long = "sink")]
        sinks: Vec<Uri>,
        #[arg(long)]
        lose_every: Option<u64>,
    },
}

#[derive(Debug, Clone, Args)]
struct Output {
    /// A few seconds and few objects: shows that it runs, not how fast anything is.
    #[arg(long)]
    quick: bool,
    /// A page whose tables are replaced.
    #[arg(long, value_name = "PAGE")]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("busway-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::All {
            data,
            isolation,
            control,
            output,
        } => {
            measure_data(data, &output)?;
            measure_isolation(isolation, &output)?;
            measure_control(control, &output)
        }
        Command::Data { data, output } => measure_data(data, &output),
        Command::Isolation { isolation, output } => measure_isolation(isolation, &output),
        Command::Control { control, output } => measure_control(control, &output),
        Command::Load(load) => on_one_thread(async {
            println!("{}", serde_json::to_string(&load.send().await?)?);
            Ok(())
        }),
        Command::Sinks { ports } => on_one_thread(sinks::serve(ports)),
        Command::Bare {
            threads,
            sinks,
            lose_every,
        } => {
            let runtime = on_threads(threads)?;
            let bare = Bare { sinks, lose_every };
            runtime.block_on(async { tokio::spawn(bare.serve()).await? })
        }
    }
}

fn measure_data(mut args: DataArgs, output: &Output) -> Result<()> {
    if output.quick {
        (args.rounds, args.seconds) = (1, 1);
    }
    let taken = machine::taken();
    let table = on_one_thread(data::measure(&args)).context("data plane")?;
    output.show("data", "Data plane", table, taken)
}

fn measure_isolation(mut args: IsolationArgs, output: &Output) -> Result<()> {
    if output.quick {
        (args.isolation_rounds, args.isolation_seconds) = (1, 1);
    }
    let taken = machine::taken();
    let table = on_one_thread(isolation::measure(&args)).context("isolation")?;
    output.show("isolation", "Isolation", table, taken)
}

fn measure_control(mut args: ControlArgs, output: &Output) -> Result<()> {
    if output.quick {
        args.subscriptions = 100;
        args.channels = 10;
    }
    let taken = machine::taken();
    let table = on_one_thread(control::measure(&args)).context("control plane")?;
    output.show("control", "Control plane", table, taken)
}

impl Output {
    fn show(&self, name: &str, heading: &str, mut table: Table, taken: String) -> Result<()> {
        table.taken.push(taken);
        println!("## {heading}\n\n{}", table.markdown());
        match &self.write {
            Some(page) => table.write(page, name),
            None => Ok(()),
        }
    }
}

/// One thread, so that a process takes no more than one core.
fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = LocalSet::new().block_on(&runtime, work);
    // Nobody waits for a thread that reads standard input.
    runtime.shutdown_background();
    result
}

/// One thread is one thread: no worker beside the one that blocks.
fn on_threads(threads: usize) -> Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        more => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(more);
            builder
        }
    };
    Ok(builder.enable_all().build()?)
}
