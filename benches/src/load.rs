//! The generator: sends messages over keep-alive connections and says what became of them.
//!
//! With a fixed rate it is open-loop: the schedule is set before the start, a message that is sent late because the
//! system was slow still counts from the time it was due (as wrk2 does it), and how late the generator itself was is
//! part of the report.

mod connection;
mod pacer;

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

pub(crate) use self::connection::Connection;
use self::pacer::Pacer;
use crate::{
    clock,
    message::{Template, Ticket},
    stats::Quantiles,
};

/// What to send, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// The address of the system under test.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// The path that is POSTed to.
    #[arg(long)]
    pub(crate) path: String,
    /// The number of this run, which every message carries.
    #[arg(long)]
    pub(crate) run: u32,
    /// For how long messages are sent.
    #[arg(long)]
    pub(crate) seconds: u64,
    /// Connections that are kept open.
    #[arg(long)]
    pub(crate) connections: usize,
    /// Where the sinks say how much was delivered.
    #[arg(long)]
    pub(crate) feedback: SocketAddr,
    /// When messages are sent.
    #[command(subcommand)]
    pub(crate) pace: Pace,
}

/// When messages are sent.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Pace {
    /// So many a second, whatever the system does.
    Fixed {
        /// Messages a second.
        rate: u64,
        /// Stand still for this long in the middle: to show that a missed schedule is noticed.
        #[arg(long, default_value_t = 0)]
        stall_millis: u64,
    },
    /// As many as the system takes, with at most `size` messages accepted and not yet delivered to all sinks.
    Window {
        /// Messages on their way.
        size: usize,
        /// Deliveries of one message.
        fan_out: u64,
    },
    /// As many as the system answers, one on each connection.
    Closed,
}

impl Pace {
    /// So many messages a second.
    pub(crate) fn fixed(rate: u64) -> Self {
        Self::Fixed {
            rate,
            stall_millis: 0,
        }
    }

    /// The same for a warm-up, which never stalls.
    pub(crate) fn warm(self) -> Self {
        match self {
            Self::Fixed { rate, .. } => Self::fixed(rate),
            other => other,
        }
    }

    /// As arguments of this program.
    pub(crate) fn args(self) -> Vec<String> {
        let numbered = |name: &str, numbers: &[String]| [&[name.to_owned()], numbers].concat();
        match self {
            Self::Fixed { rate, stall_millis } => numbered(
                "fixed",
                &[rate.to_string(), format!("--stall-millis={stall_millis}")],
            ),
            Self::Window { size, fan_out } => {
                numbered("window", &[size.to_string(), fan_out.to_string()])
            }
            Self::Closed => numbered("closed", &[]),
        }
    }
}

/// What became of the messages of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Messages that the schedule wanted sent; without a schedule, those that were.
    pub(crate) planned: u64,
    /// Answered with 200 or 202.
    pub(crate) accepted: u64,
    /// Answered otherwise.
    pub(crate) refused: u64,
    /// Not answered: the connection broke.
    pub(crate) broken: u64,
    /// When the first message was due, by [`crate::clock::now`].
    pub(crate) began: u64,
    /// When the last answer came.
    pub(crate) ended: u64,
    /// From the time a message was due to the time the generator began to write it.
    pub(crate) late: Quantiles,
    /// From the time a message was due to its answer.
    pub(crate) answered: Quantiles,
    /// What was answered or happened instead, the first time.
    pub(crate) first_trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Record {
    report: Report,
    late: Vec<u32>,
    answered: Vec<u32>,
}

impl Load {
    /// Sends what it says. Errors are of the generator; what the system did wrong is in the report.
    pub(crate) async fn send(&self) -> Result<Report> {
        let record = Rc::new(RefCell::new(Record::default()));
        let template = Rc::new(Template::new(&self.path, &self.target.to_string()));
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            connections.push(
                Connection::open(self.target)
                    .await
                    .with_context(|| format!("connecting to {}", self.target))?,
            );
        }
        let pacer = Rc::new(Pacer::start(self).await?);
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| {
                tokio::task::spawn_local(send_on(
                    connection,
                    self.run,
                    Rc::clone(&pacer),
                    Rc::clone(&template),
                    Rc::clone(&record),
                ))
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        let mut record = record.borrow_mut();
        let mut report = record.report.clone();
        report.began = pacer.began();
        report.planned = pacer.planned();
        report.late = Quantiles::of(&mut record.late);
        report.answered = Quantiles::of(&mut record.answered);
        Ok(report)
    }
}

async fn send_on(
    mut connection: Connection,
    run: u32,
    pacer: Rc<Pacer>,
    template: Rc<Template>,
    record: Rc<RefCell<Record>>,
) -> Result<()> {
    let mut request = Vec::new();
    while let Some((number, due)) = pacer.next().await {
        template.render(Ticket { run, number, due }, &mut request);
        let written = clock::now();
        let answer = connection.exchange(&request).await;
        let now = clock::now();
        let mut trouble = None;
        {
            let mut record = record.borrow_mut();
            record.late.push(micros(written, due));
            record.answered.push(micros(now, due));
            record.report.ended = now;
            match &answer {
                Ok(200 | 202) => record.report.accepted += 1,
                Ok(status) => {
                    record.report.refused += 1;
                    trouble = Some(format!("HTTP status {status}"));
                }
                Err(error) => {
                    record.report.broken += 1;
                    trouble = Some(format!("{error:#}"));
                }
            }
            if record.report.first_trouble.is_none() {
                record.report.first_trouble.clone_from(&trouble);
            }
        }
        if trouble.is_some() {
            pacer.give_back();
        }
        if answer.is_err() {
            connection = Connection::open(connection.target()).await?;
        }
    }
    Ok(())
}

fn micros(at: u64, due: u64) -> u32 {
    let span = Duration::from_nanos(at.saturating_sub(due));
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}
