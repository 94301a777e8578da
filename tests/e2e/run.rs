//! Runs scenarios and prints what cargo's own harness would.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin, process::ExitCode, time::Instant};

use anyhow::{Result, anyhow, bail};
use futures::FutureExt as _;

use crate::{bed::Bed, objects::Objects, report};

/// What is there when a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A cluster that has never heard of Busway.
    Nothing,
    /// The chart is installed and the operator is ready.
    Installed,
}

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One scenario: its name is a sentence.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) given: Given,
    pub(crate) run: for<'a> fn(&'a Bed) -> Running<'a>,
}

/// Runs those whose name has one of `args` in it; all without any. `--list` prints the names.
pub(crate) async fn run(all: &[Scenario], args: impl Iterator<Item = String>) -> ExitCode {
    let (flags, parts): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with("--"));
    let chosen: Vec<_> = all
        .iter()
        .filter(|one| parts.is_empty() || parts.iter().any(|part| one.name.contains(part)))
        .collect();
    if flags.iter().any(|flag| flag == "--list") {
        for scenario in &chosen {
            println!("{}: test", scenario.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} scenarios", chosen.len());
    let started = Instant::now();
    let bed = match Bed::from_environment().await {
        Ok(bed) => bed,
        Err(error) => {
            println!("there is no cluster to test on: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = Vec::new();
    for scenario in &chosen {
        let began = Instant::now();
        let outcome = one(&bed, scenario).await;
        let took = began.elapsed().as_secs_f64();
        // A line of its own, so that it is cargo's whatever the scenario printed.
        match outcome {
            Ok(()) => println!("    {took:.1} s\ntest {} ... ok", scenario.name),
            Err(error) => {
                println!(
                    "    {error:#}\n    {took:.1} s\ntest {} ... FAILED",
                    scenario.name
                );
                failed.push(scenario.name);
            }
        }
    }
    if let Err(error) = bed.uninstall().await {
        println!("the end: {error:#}");
        failed.push("the end leaves nothing behind");
    }
    let passed = chosen.len().saturating_sub(failed.len());
    println!(
        "\ntest result: {}. {passed} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        all.len() - chosen.len(),
        started.elapsed().as_secs_f64(),
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Brings about what is given, runs it, takes away what it made, and compares.
async fn one(bed: &Bed, scenario: &Scenario) -> Result<()> {
    println!("\n--- {}", scenario.name);
    match scenario.given {
        Given::Nothing => bed.uninstall().await?,
        Given::Installed => bed.install().await?,
    }
    let before = Objects::of(bed).await?;
    let began = Instant::now();
    let mut outcome = AssertUnwindSafe((scenario.run)(bed))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", said(panic.as_ref()))));
    println!(
        "    it took {:.1} s, and with what follows",
        began.elapsed().as_secs_f64()
    );
    if outcome.is_err() {
        report::print(bed).await;
    }
    if let Err(left) = bed.sweep().await {
        report::print(bed).await;
        outcome = outcome.and(Err(left));
        bed.force().await;
    }
    if scenario.given == Given::Nothing {
        // One that came to its end did it itself.
        outcome = outcome.and(bed.uninstall().await);
    }
    let same = Objects::until_equal(bed, &before).await;
    match (outcome, same) {
        (outcome, Ok(())) => outcome,
        (Ok(()), left) => left,
        (Err(error), Err(left)) => bail!("{error:#}\n    and then: {left:#}"),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}
