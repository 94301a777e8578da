//! Which fields work yet. A field that does not is refused in the status, never silently ignored.
//!
//! The table names every leaf of every kind's spec; a test holds it to the schema.

mod table;

use serde::Serialize;
use serde_json::Value;

use crate::{BusSpec, ChannelSpec, ClusterBusSpec, SubscriptionSpec};

/// Whether a field's behaviour is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Working,
    /// The operator reads it. In dev mode and with `--standalone` there is no workload to apply it to.
    Operator,
    /// It does not work yet, for this reason.
    Refused(&'static str),
}

/// One row: a field, `[]` for a list's items, and whether it works. It covers what is below it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As `spec.delivery.statusRules[].status`.
    pub path: &'static str,
    /// Whether it works.
    pub support: Support,
}

/// A kind's spec, as far as support is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bus.
    Bus,
    /// ClusterBus.
    ClusterBus,
    /// Channel.
    Channel,
    /// Subscription.
    Subscription,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Bus,
        Self::ClusterBus,
        Self::Channel,
        Self::Subscription,
    ];

    /// As manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "Bus",
            Self::ClusterBus => "ClusterBus",
            Self::Channel => "Channel",
            Self::Subscription => "Subscription",
        }
    }

    /// Every field of its spec.
    #[must_use]
    pub fn fields(self) -> Vec<Field> {
        let own: &[&[Field]] = match self {
            Self::Bus => &[table::BUS, table::WORKLOAD],
            Self::ClusterBus => &[table::BUS, table::WORKLOAD, table::CLUSTER_BUS],
            Self::Channel => &[table::CHANNEL],
            Self::Subscription => &[table::SUBSCRIPTION],
        };
        own.iter()
            .chain(&[table::DELIVERY])
            .copied()
            .flatten()
            .copied()
            .collect()
    }
}

/// A field that is set and does not work yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Unsupported {
    /// As `spec.delivery.rate`.
    pub path: String,
    /// Why it is refused.
    pub why: &'static str,
}

/// A spec that can be looked through.
pub trait Spec: Serialize {
    /// Whose spec it is.
    const KIND: Kind;
}

impl Spec for BusSpec {
    const KIND: Kind = Kind::Bus;
}

impl Spec for ClusterBusSpec {
    const KIND: Kind = Kind::ClusterBus;
}

impl Spec for ChannelSpec {
    const KIND: Kind = Kind::Channel;
}

impl Spec for SubscriptionSpec {
    const KIND: Kind = Kind::Subscription;
}

/// Every field of the spec that is set and does not work yet; empty for one that works as a whole.
#[must_use]
pub fn unsupported<S: Spec>(spec: &S) -> Vec<Unsupported> {
    // Our specs have string keys and finite numbers only, which JSON takes.
    let object = serde_json::to_value(spec).unwrap_or_default();
    let refused = S::KIND.fields().into_iter().filter_map(|field| {
        let why = field.support.refuses()?;
        let mut values = Vec::new();
        let inner = field.path.trim_start_matches("spec.");
        collect(&object, inner, &mut values);
        if values.is_empty() {
            return None;
        }
        Some(Unsupported {
            path: field.path.to_owned(),
            why,
        })
    });
    refused.collect()
}

impl Support {
    const fn refuses(self) -> Option<&'static str> {
        match self {
            Self::Working | Self::Operator => None,
            Self::Refused(why) => Some(why),
        }
    }
}

/// The values at a path, of each item of a list.
fn collect<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    let (head, rest) = path
        .split_once('.')
        .map_or((path, None), |(head, rest)| (head, Some(rest)));
    let (key, of_items) = head
        .strip_suffix("[]")
        .map_or((head, false), |key| (key, true));
    let Some(inner) = value.get(key) else { return };
    let inner: Vec<&Value> = match inner.as_array() {
        // An empty list that is written may mean something, such as nobody; it counts as set.
        Some(items) if of_items && !items.is_empty() => items.iter().collect(),
        _ => vec![inner],
    };
    for inner in inner {
        match rest {
            Some(rest) => collect(inner, rest, found),
            None => found.push(inner),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
