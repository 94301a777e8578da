//! The systems under test: each a process of its own that takes POSTs at one address and path.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::{
    bare,
    process::{Process, Usage},
};

/// What every system that is started says of its message port.
const LISTENING: &str = "listening messages=";

/// A running system under test.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
}

impl System {
    /// The bare loop over `sinks` on `threads` threads; with none it reads, drops and answers 202.
    pub(crate) async fn bare(
        sinks: &[u16],
        threads: usize,
        lose_every: Option<u64>,
        folder: &Path,
    ) -> Result<Self> {
        let mut args = vec!["bare".to_owned(), format!("--threads={threads}")];
        for port in sinks {
            args.push(format!("--sink={}", bare::sink_uri(*port)?));
        }
        args.extend(lose_every.map(|every| format!("--lose-every={every}")));
        let name = format!("bare-{}", sinks.len());
        Self::listening(Process::of_ours(&name, &args, folder)?, "/").await
    }

    /// `busway dev` with one channel on a memory bus and a subscription for each of `subscribers`.
    pub(crate) async fn busway(
        subscribers: Subscribers<'_>,
        threads: usize,
        folder: &Path,
    ) -> Result<Self> {
        let name = format!("busway-{}", subscribers.name);
        let manifests = folder.join(format!("{name}-manifests"));
        fs::create_dir_all(&manifests)?;
        fs::write(manifests.join("bench.yaml"), manifest(&subscribers))?;
        let mut command = Command::new(busway_binary()?);
        command.arg("dev").arg(&manifests).args([
            "--quiet",
            "--listen=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--debug=127.0.0.1:0",
        ]);
        command.arg(format!("--shards={threads}"));
        command
            .arg("--state")
            .arg(folder.join(format!("{name}-state")));
        let process = Process::start(&name, &mut command, folder)?;
        Self::listening(process, "/default/bench").await
    }

    async fn listening(process: Process, path: &'static str) -> Result<Self> {
        let address = process
            .said("where it listens", |line| {
                line.strip_prefix(LISTENING)?.trim().parse().ok()
            })
            .await?;
        Ok(Self {
            process,
            address,
            path,
        })
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }
}

/// The product, as it was built beside this program.
pub(crate) fn busway_binary() -> Result<PathBuf> {
    let ours = std::env::current_exe().context("the path of this program")?;
    let busway = ours.with_file_name("busway");
    if !busway.is_file() {
        bail!(
            "{} is not there: build it with the same profile (`cargo build --release --bin busway`)",
            busway.display()
        );
    }
    Ok(busway)
}

/// Who subscribes to the one channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscribers<'a> {
    /// Tells this system from others of the same run.
    pub(crate) name: &'a str,
    pub(crate) ports: &'a [u16],
    pub(crate) when_full: WhenFull,
}

/// What the memory bus does when a subscription's queue is full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WhenFull {
    /// A full queue is heard by the generator, and costs no message.
    Reject,
    /// As built in.
    DropOldest,
}

fn manifest(subscribers: &Subscribers<'_>) -> String {
    let when_full = match subscribers.when_full {
        WhenFull::Reject => "reject",
        WhenFull::DropOldest => "dropOldest",
    };
    let mut text = format!(
        "\
apiVersion: channels.busway.dev/v1alpha1
kind: Bus
metadata: {{name: memory}}
spec: {{memory: {{whenFull: {when_full}}}}}
---
apiVersion: channels.busway.dev/v1alpha1
kind: Channel
metadata: {{name: bench}}
spec: {{bus: memory}}
"
    );
    for (number, port) in subscribers.ports.iter().enumerate() {
        text.push_str(&format!(
            "\
---
apiVersion: channels.busway.dev/v1alpha1
kind: Subscription
metadata: {{name: sink-{number}}}
spec: {{channel: bench, subscriber: \"http://127.0.0.1:{port}/\"}}
"
        ));
    }
    text
}
