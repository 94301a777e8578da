//! Picks, wires and runs. The only part of the product that reads arguments, installs telemetry and
//! listens for signals; nobody imports it but `main`.

mod command;
mod demo;
mod dev;
mod devconfig;
mod docs;
mod ledger;
mod memory;
mod stand_in;
mod table;
mod terminal;

use std::process::ExitCode;

use busway_buskit::{
    runner::{self, exit_code},
    signals,
    telemetry::{self, LogFormat},
};
use busway_monitor::Role;
use clap::Parser as _;
use command::{Cli, Command};
use tokio_util::sync::CancellationToken;

use crate::cli::{crds, sink};

/// Does what the arguments say.
#[must_use]
pub fn main() -> ExitCode {
    exit_code(run(Cli::parse().command))
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => dev::run(&args),
        // Memory is the one built-in bus yet; it refuses a Bus that asks for another.
        Command::Dispatcher(args) => runner::serve(&args, Role::Whole, |given| {
            let (bus, counters) = memory::open(&given.budget, &given.clock);
            given.show(counters);
            Ok(bus)
        }),
        Command::Sink(args) => serve_sink(args),
        Command::Crds(args) => crds::run(&args),
        Command::Docs { page } => docs::print(page),
    }
}

fn serve_sink(args: sink::SinkArgs) -> anyhow::Result<()> {
    telemetry::init(LogFormat::detect(), "info");
    runner::control_runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        let _ended = shutdown.clone().drop_guard();
        tokio::select! {
            served = sink::run(args, shutdown) => served,
            _ = signals::terminated() => Ok(()),
        }
    })
}
