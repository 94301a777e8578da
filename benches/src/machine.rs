//! How a table was taken: machine, versions, command, date.

use std::{env, fs, process::Command, thread};

/// One paragraph. What cannot be found out is left out.
pub(crate) fn taken() -> String {
    let mut parts = vec![format!(
        "Taken {}",
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")
    )];
    let arguments: Vec<String> = env::args().skip(1).collect();
    parts.push(format!("by `busway-benches {}`", arguments.join(" ")));
    if let Ok(cores) = thread::available_parallelism() {
        let model = field("/proc/cpuinfo", "model name").unwrap_or_default();
        parts.push(format!("on {cores} cores ({model})"));
    }
    if let Some(memory) = field("/proc/meminfo", "MemTotal") {
        parts.push(format!("memory {memory}"));
    }
    if let Ok(kernel) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        let number = kernel.split('-').next().unwrap_or_default().trim();
        parts.push(format!("Linux {number}"));
    }
    parts.push(format!("Busway {}", env!("CARGO_PKG_VERSION")));
    parts
        .extend(said("git", &["describe", "--always", "--dirty"]).map(|at| format!("commit {at}")));
    parts.extend(said("rustc", &["--version"]));
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        let one = load.split(' ').next().unwrap_or_default();
        parts.push(format!("load average before it {one}"));
    }
    format!("{}.", parts.join(", "))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
