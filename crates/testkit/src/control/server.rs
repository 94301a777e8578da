//! A server process that does not outlive the test process, however that ends.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// Lines of a log that an error carries: enough to show why a server gave up.
const TAIL_LINES: usize = 20;

/// Starts `$@` and waits for it; kills it when standard input closes, which the kernel does for us when the test
/// process ends: by return, by panic, by `abort`, by `kill -9`.
const GUARD: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
( cat <&3 >/dev/null; kill -9 $child ) 2>/dev/null &
watch=$!
exec 3<&-
wait $child
code=$?
kill $watch 2>/dev/null
exit $code
"#;

/// A running server. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub(super) struct Server {
    guard: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `program`; its output is appended to `log`.
    pub(super) fn start<I>(program: &Path, args: I, log: &Path) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self {
            guard,
            log: log.to_owned(),
        })
    }

    /// # Errors
    /// When the server has ended by itself: with what, and the tail of its log.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.guard.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("it ended with {status}\n{}", tail(&self.log)),
        }
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> String {
        tail(&self.log)
    }

    /// Kills the server (SIGKILL) and waits until it is gone.
    fn kill(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("waiting for the end of {}: {error}", self.log.display());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a log, under its name.
fn tail(log: &Path) -> String {
    let mut last = VecDeque::with_capacity(TAIL_LINES + 1);
    if let Ok(file) = File::open(log) {
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            last.push_back(line);
            if last.len() > TAIL_LINES {
                last.pop_front();
            }
        }
    }
    let lines = Vec::from(last).join("\n");
    format!("---- {}\n{lines}", log.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn a_server_that_ends_is_reported_with_the_tail_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("broken.log");
        let script = "for n in $(seq 100); do echo line $n; done; exit 3";
        let mut server = Server::start(Path::new("sh"), ["-c", script], &log).unwrap();
        let started = Instant::now();
        let said = loop {
            match server.check_alive() {
                Err(said) => break said.to_string(),
                Ok(()) => assert!(started.elapsed().as_secs() < 30, "it never ended"),
            }
            thread::yield_now();
        };
        assert!(said.contains("exit status: 3"), "{said}");
        assert!(said.contains("broken.log"), "{said}");
        assert!(
            said.contains("line 81\n") && !said.contains("line 80\n"),
            "{said}"
        );
    }

    #[test]
    fn a_dropped_server_is_gone_and_had_no_chance_to_refuse() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("stubborn.log");
        let script = "trap '' TERM INT HUP; echo $$; while :; do sleep 1; done";
        let server = Server::start(Path::new("sh"), ["-c", script], &log).unwrap();
        let id = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if let Some(id) = text.strip_suffix('\n') {
                break id.to_owned();
            }
            thread::yield_now();
        };
        drop(server);
        let gone = Command::new("kill")
            .args(["-0", &id])
            .stderr(Stdio::null())
            .status();
        assert!(!gone.unwrap().success(), "process {id} lives");
    }
}
