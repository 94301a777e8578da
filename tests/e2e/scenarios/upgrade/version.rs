//! A version of the product: its chart, its image, its definitions.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::bed::{Bed, SYSTEM};

/// One of the two between which is upgraded.
pub(super) struct Version {
    chart: PathBuf,
    definitions: PathBuf,
    pub(super) image: String,
}

impl Version {
    /// What deploy/previous-commit names, as hack/previous.sh left it.
    pub(super) fn before() -> Result<Self> {
        let variable =
            |name: &str| env::var(name).with_context(|| format!("{name}: run `make e2e`"));
        let folder = PathBuf::from(variable("PREVIOUS")?);
        Ok(Self {
            chart: folder.join("chart"),
            definitions: folder.join("crds.yaml"),
            image: variable("PREVIOUS_IMAGE")?,
        })
    }

    pub(super) fn this(bed: &Bed) -> Self {
        Self {
            chart: Bed::root().join("charts/busway"),
            definitions: Bed::root().join("deploy/crds.yaml"),
            image: bed.image.clone(),
        }
    }

    /// `helm install`, until the operator is there.
    pub(super) async fn install(&self, bed: &Bed, more: &[&str]) -> Result<()> {
        let more = [more, &["--wait"]].concat();
        bed.helm_install_of(&self.chart, &self.image, &more).await
    }

    /// `helm upgrade`, until its operator is there.
    pub(super) async fn upgrade(&self, bed: &Bed) -> Result<()> {
        let what = Bed::chart_and_image(&self.chart, &self.image)?;
        let what: Vec<_> = what.iter().map(String::as_str).collect();
        let begin = ["upgrade", "busway", "-n", SYSTEM, "--wait"];
        let keep = ["--reset-then-reuse-values"];
        bed.helm(&[&begin[..], &keep, &what].concat()).await?;
        Ok(())
    }

    /// The definitions, where the chart does not have them.
    pub(super) async fn define(&self, bed: &Bed) -> Result<()> {
        let file = text(&self.definitions)?;
        bed.kubectl(&["apply", "--server-side", "-f", file]).await?;
        // Known by it to whatever takes them away.
        let label = "app.kubernetes.io/name=busway";
        bed.kubectl(&["label", "--overwrite", "-f", file, label])
            .await?;
        Ok(())
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
