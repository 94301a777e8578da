//! What is done to the installed release, and to objects of the whole cluster.

use anyhow::Result;

use crate::bed::{Bed, SYSTEM};

impl Bed {
    /// `helm upgrade` with these values and the rest as they are; waits until all operators are the new ones.
    pub(crate) async fn upgrade(&self, values: &[&str]) -> Result<()> {
        let chart = Self::root().join("charts/busway");
        let chart = chart.to_string_lossy();
        let values = values.join(",");
        let begin = ["upgrade", "busway", &chart, "-n", SYSTEM, "--reuse-values"];
        self.helm(&[&begin[..], &["--set", &values]].concat())
            .await?;
        self.rolled_out().await
    }

    /// `helm rollback` to the values before.
    pub(crate) async fn rollback(&self) -> Result<()> {
        self.helm(&["rollback", "busway", "-n", SYSTEM]).await?;
        self.rolled_out().await
    }

    /// Waits until every operator is of the last values.
    pub(crate) async fn rolled_out(&self) -> Result<()> {
        let rollout = ["rollout", "status", "deployment/busway-operator"];
        self.kubectl(&[&["-n", SYSTEM], &rollout[..], &["--timeout=90s"]].concat())
            .await
            .map(drop)
    }

    /// A ClusterBus, which [`Bed::sweep`] removes. `spec` is in YAML's flow form.
    pub(crate) async fn cluster_bus(&self, name: &str, spec: &str) -> Result<()> {
        self.apply(&format!(
            "{{apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        ))
        .await?;
        self.mark(&format!("clusterbus/{name}")).await
    }
}
