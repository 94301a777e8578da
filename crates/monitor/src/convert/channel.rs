//! A Channel.

use busway_api::{Channel, channel::DeletionPolicy, parameters::Argument};
use busway_core::{
    BusRef, ChannelRef, Uid,
    bus::{ChannelSpec, Retention},
    parameters::{Parameter, ResolvedParameters, resolve},
};
use kube::ResourceExt;

use super::Problem;

/// The bus that a channel names.
pub(crate) fn bus_of(channel: &Channel) -> Option<BusRef> {
    let spec = &channel.spec;
    match (&spec.bus, &spec.cluster_bus) {
        (Some(name), _) => Some(BusRef::Namespaced {
            namespace: channel.namespace().unwrap_or_default(),
            name: name.clone(),
        }),
        (None, Some(name)) => Some(BusRef::Cluster { name: name.clone() }),
        (None, None) => None,
    }
}

/// What the hooks see of a channel, with these parameters.
pub(crate) fn spec(channel: &Channel, parameters: ResolvedParameters) -> ChannelSpec {
    ChannelSpec {
        channel: ChannelRef::new(
            &channel.namespace().unwrap_or_default(),
            &channel.name_any(),
        ),
        uid: Uid::new(channel.metadata.uid.as_deref().unwrap_or_default()),
        parameters,
        retention: match channel.spec.deletion_policy {
            DeletionPolicy::Delete => Retention::Delete,
            DeletionPolicy::Retain => Retention::Retain,
        },
    }
}

/// The parameters of a channel on a bus that declares these.
pub(crate) fn parameters(
    channel: &Channel,
    declared: &[Parameter],
) -> Result<ResolvedParameters, Problem> {
    super::delivery::overrides(channel.spec.delivery.as_ref())?;
    Ok(resolve(declared, pairs(&channel.spec.arguments))?)
}

pub(crate) fn pairs(arguments: &[Argument]) -> impl Iterator<Item = (&str, &str)> {
    arguments
        .iter()
        .map(|a| (a.name.as_str(), a.value.as_str()))
}
