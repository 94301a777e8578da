//! What our processes count, read through the API server: there is nothing in the images to ask them with.

use anyhow::{Context as _, Result};

use crate::bed::Bed;

/// A process's metrics, as it exposes them.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Of a pod that serves them at its port 9090.
    pub(crate) async fn of(bed: &Bed, namespace: &str, pod: &str) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/metrics");
        Ok(Self(bed.kubectl(&["get", "--raw", &path]).await?))
    }

    /// The sum of a metric's series that have this label, or of all; 0 when there is none.
    pub(crate) fn sum(&self, name: &str, label: &str) -> f64 {
        let value = |line: &str| -> Option<f64> {
            let series = line.strip_prefix(name)?;
            // Another metric may begin with this one's name.
            let whole = series.starts_with('{') || series.starts_with(' ');
            let (labels, value) = series.rsplit_once(' ')?;
            (whole && labels.contains(label)).then_some(value.parse().ok()?)
        };
        self.0.lines().filter_map(value).sum()
    }
}

/// What a pod serves of an object, by its UID: nothing when it does not serve it.
pub(crate) async fn loaded(bed: &Bed, namespace: &str, pod: &str) -> Result<serde_json::Value> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:9090/proxy/replica/loaded");
    let page = bed.kubectl(&["get", "--raw", &path]).await?;
    serde_json::from_str(&page).with_context(|| format!("{pod} said {page}"))
}
