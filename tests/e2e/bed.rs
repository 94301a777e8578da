//! The cluster, its tools, and what the scenarios put on it.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use busway_testkit::{control::tool, wait::until};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// Where the chart is installed.
pub(crate) const SYSTEM: &str = "busway-system";
/// On every namespace, and every object without one, that a scenario makes.
const MARK: &str = "e2e.busway.dev/scenario=yes";
/// On the chart's namespace: these tests installed it.
const SYSTEM_MARK: &str = "e2e.busway.dev/system=yes";
/// What manifests of this repository run.
pub(crate) const RELEASED: &str = concat!("busway:", env!("CARGO_PKG_VERSION"));
/// How long a command may take: `helm --wait` and `busway uninstall` are the slowest.
const COMMAND_WITHIN: Duration = Duration::from_secs(180);
/// How long something may take to happen in the cluster, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A cluster that kubectl and helm reach through KUBECONFIG.
pub(crate) struct Bed {
    kubectl: PathBuf,
    helm: PathBuf,
    /// The product's image, which the cluster's nodes have.
    pub(crate) image: String,
    /// The image of `tests/e2e/traffic`.
    pub(crate) traffic: String,
    /// The image of `examples/third-party-bus`.
    pub(crate) third_party: String,
    installed: Cell<Option<Means>>,
}

/// How the product came onto the cluster, and how it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Helm,
    Manifests,
}

impl Bed {
    pub(crate) async fn from_environment() -> Result<Self> {
        let variable =
            |name: &str| std::env::var(name).with_context(|| format!("{name}: run `make e2e`"));
        variable("KUBECONFIG")?;
        let bed = Self {
            kubectl: tool("kubectl")?,
            helm: tool("helm")?,
            image: variable("BUSWAY_IMAGE")?,
            traffic: variable("TRAFFIC_IMAGE")?,
            third_party: variable("THIRD_PARTY_IMAGE")?,
            installed: Cell::new(None),
        };
        bed.kubectl(&["get", "--raw", "/readyz"]).await?;
        bed.installed.set(bed.left_installed().await?);
        bed.sweep().await?;
        Ok(bed)
    }

    /// Whether an interrupted run left the chart on a cluster that outlives it. Somebody else's is never touched.
    async fn left_installed(&self) -> Result<Option<Means>> {
        let releases = self
            .helm(&["list", "-A", "-q", "--filter", "busway"])
            .await?;
        let definitions = self
            .kubectl(&[
                "get",
                "crd",
                "-o",
                "name",
                "-l",
                "app.kubernetes.io/name=busway",
            ])
            .await?;
        let ours = self
            .kubectl(&["get", "namespace", "-o", "name", "-l", SYSTEM_MARK])
            .await?;
        let there = !(releases.trim().is_empty() && definitions.trim().is_empty());
        if there && ours.trim().is_empty() {
            bail!(
                "Busway is installed on this cluster, and not by these tests: they would remove it"
            );
        }
        Ok(match (there, releases.trim().is_empty()) {
            (false, _) => None,
            (true, false) => Some(Means::Helm),
            (true, true) => Some(Means::Manifests),
        })
    }

    pub(crate) fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// Standard output of `kubectl ARGS`.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        output(Command::new(&self.kubectl).args(args), "").await
    }

    pub(crate) async fn helm(&self, args: &[&str]) -> Result<String> {
        output(Command::new(&self.helm).args(args), "").await
    }

    /// `busway ARGS`, as an admin runs it.
    pub(crate) async fn busway(&self, args: &[&str]) -> Result<String> {
        output(Command::new(env!("CARGO_BIN_EXE_busway")).args(args), "").await
    }

    /// `kubectl apply`, any number of documents.
    pub(crate) async fn apply(&self, yaml: &str) -> Result<String> {
        output(Command::new(&self.kubectl).args(["apply", "-f", "-"]), yaml).await
    }

    /// A namespace of the scenario's, which [`Bed::sweep`] removes.
    pub(crate) async fn namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name]).await?;
        self.mark(&format!("namespace/{name}")).await?;
        let what = format!("{name} has its service account");
        until(&what, SOON, || async {
            self.kubectl(&["-n", name, "get", "serviceaccount", "default"])
                .await
        })
        .await?;
        Ok(())
    }

    /// Has [`Bed::sweep`] remove it: a namespace, or a ClusterBus.
    pub(crate) async fn mark(&self, object: &str) -> Result<()> {
        self.kubectl(&["label", object, MARK, "--overwrite"])
            .await?;
        Ok(())
    }

    /// Installs the chart, if it is not.
    pub(crate) async fn install(&self) -> Result<()> {
        if self.installed.get().is_some() {
            return Ok(());
        }
        self.helm_install().await?;
        self.kubectl(&[
            "-n",
            SYSTEM,
            "wait",
            "--for=condition=Available",
            "deployment",
            "--all",
            "--timeout=120s",
        ])
        .await?;
        Ok(())
    }

    /// `helm install`, without waiting for anything.
    pub(crate) async fn helm_install(&self) -> Result<()> {
        let chart = Self::root().join("charts/busway");
        self.helm_install_of(&chart, &self.image, &[]).await
    }

    /// `helm install` of any version's chart, with more arguments.
    pub(crate) async fn helm_install_of(
        &self,
        chart: &Path,
        image: &str,
        more: &[&str],
    ) -> Result<()> {
        let what = Self::chart_and_image(chart, image)?;
        let what: Vec<_> = what.iter().map(String::as_str).collect();
        self.installed.set(Some(Means::Helm));
        let begin = ["install", "busway", "-n", SYSTEM, "--create-namespace"];
        self.helm(&[&begin[..], &what, more].concat()).await?;
        self.kubectl(&["label", "namespace", SYSTEM, SYSTEM_MARK])
            .await?;
        Ok(())
    }

    /// Helm's arguments for a chart with an image.
    pub(crate) fn chart_and_image(chart: &Path, image: &str) -> Result<[String; 3]> {
        let (repository, tag) = image.rsplit_once(':').context("an image with a tag")?;
        let chart = chart.to_str().context("a path in UTF-8")?;
        let image = format!("image.repository={repository},image.tag={tag}");
        Ok([chart.to_owned(), "--set".to_owned(), image])
    }

    /// `kubectl apply -f deploy/busway.yaml`, without waiting for anything.
    pub(crate) async fn apply_manifests(&self) -> Result<()> {
        self.installed.set(Some(Means::Manifests));
        self.apply(&self.manifests()?).await?;
        self.kubectl(&["label", "namespace", SYSTEM, SYSTEM_MARK])
            .await?;
        Ok(())
    }

    /// `deploy/busway.yaml` with the image that this cluster has.
    fn manifests(&self) -> Result<String> {
        let text = fs::read_to_string(Self::root().join("deploy/busway.yaml"))?;
        anyhow::ensure!(text.contains(RELEASED), "no {RELEASED} in the manifests");
        Ok(text.replace(RELEASED, &self.image))
    }

    /// Everything of ours goes, in the order that the documentation gives.
    pub(crate) async fn uninstall(&self) -> Result<()> {
        let Some(means) = self.installed.get() else {
            return Ok(());
        };
        self.busway(&["uninstall", "--yes", "--timeout=2m"]).await?;
        if means == Means::Helm {
            return self.helm_uninstall().await;
        }
        let args = ["delete", "--ignore-not-found", "-f", "-"];
        let manifests = self.manifests()?;
        output(Command::new(&self.kubectl).args(args), &manifests).await?;
        self.installed.set(None);
        Ok(())
    }

    /// The chart goes, then the definitions and the namespace, which it leaves.
    pub(crate) async fn helm_uninstall(&self) -> Result<()> {
        self.helm(&["uninstall", "busway", "-n", SYSTEM, "--wait"])
            .await?;
        self.installed.set(None);
        self.kubectl(&["delete", "crd", "-l", "app.kubernetes.io/name=busway"])
            .await?;
        self.kubectl(&["delete", "namespace", SYSTEM]).await?;
        Ok(())
    }

    /// Deletes what scenarios made and waits until it is gone.
    ///
    /// Ours and the pods first: a namespace that is deleted with a pod in it is looked at again after half of that pod's
    /// grace period only, 38 s for a dispatcher.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let of = "jsonpath={.items[*].metadata.name}";
        let ours = self
            .kubectl(&["get", "namespace", "-l", MARK, "-o", of])
            .await?;
        for namespace in ours.split_whitespace() {
            let delete = ["-n", namespace, "--all", "--timeout=90s", "delete"];
            if self.installed.get().is_some() {
                self.kubectl(&[&delete[..], &["subscription,channel,bus"]].concat())
                    .await?;
            }
            self.kubectl(&[&delete[..], &["deployments"]].concat())
                .await?;
            // Nobody sends any more: what a leaving dispatcher does for late senders is not waited for.
            self.kubectl(&[&delete[..], &["pods", "--grace-period=1"]].concat())
                .await?;
        }
        self.kubectl(&["delete", "namespace", "-l", MARK, "--timeout=90s"])
            .await?;
        if self.installed.get().is_some() {
            self.kubectl(&["delete", "clusterbus", "-l", MARK, "--timeout=90s"])
                .await?;
            let left = [
                "delete",
                "pods",
                "-l",
                "app.kubernetes.io/component=dispatcher",
            ];
            self.kubectl(&[&["-n", SYSTEM], &left[..], &["--grace-period=1"]].concat())
                .await?;
        }
        Ok(())
    }

    /// A scenario failed so that its objects do not go: the next ones shall not fail of that.
    pub(crate) async fn force(&self) {
        for kind in ["subscription", "channel", "bus", "clusterbus"] {
            let path = "{range .items[*]}{.metadata.namespace} {.metadata.name}\n{end}";
            let jsonpath = format!("jsonpath={path}");
            let Ok(names) = self.kubectl(&["get", kind, "-A", "-o", &jsonpath]).await else {
                continue;
            };
            for (namespace, name) in names.lines().filter_map(|line| line.split_once(' ')) {
                let lift = r#"{"metadata":{"finalizers":null}}"#;
                let mut args = vec!["patch", kind, name, "--type=merge", "-p", lift];
                if !namespace.is_empty() {
                    args.extend(["-n", namespace]);
                }
                let _gone = self.kubectl(&args).await;
            }
        }
        let _said_before = self.sweep().await;
    }
}

/// Runs a command that may not hang. Its error has what it said.
async fn output(command: &mut Command, input: &str) -> Result<String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let shown = format!("{:?}", command.as_std());
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that wants no input may be gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = timeout(COMMAND_WITHIN, child.wait_with_output())
        .await
        .with_context(|| format!("{shown}: not done after {COMMAND_WITHIN:?}"))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
