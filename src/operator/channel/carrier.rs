//! The bus that carries a channel, as far as Channels and Subscriptions need to know it.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use busway_api::{
    Bus, BusStatus, Channel, ClusterBus,
    conditions::{ConditionType, Truth, find},
    text::parse_duration,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
    jiff::Timestamp,
};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

/// Nothing serves a bus when nothing has for so long: a rolling update or a node's end takes less.
pub(crate) const DEAD_AFTER: Duration = Duration::from_mins(1);

/// Which bus is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum BusKey {
    /// A Bus.
    Namespaced { namespace: String, name: String },
    /// A ClusterBus.
    Cluster { name: String },
}

impl BusKey {
    /// The bus that a channel names.
    pub(crate) fn of_channel(channel: &Channel) -> Option<Self> {
        let spec = &channel.spec;
        match (&spec.bus, &spec.cluster_bus) {
            (Some(name), _) => Some(Self::Namespaced {
                namespace: channel.namespace().unwrap_or_default(),
                name: name.clone(),
            }),
            (None, Some(name)) => Some(Self::Cluster { name: name.clone() }),
            (None, None) => None,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Namespaced { .. } => "Bus",
            Self::Cluster { .. } => "ClusterBus",
        }
    }
}

impl fmt::Display for BusKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaced { namespace, name } => write!(f, "{namespace}/{name}"),
            Self::Cluster { name } => f.write_str(name),
        }
    }
}

/// Whether anything serves a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pulse {
    /// A pod of it answers, or its workload is available.
    Beats,
    /// Its status does not say yet.
    Unknown,
    /// Nothing does, since then.
    Stopped(Timestamp),
}

/// A bus that exists.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    pub(crate) key: BusKey,
    pub(crate) uid: String,
    /// The bus's Service.
    pub(crate) service: String,
    /// Where its Service and its pods are.
    pub(crate) namespace: String,
    pub(crate) conditions: Vec<Condition>,
    /// Whether hooks run in a workload of their own.
    pub(crate) provisions_apart: bool,
    /// Who may put channels on it; unset: all.
    pub(crate) allowed: Option<LabelSelector>,
    /// How long a channel that is no longer allowed goes on; unset: for ever.
    pub(crate) revoke_grace: Option<Duration>,
    /// Tells apart which namespaces are no longer allowed, and since when.
    pub(crate) revoked: u64,
}

impl Carrier {
    pub(crate) fn of_bus(bus: &Bus, service: String) -> Self {
        let namespace = bus.namespace().unwrap_or_default();
        Self {
            key: BusKey::Namespaced {
                namespace: namespace.clone(),
                name: bus.name_any(),
            },
            uid: bus.uid().unwrap_or_default(),
            service,
            namespace,
            conditions: conditions(bus.status.as_ref()),
            provisions_apart: bus.spec.provisioner.is_some(),
            allowed: None,
            revoke_grace: None,
            revoked: 0,
        }
    }

    pub(crate) fn of_cluster_bus(bus: &ClusterBus, service: String, namespace: &str) -> Self {
        let grace = bus.spec.revoke_grace.as_ref();
        Self {
            key: BusKey::Cluster {
                name: bus.name_any(),
            },
            uid: bus.uid().unwrap_or_default(),
            service,
            namespace: namespace.to_owned(),
            conditions: conditions(bus.status.as_ref()),
            provisions_apart: bus.spec.bus.provisioner.is_some(),
            allowed: bus.spec.allowed_namespaces.clone(),
            revoke_grace: grace.and_then(|text| parse_duration(text).ok()),
            revoked: print_of_revoked(bus.status.as_ref()),
        }
    }

    /// Why a channel of a namespace with these labels may not be on it.
    pub(crate) fn refuses(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<String> {
        refuses(self.allowed.as_ref(), &self.key, namespace, labels)
    }

    pub(crate) fn pulse(&self) -> Pulse {
        let said = |kind| find(&self.conditions, kind);
        let holds = |kind| said(kind).is_some_and(|c| Truth::of(c) == Truth::True);
        let serviceable = ConditionType::Serviceable;
        if holds(serviceable) || holds(ConditionType::Dispatching) {
            return Pulse::Beats;
        }
        let Some(stopped) =
            said(ConditionType::Dispatching).filter(|c| Truth::of(c) == Truth::False)
        else {
            return Pulse::Unknown;
        };
        // Both must have been wrong for the whole time.
        let answered = said(serviceable).map(|c| c.last_transition_time.0);
        let stopped = stopped.last_transition_time.0;
        Pulse::Stopped(answered.map_or(stopped, |answered| answered.max(stopped)))
    }

    /// Why nothing serves it, where it has been so for long enough, and since when.
    pub(crate) fn dead(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let Pulse::Stopped(since) = self.pulse() else {
            return None;
        };
        let for_long = since + DEAD_AFTER <= now;
        for_long.then(|| {
            let why = find(&self.conditions, ConditionType::Dispatching)
                .map(|c| c.message.as_str())
                .unwrap_or_default();
            let message = format!(
                "nothing has served {} {} since {since}",
                self.key.kind(),
                self.key
            );
            let message = match why {
                "" => message,
                why => format!("{message}: {why}"),
            };
            (since, message)
        })
    }

    /// Since when the workload that runs its hooks, where that is one of its own, does not.
    pub(crate) fn provisioner_stopped(&self) -> Option<Timestamp> {
        let said = find(&self.conditions, ConditionType::Provisioning)?;
        let stopped = self.provisions_apart && Truth::of(said) == Truth::False;
        stopped.then_some(said.last_transition_time.0)
    }

    /// Why nobody runs its hooks, and since when, where its status says.
    pub(crate) fn hooks_stopped(&self) -> Option<(Option<Timestamp>, String)> {
        let said = |kind| find(&self.conditions, kind);
        let (since, kind) = match (self.pulse(), self.provisioner_stopped()) {
            (Pulse::Beats, None) => return None,
            (Pulse::Beats, Some(since)) => (Some(since), ConditionType::Provisioning),
            (Pulse::Stopped(since), _) => (Some(since), ConditionType::Dispatching),
            (Pulse::Unknown, _) => {
                let silent = said(ConditionType::Serviceable);
                let since = silent.map(|c| c.last_transition_time.0);
                (since, ConditionType::Dispatching)
            }
        };
        let why = said(kind).map_or("", |c| c.message.as_str());
        let what = match kind {
            ConditionType::Provisioning => "provisions for",
            _ => "serves",
        };
        let message = format!("nothing {what} {} {}", self.key.kind(), self.key);
        Some((
            since,
            match why {
                "" => message,
                why => format!("{message}: {why}"),
            },
        ))
    }

    /// How long until it may count as dead.
    pub(crate) fn dead_in(&self, now: Timestamp) -> Option<Duration> {
        match self.pulse() {
            Pulse::Stopped(since) => Duration::try_from(since + DEAD_AFTER - now).ok(),
            Pulse::Beats | Pulse::Unknown => None,
        }
    }
}

/// Why a channel of a namespace with these labels may not be on a bus that allows those.
pub(crate) fn refuses(
    allowed: Option<&LabelSelector>,
    bus: &impl fmt::Display,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<String> {
    let allowed = match Selector::try_from(allowed?.clone()) {
        Ok(selector) => selector,
        // Nobody can be shown to match what cannot be read.
        Err(error) => {
            return Some(format!(
                "bus {bus} allows no namespace: spec.allowedNamespaces: {error}"
            ));
        }
    };
    (!allowed.matches(labels)).then(|| {
        format!(
            "bus {bus} does not allow channels of namespace {namespace}: allowedNamespaces is {allowed}"
        )
    })
}

fn print_of_revoked(status: Option<&BusStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let all = status.iter().flat_map(|status| &status.namespaces);
    for one in all.filter(|one| one.revoked.is_some()) {
        (&one.name, &one.uid, one.revoked.as_ref().map(|at| at.0)).hash(&mut hasher);
    }
    hasher.finish()
}

fn conditions(status: Option<&BusStatus>) -> Vec<Condition> {
    status.map(|s| s.conditions.clone()).unwrap_or_default()
}
