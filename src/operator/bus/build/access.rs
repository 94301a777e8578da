//! What a bus's pods may do: as themselves, as holders of their Lease, and as a dispatcher.

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::ServiceAccount,
        rbac::v1::{ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::Plan;
use crate::operator::{
    args::Scope,
    bus::{AnyBus, BusKind},
    children::{Child, ChildKind},
    error::Error,
    labels::Component,
};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn account<K: AnyBus>(plan: &Plan<'_, K>) -> ServiceAccount {
    ServiceAccount {
        metadata: plan.metadata(Component::Dispatcher, plan.place.names().dispatcher()),
        // Only the pods that name it get a token.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Of the Leases of a bus by name, and where its replicas find one another.
pub(super) fn role<K: AnyBus>(plan: &Plan<'_, K>) -> Role {
    let leases = leases(plan)
        .into_iter()
        .filter_map(|lease| lease.metadata.name);
    Role {
        metadata: plan.metadata(Component::Dispatcher, plan.place.names().dispatcher()),
        rules: Some(vec![
            PolicyRule {
                api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
                resources: Some(vec!["leases".to_owned()]),
                resource_names: Some(leases.collect()),
                verbs: words(&["get", "update"]),
                ..PolicyRule::default()
            },
            PolicyRule {
                api_groups: Some(vec!["discovery.k8s.io".to_owned()]),
                resources: Some(vec!["endpointslices".to_owned()]),
                verbs: words(&["list", "watch"]),
                ..PolicyRule::default()
            },
        ]),
    }
}

pub(super) fn role_binding<K: AnyBus>(plan: &Plan<'_, K>) -> RoleBinding {
    let name = plan.place.names().dispatcher();
    RoleBinding {
        metadata: plan.metadata(Component::Dispatcher, name.clone()),
        role_ref: refer("Role", name),
        subjects: Some(subjects(plan)),
    }
}

/// To the role of all dispatchers: in the namespace of a Bus, everywhere for a ClusterBus. An operator of some namespaces
/// has a Role of that name in each.
pub(super) fn channels_binding<K: AnyBus>(plan: &Plan<'_, K>) -> Result<Child, Error> {
    let kind = match plan.settings.scope {
        Scope::All => "ClusterRole",
        Scope::Namespaces(_) => "Role",
    };
    let role_ref = refer(kind, plan.settings.dispatcher_role.clone());
    let (names, subjects) = (plan.place.names(), Some(subjects(plan)));
    match plan.place.kind {
        BusKind::Bus => Child::new(
            ChildKind::RoleBinding,
            &RoleBinding {
                metadata: plan.metadata(Component::Dispatcher, names.channels_binding()),
                role_ref,
                subjects,
            },
        ),
        BusKind::ClusterBus => {
            let name = names.cluster_binding(&plan.settings.namespace);
            Child::new(
                ChildKind::ClusterRoleBinding,
                &ClusterRoleBinding {
                    metadata: ObjectMeta {
                        namespace: None,
                        ..plan.metadata(Component::Dispatcher, name)
                    },
                    role_ref,
                    subjects,
                },
            )
        }
    }
}

/// One for the dispatchers, and one for provisioners where they are apart. What is in them is their holders'.
pub(super) fn leases<K: AnyBus>(plan: &Plan<'_, K>) -> Vec<Lease> {
    let names = plan.place.names();
    let dispatchers = Lease {
        metadata: plan.metadata(Component::Dispatcher, names.base()),
        spec: None,
    };
    let provisioners = plan.bus.bus().provisioner.is_some().then(|| Lease {
        metadata: plan.metadata(Component::Provisioner, names.provisioner()),
        spec: None,
    });
    [dispatchers].into_iter().chain(provisioners).collect()
}

fn subjects<K: AnyBus>(plan: &Plan<'_, K>) -> Vec<Subject> {
    vec![Subject {
        kind: "ServiceAccount".to_owned(),
        name: plan.place.names().dispatcher(),
        namespace: Some(plan.place.namespace.clone()),
        api_group: None,
    }]
}

fn refer(kind: &str, name: String) -> RoleRef {
    RoleRef {
        api_group: RBAC.to_owned(),
        kind: kind.to_owned(),
        name,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
