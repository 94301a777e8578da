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
