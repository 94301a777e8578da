//! Every child of a bus, as it is wanted. Pure.

mod access;
mod container;
mod network;
mod workload;

#[cfg(test)]
pub(super) mod fixtures;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{AnyBus, Place, dereference::Found};
use crate::operator::{
    args::Settings,
    children::{Child, ChildKind},
    error::Error,
    labels::{self, Component},
};

/// The annotation of a Deployment with the generation of the bus that it was made for.
pub(super) const GENERATION: &str = "channels.busway.dev/generation";
/// The annotation of a Deployment whose number of pods is the bus's.
pub(super) const COUNTED: &str = "channels.busway.dev/replicas-of-spec";

/// What children of a bus are built from.
pub(super) struct Plan<'a, K> {
    pub(super) bus: &'a K,
    pub(super) place: &'a Place,
    pub(super) settings: &'a Settings,
}

impl<K: AnyBus> Plan<'_, K> {
    /// The metadata of a child of that name, in the children's namespace.
    fn metadata(&self, component: Component, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.place.namespace.clone()),
            labels: Some(labels::of(
                component,
                &self.place.name,
                self.bus.uid_or_empty(),
            )),
            annotations: Some(labels::annotations()),
            ..ObjectMeta::default()
        }
    }
}

/// Every child, in the order in which they are made: what a pod needs comes before it, and the account and the Leases
/// before what gives rights on them.
///
/// # Errors
/// None that can be met: see [`Child::new`].
pub(super) fn all<K: AnyBus>(
    bus: &K,
    place: &Place,
    found: &Found,
    settings: &Settings,
) -> Result<Vec<Child>, Error> {
    let plan = Plan {
        bus,
        place,
        settings,
    };
    let mut children = vec![Child::new(
        ChildKind::ServiceAccount,
        &access::account(&plan),
    )?];
    for lease in access::leases(&plan) {
        children.push(Child::new(ChildKind::Lease, &lease)?);
    }
    children.extend([
        Child::new(ChildKind::Role, &access::role(&plan))?,
        Child::new(ChildKind::RoleBinding, &access::role_binding(&plan))?,
        access::channels_binding(&plan)?,
    ]);
    children.push(Child::new(ChildKind::Service, &network::service(&plan))?);
    if let Some(policy) = network::policy(&plan) {
        children.push(Child::new(ChildKind::NetworkPolicy, &policy)?);
    }
    if let Some(budget) = workload::budget(&plan, found) {
        children.push(Child::new(ChildKind::PodDisruptionBudget, &budget)?);
    }
    if let Some(provisioner) = workload::provisioner(&plan) {
        children.push(Child::new(ChildKind::Deployment, &provisioner)?);
    }
    let dispatcher = workload::dispatcher(&plan);
    children.push(Child::new(ChildKind::Deployment, &dispatcher)?);
    Ok(children)
}
