//! Waiting for what a status says.

use std::time::Duration;

use anyhow::{Result, bail};
use busway_testkit::wait::until;
use serde_json::Value;

use crate::bed::{Bed, SOON};

/// An object of a scenario: its kind, its namespace (empty: none) and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a>(pub(crate) &'a str, pub(crate) &'a str, pub(crate) &'a str);

impl Object<'_> {
    pub(crate) async fn get(&self, bed: &Bed) -> Result<Value> {
        let mut args = vec!["get", self.0, self.2, "-o", "json"];
        if !self.1.is_empty() {
            args.extend(["-n", self.1]);
        }
        Ok(serde_json::from_str(&bed.kubectl(&args).await?)?)
    }

    /// Waits until a condition is this, and returns its message.
    pub(crate) async fn until(
        &self,
        bed: &Bed,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{self:?} is {kind}={status} {reason}");
        until(&what, SOON, || async {
            let object = self.get(bed).await?;
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let found = conditions
                .iter()
                .find(|condition| condition["type"] == kind);
            let Some(found) = found else {
                bail!("it has no {kind}; its conditions: {}", said(&conditions));
            };
            let current = found["observedGeneration"] == object["metadata"]["generation"];
            if current
                && found["status"] == status
                && (reason.is_empty() || found["reason"] == reason)
            {
                return Ok(found["message"].as_str().unwrap_or_default().to_owned());
            }
            bail!("its conditions: {}", said(&conditions))
        })
        .await
    }

    pub(crate) async fn ready(&self, bed: &Bed) -> Result<()> {
        self.until(bed, "Ready", "True", "").await.map(drop)
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self, bed: &Bed, within: Duration) -> Result<()> {
        until(&format!("{self:?} is gone"), within, || async {
            match self.get(bed).await {
                Ok(object) => bail!(
                    "finalizers {}, conditions: {}",
                    object["metadata"]["finalizers"],
                    said(
                        object["status"]["conditions"]
                            .as_array()
                            .map_or(&[], Vec::as_slice)
                    )
                ),
                Err(error) if format!("{error:#}").contains("NotFound") => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

fn said(conditions: &[Value]) -> String {
    let one = |condition: &Value| {
        let word = |name: &str| condition[name].as_str().unwrap_or("-").to_owned();
        format!(
            "{}={} {} ({})",
            word("type"),
            word("status"),
            word("reason"),
            word("message")
        )
    };
    conditions.iter().map(one).collect::<Vec<_>>().join(", ")
}
