//! One run: load on one system, and what it cost.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    check,
    load::{Pace, Report},
    process::Talker,
    sink_process::Sinks,
    stats::Quantiles,
    systems::System,
    tally::Tally,
};

/// Connections of the generator: enough that no due message waits for one at the rates that are measured, few enough
/// that they cost the system nothing.
const CONNECTIONS: usize = 64;
/// Sent before what is measured, so that connections are open and pages are touched.
const WARM_UP_SECONDS: u64 = 1;
/// The generator's process may take so much longer than its run.
const GENERATOR_GRACE: Duration = Duration::from_secs(60);
/// A system has to deliver a first message within this.
const FIRST_DELIVERY: Duration = Duration::from_secs(30);

/// What one run showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// CPU time of the system a delivery, or a message where nothing is delivered, in microseconds.
    pub(crate) cpu: f64,
    /// Messages a second, accepted and delivered to every sink.
    pub(crate) rate: f64,
    /// From the time a message was due to its arrival at a sink; to its answer where nothing is delivered. In
    /// microseconds.
    pub(crate) latency: Quantiles,
}

/// What the runs of one benchmark share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) sinks: &'a mut Sinks,
    pub(crate) folder: &'a Path,
}

impl Bench<'_> {
    /// Waits until a message gets to all `fan_out` sinks of `system`.
    pub(crate) async fn until_it_delivers(&mut self, system: &System, fan_out: u64) -> Result<()> {
        let started = tokio::time::Instant::now();
        loop {
            // A run of one message: one a second, for one second.
            let seen = self.send(system, Pace::fixed(1), 1, fan_out).await;
            let seen = seen.and_then(|(report, tally)| {
                check::accepted(&report)?;
                Ok(check::deliveries(1, fan_out, &tally)?)
            });
            match seen {
                Ok(()) => return Ok(()),
                Err(error) if started.elapsed() > FIRST_DELIVERY => {
                    return Err(error.context(system.process.tail()));
                }
                Err(_) => {}
            }
        }
    }

    /// Load of `pace` on `system` for `seconds`, after a warm-up of the same kind.
    ///
    /// # Errors
    /// Also when the run does not count: see [`check`].
    pub(crate) async fn measure(
        &mut self,
        system: &System,
        pace: Pace,
        seconds: u64,
        fan_out: u64,
    ) -> Result<Sample> {
        let (report, tally) = self
            .send(system, pace.warm(), WARM_UP_SECONDS, fan_out)
            .await?;
        check::accepted(&report).context("warming up")?;
        check::deliveries(report.accepted, fan_out, &tally).context("warming up")?;

        let before = system.usage()?.cpu;
        let (report, tally) = self.send(system, pace, seconds, fan_out).await?;
        let cpu = system.usage()?.cpu.saturating_sub(before);
        check::accepted(&report)?;
        check::deliveries(report.accepted, fan_out, &tally)?;
        if matches!(pace, Pace::Fixed { .. }) {
            check::times(&report)?;
        }

        let pieces = report.accepted * fan_out.max(1);
        let (ended, latency) = match fan_out {
            0 => (report.ended, report.answered),
            _ => (tally.last, tally.latency),
        };
        let elapsed = Duration::from_nanos(ended.saturating_sub(report.began));
        Ok(Sample {
            cpu: cpu.as_secs_f64() * 1e6 / as_f64(pieces),
            rate: as_f64(report.accepted) / elapsed.as_secs_f64(),
            latency,
        })
    }

    async fn send(
        &mut self,
        system: &System,
        pace: Pace,
        seconds: u64,
        fan_out: u64,
    ) -> Result<(Report, Tally)> {
        let run = self.sinks.begin().await?;
        let mut args = vec![
            "load".to_owned(),
            format!("--target={}", system.address),
            format!("--path={}", system.path),
            format!("--run={run}"),
            format!("--seconds={seconds}"),
            format!("--connections={CONNECTIONS}"),
            format!("--feedback={}", self.sinks.feedback()),
        ];
        args.extend(pace.args());
        let mut generator = Talker::start(&args, self.folder)?;
        let patience = Duration::from_secs(seconds) + GENERATOR_GRACE;
        let said = generator.line_within(patience).await?;
        let report: Report = serde_json::from_str(&said).context(said)?;
        self.sinks.drained(report.accepted * fan_out).await?;
        Ok((report, self.sinks.tally().await?))
    }
}

/// Counts of a run are far below 2⁵³.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
