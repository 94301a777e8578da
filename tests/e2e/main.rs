//! End-to-end: a real cluster, our image in it, pods, Services, DNS. Run by `make e2e`; docs/testing.md says how.
//!
//! A scenario at a time, in the order of [`scenarios::ALL`], each in namespaces of its own. After each the cluster's objects
//! are those that were there before, or it has failed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod audit;
mod bed;
mod metrics;
mod node;
mod objects;
mod pods;
mod release;
mod report;
mod run;
mod scenarios;
mod status;

fn main() -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run::run(scenarios::ALL, std::env::args().skip(1)))
}
