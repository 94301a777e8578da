//! What is done to a pod's processes, past Kubernetes.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

/// `kill -9` of the container's first process, as the kernel does when memory is short. The processes of a cluster of our own
/// are this machine's; found by the pod's name in their environment.
pub(crate) fn kill(pod: &str) -> Result<()> {
    let wanted = format!("POD_NAME={pod}");
    for entry in fs::read_dir("/proc").context("this machine's processes")? {
        let folder = entry?.path();
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
        {
            let id = folder.file_name().unwrap_or_default();
            let killed = Command::new("kill").arg("-KILL").arg(id).status()?;
            if killed.success() {
                return Ok(());
            }
        }
    }
    bail!("no process of pod {pod} on this machine: is the cluster another's?")
}
