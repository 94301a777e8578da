//! Real kubectl against the control plane, and a namespace of one's own.

use std::{
    ffi::OsStr,
    fmt,
    path::PathBuf,
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// kubectl with one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) cache: PathBuf,
}

impl Kubectl {
    /// Runs `kubectl ARGS`, with `input` as its standard input, and hands over whatever came of it.
    ///
    /// # Errors
    /// Only when it cannot be run at all.
    pub async fn run<I>(&self, args: I, input: &str) -> Result<Output>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut child = Command::new(&self.program)
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that wants no input may be gone already: what it says is what counts.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child
            .wait_with_output()
            .await
            .context("waiting for kubectl")
    }

    /// Standard output of `kubectl ARGS`.
    ///
    /// # Errors
    /// When it fails: the arguments, and what it said.
    pub async fn ok<I>(&self, args: I) -> Result<String>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.ok_with(args, "").await
    }

    /// `kubectl apply -f -` with `yaml` (any number of documents).
    ///
    /// # Errors
    /// What kubectl said when it refused.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.ok_with(["apply", "-f", "-"], yaml).await
    }

    pub(super) async fn ok_with<I>(&self, args: I, input: &str) -> Result<String>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let args: Vec<_> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let output = self.run(&args, input).await?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}: {}",
                args.join(OsStr::new(" ")).display(),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        String::from_utf8(output.stdout).context("kubectl's output")
    }
}

/// A namespace that no other test has. It goes with the control plane.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(super) name: String,
    pub(super) kubectl: Kubectl,
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Standard output of `kubectl --namespace NAME ARGS`.
    ///
    /// # Errors
    /// When it fails: the arguments, and what it said.
    pub async fn kubectl_ok(&self, args: &[&str]) -> Result<String> {
        self.kubectl.ok(self.within(args)).await
    }

    /// Applies `yaml` into this namespace.
    ///
    /// # Errors
    /// What kubectl said when it refused.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<String> {
        self.apply_with(&[], yaml).await
    }

    /// Applies `yaml` into this namespace with these options, as `--server-side`.
    ///
    /// # Errors
    /// What kubectl said when it refused.
    pub async fn apply_with(&self, options: &[&str], yaml: &str) -> Result<String> {
        let apply = [&["apply", "-f", "-"], options].concat();
        self.kubectl.ok_with(self.within(&apply), yaml).await
    }

    fn within<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["--namespace", self.name.as_str()], args].concat()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
