//! The sinks' process as the rest of a run sees it.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use crate::{process::Talker, sinks::Listening, tally::Tally};

/// Deliveries that did not come for this long do not come any more: longer than a retry's first backoffs.
const NO_MORE_AFTER: Duration = Duration::from_secs(5);
/// Between two looks at how many came.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ten sinks, or as many as asked for.
#[derive(Debug)]
pub(crate) struct Sinks {
    process: Talker,
    listening: Listening,
    run: u32,
}

impl Sinks {
    /// Starts `ports` of them.
    pub(crate) async fn start(ports: usize, folder: &Path) -> Result<Self> {
        let args = ["sinks".to_owned(), "--ports".to_owned(), ports.to_string()];
        let mut process = Talker::start(&args, folder)?;
        let listening = process.line().await?;
        Ok(Self {
            process,
            listening: serde_json::from_str(&listening).context(listening)?,
            run: 0,
        })
    }

    /// The port of each.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.listening.sinks
    }

    /// Where the generator hears how much was delivered.
    pub(crate) fn feedback(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.listening.feedback))
    }

    /// A new run: its number, which is not that of any before.
    pub(crate) async fn begin(&mut self) -> Result<u32> {
        self.run += 1;
        self.process.ask(&format!("run {}", self.run)).await?;
        Ok(self.run)
    }

    /// Waits until `deliveries` came, or until no more come.
    pub(crate) async fn drained(&mut self, deliveries: u64) -> Result<()> {
        let mut last = (0, Instant::now());
        loop {
            let count: u64 = self.process.ask("count").await?.parse()?;
            if count >= deliveries {
                return Ok(());
            }
            if count > last.0 {
                last = (count, Instant::now());
            } else if last.1.elapsed() > NO_MORE_AFTER {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What arrived in this run.
    pub(crate) async fn tally(&mut self) -> Result<Tally> {
        let text = self.process.ask("tally").await?;
        serde_json::from_str(&text).context(text)
    }
}
