//! Whether a Channel may be: what it refers to exists, may be used, and nothing is in its way.

use busway_api::{
    Channel,
    conditions::{ConditionType, Said, Truth, find},
    reason::Reason,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    carrier::{BusKey, Carrier},
    dereference::Found,
};

/// Why no ClusterBus is there for anybody.
const NO_CLUSTER_BUSES: &str = "this operator serves single namespaces, and no ClusterBus";

/// What is known of the bus that a channel names.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    Found(Carrier),
    Missing(Said),
}

/// The bus of a channel, or what is wrong with its name.
pub(crate) fn named(channel: &Channel, found: &Found) -> Named {
    let missing = |reason: Reason, message: String| {
        Named::Missing(Said::no(ConditionType::Accepted, reason, message))
    };
    match (BusKey::of_channel(channel), &found.carrier) {
        (Some(_), Some(carrier)) => Named::Found(carrier.clone()),
        (Some(BusKey::Cluster { name }), None) if !found.sees_cluster_buses => missing(
            Reason::BusNotFound,
            format!("there is no ClusterBus {name}: {NO_CLUSTER_BUSES}"),
        ),
        (Some(key), None) => missing(
            Reason::BusNotFound,
            format!("there is no {} {key}", key.kind()),
        ),
        (None, _) if !found.sees_cluster_buses => missing(
            Reason::NoDefaultBus,
            format!("spec.bus is unset; {NO_CLUSTER_BUSES}"),
        ),
        (None, _) => missing(
            Reason::NoDefaultBus,
            "spec.bus and spec.clusterBus are unset, and no ClusterBus is the default".to_owned(),
        ),
    }
}

/// Accepted, but for a clash, which shows when it is applied.
pub(crate) fn accepted(channel: &Channel, found: &Found, now: Timestamp) -> Said {
    let kind = ConditionType::Accepted;
    if channel.metadata.deletion_timestamp.is_some() {
        let message = "the channel is being deleted";
        return Said::no(kind, Reason::ChannelDeleted, message);
    }
    let carrier = match named(channel, found) {
        Named::Found(carrier) => carrier,
        Named::Missing(said) => return said,
    };
    let namespace = channel.namespace().unwrap_or_default();
    match carrier.refuses(&namespace, &found.namespace.labels) {
        None => Said::yes(kind, Reason::Accepted, ""),
        Some(message) => {
            let until = revoked_at(channel, &carrier, now);
            let message = match until {
                Some(at) if at <= now => format!("{message}; it takes no messages since {at}"),
                Some(at) => format!("{message}; it goes on until {at}"),
                None => message,
            };
            Said::no(kind, Reason::NamespaceNotAllowed, message)
        }
    }
}

/// When a channel that runs, and is no longer allowed, stops accepting.
pub(crate) fn revoked_at(
    channel: &Channel,
    carrier: &Carrier,
    now: Timestamp,
) -> Option<Timestamp> {
    let conditions = channel.status.as_ref().map(|s| s.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    let runs =
        find(conditions, ConditionType::Provisioned).is_some_and(|c| Truth::of(c) == Truth::True);
    let grace = carrier.revoke_grace.filter(|_| runs)?;
    let refused = find(conditions, ConditionType::Accepted)
        .filter(|c| c.reason == Reason::NamespaceNotAllowed.as_str())
        .map(|c| c.last_transition_time.0);
    // Conditions are dated in seconds, and what is said of them should not move.
    let since = refused.unwrap_or_else(|| Timestamp::from_second(now.as_second()).unwrap_or(now));
    since.checked_add(grace).ok()
}

#[cfg(test)]
#[path = "validate/tests.rs"]
mod tests;
