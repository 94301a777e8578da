//! Whether a Channel may be: what it refers to exists, may be used, and nothing is in its way.

use busway_api::{
    Channel,
    conditions::{ConditionType, Said},
    reason::Reason,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    carrier::{BusKey, Carrier, Pulse},
    dereference::Found,
};
use crate::operator::object::{self, Object};

/// Why no ClusterBus is there for anybody.
const NO_CLUSTER_BUSES: &str = "this operator serves single namespaces, and no ClusterBus";

/// What is known of the bus that a channel names.
#[derive(Clone, Debug)]
pub(crate) enum Named {
    Found(Carrier),
    Missing(Said),
}

/// Accepted of an object that this version cannot read, where no data plane lives that could. A newer one may, and says
/// the rest.
pub(crate) fn undecodable<K: Object>(object: &K, carrier: Option<&Carrier>) -> Option<Said> {
    let why = object::undecodable(object)?;
    let beats = carrier.is_some_and(|carrier| carrier.pulse() == Pulse::Beats);
    let message = format!("this version of Busway cannot read its spec: {why}");
    (!beats).then(|| Said::no(ConditionType::Accepted, Reason::Undecodable, message))
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
            let message = match revoked_at(channel, found) {
                Some(at) if at <= now => format!("{message}; it takes no messages since {at}"),
                Some(at) => format!("{message}; it goes on until {at}"),
                None => message,
            };
            Said::no(kind, Reason::NamespaceNotAllowed, message)
        }
    }
}

/// When a channel that was there before its namespace was shut out stops accepting: by what its bus says, not by what it
/// says itself.
pub(crate) fn revoked_at(channel: &Channel, found: &Found) -> Option<Timestamp> {
    let grace = found.carrier.as_ref()?.revoke_grace?;
    let admitted = found.admitted.as_ref()?;
    let goes_on = admitted.holds(&channel.metadata);
    goes_on.then(|| admitted.ends(grace))?
}

#[cfg(test)]
#[path = "validate/tests.rs"]
mod tests;
