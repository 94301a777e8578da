//! When the next message may go.

use std::{cell::Cell, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::Semaphore};

use super::{Load, Pace};
use crate::clock;

/// Between the making of a schedule and its first message: connections wait by then.
const LEAD_IN: Duration = Duration::from_millis(20);

/// Hands out messages: each has a number and a time at which it is due.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    began: u64,
    /// Between two messages of a fixed rate.
    period: u64,
    /// How many a schedule has.
    planned: u64,
    until: u64,
    handed_out: Cell<u64>,
    /// One for each message that may go now. A thread adds them at their times (the timers of tokio are a
    /// millisecond coarse, as long as a delivery takes), or the sinks' feedback does.
    permits: Arc<Semaphore>,
}

impl Pacer {
    pub(super) async fn start(load: &Load) -> Result<Self> {
        let began = clock::now() + clock::nanos(LEAD_IN);
        let until = began + clock::nanos(Duration::from_secs(load.seconds));
        let mut pacer = Self {
            pace: load.pace,
            began,
            period: 0,
            planned: 0,
            until,
            handed_out: Cell::new(0),
            permits: Arc::new(Semaphore::new(0)),
        };
        match load.pace {
            Pace::Fixed { rate, stall_millis } => {
                pacer.period = 1_000_000_000 / rate.max(1);
                pacer.planned = rate * load.seconds;
                let stall = Duration::from_millis(stall_millis);
                let (period, planned) = (pacer.period, pacer.planned);
                let permits = Arc::clone(&pacer.permits);
                thread::spawn(move || keep_times(&permits, began, period, planned, stall));
            }
            Pace::Window { size, fan_out } => {
                let feedback = TcpStream::connect(load.feedback)
                    .await
                    .context("connecting to the sinks")?;
                pacer.permits.add_permits(size);
                let permits = Arc::clone(&pacer.permits);
                tokio::task::spawn_local(follow(feedback, permits, fan_out));
                let permits = Arc::clone(&pacer.permits);
                let seconds = Duration::from_secs(load.seconds);
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(LEAD_IN + seconds).await;
                    permits.close();
                });
            }
            Pace::Closed => {}
        }
        Ok(pacer)
    }

    /// The number and due time of the next message, as soon as it may go; `None` when the run is over.
    pub(super) async fn next(&self) -> Option<(u64, u64)> {
        if !matches!(self.pace, Pace::Closed) {
            self.permits.acquire().await.ok()?.forget();
        }
        let number = self.handed_out.get();
        let due = match self.pace {
            Pace::Fixed { .. } if number >= self.planned => return None,
            Pace::Fixed { .. } => self.began + number * self.period,
            Pace::Window { .. } | Pace::Closed => {
                let now = clock::now();
                if now >= self.until {
                    return None;
                }
                now
            }
        };
        self.handed_out.set(number + 1);
        Some((number, due))
    }

    /// A message will not be delivered: another may take its place in the window.
    pub(super) fn give_back(&self) {
        if matches!(self.pace, Pace::Window { .. }) {
            self.permits.add_permits(1);
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.began
    }

    pub(super) fn planned(&self) -> u64 {
        match self.pace {
            Pace::Fixed { .. } => self.planned,
            Pace::Window { .. } | Pace::Closed => self.handed_out.get(),
        }
    }
}

/// A permit at the time of each message; in the middle it stands still for `stall`.
fn keep_times(permits: &Semaphore, began: u64, period: u64, planned: u64, stall: Duration) {
    for number in 0..planned {
        let due = began + number * period;
        let wait = due.saturating_sub(clock::now());
        if wait > 0 {
            thread::sleep(Duration::from_nanos(wait));
        }
        if number == planned / 2 {
            thread::sleep(stall);
        }
        permits.add_permits(1);
    }
    // Whoever waits now learns that there are no more.
    permits.add_permits(Semaphore::MAX_PERMITS / 2);
}

/// A permit for each message that reached all its sinks.
async fn follow(mut feedback: TcpStream, permits: Arc<Semaphore>, fan_out: u64) {
    let mut given = 0;
    let mut bytes = [0; 8];
    while feedback.read_exact(&mut bytes).await.is_ok() {
        let done = u64::from_le_bytes(bytes) / fan_out.max(1);
        let more = usize::try_from(done.saturating_sub(given)).unwrap_or_default();
        given += more as u64;
        permits.add_permits(more);
    }
}
