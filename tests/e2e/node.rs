//! What is done to a pod's processes, past Kubernetes.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

/// `kill -9` of the container's first process, as the kernel does when memory is short.
pub(crate) fn kill(pod: &str) -> Result<()> {
    let process = process(pod)?;
    let id = process.file_name().unwrap_or_default();
    let killed = Command::new("kill").arg("-KILL").arg(id).status()?;
    ensure!(killed.success(), "kill said {killed}");
    Ok(())
}

/// What the container's first process has of the machine's memory, as `ps` says it.
pub(crate) fn resident(pod: &str) -> Result<String> {
    let status = fs::read_to_string(process(pod)?.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.context("VmRSS")?.trim().to_owned())
}

/// The processes of a cluster of our own are this machine's; found by the pod's name in their environment.
fn process(pod: &str) -> Result<PathBuf> {
    let wanted = format!("POD_NAME={pod}");
    for entry in fs::read_dir("/proc").context("this machine's processes")? {
        let folder = entry?.path();
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
        {
            return Ok(folder);
        }
    }
    bail!("no process of pod {pod} on this machine: is the cluster another's?")
}

/// CPU seconds that the container's first process used since it started, user and system.
pub(crate) fn cpu_seconds(pod: &str) -> Result<f64> {
    /// What the kernel counts in for everybody to read: `USER_HZ`.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(process(pod)?.join("stat"))?;
    let (_, after) = stat.rsplit_once(')').context("a name in stat")?;
    let ticks = |field: usize| -> Result<f64> {
        let text = after.split_whitespace().nth(field).context("its times")?;
        Ok(text.parse()?)
    };
    // Fields 14 and 15 of proc(5), counted from after the name.
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

/// `kill -9` of a daemon of this cluster: a process of that name in the network that this one is in.
pub(crate) fn kill_daemon(name: &str) -> Result<()> {
    let network = |folder: &str| fs::read_link(format!("/proc/{folder}/ns/net"));
    let ours = network("self")?;
    for entry in fs::read_dir("/proc")? {
        let id = entry?.file_name();
        let id = id.to_string_lossy();
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let program = command.split('\0').next().unwrap_or_default();
        let named = program.rsplit('/').next() == Some(name);
        if named && network(&id).is_ok_and(|network| network == ours) {
            let killed = Command::new("kill").args(["-KILL", &id]).status()?;
            ensure!(killed.success(), "kill said {killed}");
            return Ok(());
        }
    }
    bail!("no {name} on this machine: is the cluster another's?")
}

/// No packet goes between a pod and the API server while this is there. The pod is not told; a connection that outlives it
/// goes on afterwards.
pub(crate) struct Cut {
    rules: Vec<String>,
}

impl Cut {
    pub(crate) fn of(pod_address: &str) -> Result<Self> {
        let mut cut = Self { rules: Vec::new() };
        for rule in [
            format!("INPUT -s {pod_address} -p tcp --dport 6443 -j DROP"),
            format!(
                "OUTPUT -d {pod_address} -p tcp --sport 6443 -j REJECT --reject-with tcp-reset"
            ),
        ] {
            tables("-I", &rule)?;
            cut.rules.push(rule);
        }
        Ok(cut)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        for rule in &self.rules {
            if let Err(error) = tables("-D", rule) {
                println!("    a cut was not mended: {error:#}");
            }
        }
    }
}

fn tables(verb: &str, rule: &str) -> Result<()> {
    let words = rule.split(' ');
    let done = Command::new("iptables")
        .args(["-w", verb])
        .args(words)
        .output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "iptables {verb} {rule}: {said}");
    Ok(())
}
