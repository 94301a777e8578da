//! Picks, wires and runs. The only part of the product that reads arguments, installs telemetry and
//! listens for signals; nobody imports it but `main`.

mod command;
mod demo;
mod dev;
mod devconfig;
mod docs;
mod ledger;
mod memory;
mod operator;
mod stand_in;
mod table;
mod terminal;

use std::{process::ExitCode, sync::Arc};

use busway_buskit::{
    runner::{self, Given, exit_code},
    signals,
    telemetry::{self, LogFormat},
};
use busway_core::Bus;
use busway_monitor::Role;
use clap::Parser as _;
use command::{Cli, Command};
use tokio_util::sync::CancellationToken;

use crate::cli::{crds, post, sink, uninstall};

/// Does what the arguments say.
#[must_use]
pub fn main() -> ExitCode {
    exit_code(run(Cli::parse().command))
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => dev::run(&args),
        Command::Operator(given) => operator::run(&given.args, given.log_format),
        Command::Dispatcher(args) => runner::serve(&args, Role::Whole, open),
        Command::Provisioner(args) => runner::serve(&args, Role::Provisioner, open),
        Command::Sink(args) => serve_sink(args),
        Command::Post(args) => runner::control_runtime()?.block_on(post::run(args)),
        Command::Uninstall(args) => runner::control_runtime()?.block_on(uninstall::run(args)),
        Command::Crds(args) => crds::run(&args),
        Command::Docs { page } => docs::print(page),
    }
}

/// Memory is the one built-in bus yet; it refuses a Bus that asks for another.
fn open(given: &Given) -> anyhow::Result<Arc<dyn Bus>> {
    let (bus, counters) = memory::open(&given.budget, &given.clock);
    given.show(counters);
    Ok(bus)
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
