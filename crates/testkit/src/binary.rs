//! A binary of ours as a process: started, read, signalled, and gone with the test.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::wait;

/// Output that is kept; older lines are forgotten.
const KEPT_LINES: usize = 20_000;
/// How long the last lines of a process that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Lines of it that an error shows.
const TAIL: usize = 40;

/// A running process and what it printed. Dropping it kills the process.
#[derive(Debug)]
pub struct Binary {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Binary {
    /// Starts a program; further environment comes as pairs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = A>,
        environment: &[(&str, &OsStr)],
    ) -> Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out = child.stdout.take().map(|out| keep(out, Arc::clone(&lines)));
        let err = child.stderr.take().map(|err| keep(err, Arc::clone(&lines)));
        let readers = out.into_iter().chain(err).collect();
        Ok(Self {
            child,
            lines,
            readers,
        })
    }

    /// Everything it printed, both streams, line by line.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.clone()
    }

    fn tail(&self) -> String {
        let lines = self.output();
        let start = lines.len().saturating_sub(TAIL);
        lines.get(start..).unwrap_or_default().join("\n")
    }

    /// Waits for a line with this text in it.
    ///
    /// # Errors
    /// When it does not come in time: then with the end of the output.
    pub async fn line_with(&self, text: &str, deadline: Duration) -> Result<String> {
        wait::until(
            &format!("a line with `{text}` is printed"),
            deadline,
            || async {
                let found = self.output().into_iter().find(|line| line.contains(text));
                found.ok_or_else(|| format!("this output:\n{}", self.tail()))
            },
        )
        .await
    }

    /// Where it says that it listens: `listening messages=…` for people, or the same in a JSON log.
    ///
    /// # Errors
    /// When it does not say so in time.
    pub async fn address(&self, kind: &str, deadline: Duration) -> Result<SocketAddr> {
        let plain = format!("listening {kind}=");
        let tagged = format!("\"kind\":\"{kind}\"");
        wait::until(&format!("it listens for {kind}"), deadline, || async {
            self.output()
                .iter()
                .find_map(|line| {
                    let after = match line.split_once(&plain) {
                        Some((_, after)) => after,
                        None if line.contains(&tagged) => {
                            line.split_once("\"address\":\"")?.1.split('"').next()?
                        }
                        None => return None,
                    };
                    after.split_whitespace().next()?.parse().ok()
                })
                .ok_or_else(|| format!("this output:\n{}", self.tail()))
        })
        .await
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal by its name (`TERM`, `KILL`, `INT`).
    ///
    /// # Errors
    /// When it has ended already.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.id().context("the process has ended")?;
        let status = Command::new("kill")
            .args(["-s", name, &id.to_string()])
            .status()
            .await?;
        if !status.success() {
            bail!("kill -s {name} {id}: {status}");
        }
        Ok(())
    }

    /// Waits until it has ended, and its output is read.
    ///
    /// # Errors
    /// When it does not in time: then with the end of the output.
    pub async fn ended(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(deadline, self.child.wait()).await {
            Ok(status) => {
                for reader in self.readers.drain(..) {
                    // A grandchild may keep the pipe open.
                    let _ = tokio::time::timeout(LAST_LINES, reader).await;
                }
                Ok(status?)
            }
            Err(_) => bail!(
                "still running after {deadline:?}; its output:\n{}",
                self.tail()
            ),
        }
    }
}

fn keep(
    stream: impl AsyncRead + Unpin + Send + 'static,
    lines: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut reader = BufReader::new(stream).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= KEPT_LINES {
                lines.drain(..KEPT_LINES / 2);
            }
            lines.push(line);
        }
    })
}
