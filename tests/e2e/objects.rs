//! Everything that is in a cluster, by name.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use busway_testkit::wait::until;

use crate::bed::{Bed, SOON};

/// Kinds that come and go by themselves, or are no objects. An IPAddress is named by the address that its Service got.
const PASSING: &[&str] = &[
    "events",
    "events.events.k8s.io",
    "componentstatuses",
    "ipaddresses.networking.k8s.io",
];
/// Kind, namespace, name, owner, and how many pods it wants.
const COLUMNS: &str = "custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name,OWNER:.metadata.ownerReferences[0].name,REPLICAS:.spec.replicas";
/// Kinds whose names their controllers make up: they are known by their owner.
const MADE_UP: &[&str] = &["Pod", "EndpointSlice"];

/// What was there before, kept for who wants it again.
fn is_history(kind: &str, name: &str, replicas: &str) -> bool {
    match kind {
        "ReplicaSet" => replicas == "0",
        "Secret" => name.starts_with("sh.helm.release.v1."),
        _ => false,
    }
}

/// How many there are of each name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Objects(BTreeMap<String, usize>);

impl Objects {
    pub(crate) async fn of(bed: &Bed) -> Result<Self> {
        let kinds = bed
            .kubectl(&["api-resources", "--verbs=list", "-o", "name"])
            .await?;
        let kinds: Vec<_> = kinds
            .lines()
            .filter(|kind| !PASSING.contains(kind))
            .collect();
        let args = ["get", &kinds.join(","), "-A", "--no-headers", "-o", COLUMNS];
        let listed = bed.kubectl(&args).await?;
        let mut objects = BTreeMap::new();
        for line in listed.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [kind, namespace, name, owner, replicas] = words[..] else {
                continue;
            };
            // A node says there that it lives, soon after it came.
            if is_history(kind, name, replicas) || namespace == "kube-node-lease" {
                continue;
            }
            let known = if MADE_UP.contains(&kind) && owner != "<none>" {
                format!("{kind} {namespace}/of {owner}")
            } else {
                format!("{kind} {namespace}/{name}")
            };
            *objects.entry(known).or_default() += 1;
        }
        Ok(Self(objects))
    }

    /// Waits until the cluster is as it was: controllers take a moment to follow.
    pub(crate) async fn until_equal(bed: &Bed, before: &Self) -> Result<()> {
        until("the cluster's objects are those before", SOON, || async {
            let now = Self::of(bed).await?;
            if now == *before {
                return Ok(());
            }
            Err(anyhow::anyhow!("{}", before.difference(&now)))
        })
        .await
    }

    fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        for name in self
            .0
            .keys()
            .chain(now.0.keys().filter(|name| !self.0.contains_key(*name)))
        {
            let count = |objects: &Self| objects.0.get(name).copied().unwrap_or(0);
            if count(self) != count(now) {
                let _ = write!(text, "{name}: {} before, {} now; ", count(self), count(now));
            }
        }
        text
    }
}
