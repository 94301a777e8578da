//! Processes of a run: started, spoken to in lines, measured, and gone when their handle is.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use busway_testkit::wait;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A process has to say its first line, and to end when asked to, within this: many times what it needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a log that an error carries.
const TAIL_BYTES: usize = 4096;

/// A running process, what it prints in a file. Dropping it kills it; ours also end by themselves when their standard
/// input does.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// One of this program's own roles, as `name`; its output goes to a file in `folder`.
    pub(crate) fn of_ours(name: &str, args: &[String], folder: &Path) -> Result<Self> {
        Self::start(name, &mut of_ours(args)?, folder)
    }

    /// `command`, as `name`; its output goes to a file in `folder`.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, command, log)
    }

    fn spawn(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let child = command
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Waits until it prints a line that `find` finds something in.
    pub(crate) async fn said<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let what = format!("{} says {what}", self.name);
        wait::until(&what, PATIENCE, || async {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            // The last line may not be whole yet.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().find_map(&find).ok_or_else(|| self.tail())
        })
        .await
    }

    /// Its usage so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let id = self.child.id().with_context(|| self.ended())?;
        Usage::of(id).with_context(|| self.ended())
    }

    /// SIGTERM, and waits for its end, which has to be a success.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        let id = self.child.id().with_context(|| self.ended())?;
        let asked = Command::new("kill").arg(id.to_string()).status().await?;
        if !asked.success() {
            bail!("kill {id}: {asked}");
        }
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.with_context(|| format!("{} did not end", self.name))??;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, self.tail());
        }
        Ok(())
    }

    /// The end of what it wrote to standard error.
    pub(crate) fn tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    fn ended(&self) -> String {
        format!("{} has ended: {}", self.name, self.tail())
    }
}

/// One of our roles that answers in lines.
#[derive(Debug)]
pub(crate) struct Talker {
    process: Process,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Talker {
    /// Starts it; its standard error goes to a file in `folder`.
    pub(crate) fn start(args: &[String], folder: &Path) -> Result<Self> {
        let name = args.first().context("a role")?;
        let log = folder.join(format!("{name}.log"));
        let mut command = of_ours(args)?;
        command.stdout(Stdio::piped());
        command.stderr(File::create(&log).with_context(|| log.display().to_string())?);
        let mut process = Process::spawn(name, &mut command, log)?;
        let pipes = process.child.stdin.take().zip(process.child.stdout.take());
        let (stdin, stdout) = pipes.context("pipes to a process")?;
        Ok(Self {
            process,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        })
    }

    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> Result<String> {
        self.line_within(PATIENCE).await
    }

    pub(crate) async fn line_within(&mut self, patience: Duration) -> Result<String> {
        match tokio::time::timeout(patience, self.stdout.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => bail!(self.process.ended()),
            Ok(Err(error)) => Err(error).with_context(|| self.process.ended()),
            Err(_) => bail!("{} said nothing for {patience:?}", self.process.name),
        }
    }

    /// Its answer to one line.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<String> {
        self.stdin
            .write_all(format!("{command}\n").as_bytes())
            .await
            .with_context(|| self.process.ended())?;
        self.line().await
    }
}

fn of_ours(args: &[String]) -> Result<Command> {
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

/// What a process used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// CPU time, of all its threads, also ended ones, in user and system mode.
    pub(crate) cpu: Duration,
    /// Resident memory now, in MB (10⁶ bytes).
    pub(crate) resident: f64,
    /// The most resident memory so far, in MB.
    pub(crate) peak: f64,
}

impl Usage {
    fn of(id: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{id}/{file}");
            std::fs::read_to_string(&path).context(path)
        };
        let status = read("status")?;
        Ok(Self {
            cpu: cpu(&read("stat")?, rustix::param::clock_ticks_per_second())?,
            resident: megabytes(&status, "VmRSS")?,
            peak: megabytes(&status, "VmHWM")?,
        })
    }
}

/// Fields 14 and 15 of proc(5)'s `stat`, in ticks.
fn cpu(stat: &str, ticks_per_second: u64) -> Result<Duration> {
    // The second field is a name in parentheses that may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let ticks: Result<Vec<u64>, _> = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect();
    let ticks: u64 = ticks.context("/proc/PID/stat")?.iter().sum();
    Ok(Duration::from_nanos(
        ticks * 1_000_000_000 / ticks_per_second.max(1),
    ))
}

fn megabytes(status: &str, field: &str) -> Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes: Option<u32> = line.and_then(|rest| {
        rest.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    let kibibytes = kibibytes.with_context(|| format!("{field} in /proc/PID/status"))?;
    Ok(f64::from(kibibytes) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 99";
        assert_eq!(cpu(stat, 100).unwrap(), Duration::from_secs(3));
        assert!(cpu("7 (a", 100).is_err());
    }

    #[test]
    fn memory_is_in_millions_of_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n";
        let about =
            |field, expected: f64| (megabytes(status, field).unwrap() - expected).abs() < 1e-9;
        assert!(about("VmRSS", 1.024) && about("VmHWM", 2.048));
        assert!(megabytes(status, "VmSwap").is_err());
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 0.0 && usage.peak >= usage.resident);
    }
}
