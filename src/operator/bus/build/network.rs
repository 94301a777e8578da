//! Where a bus is reached, and by whom.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::Plan;
use crate::operator::{
    bus::AnyBus,
    labels::{self, Component},
};

/// The container's port for messages, and its name.
pub(super) const MESSAGES: (&str, i32) = ("messages", 8080);
/// The container's port for probes, metrics and replicas, and its name.
pub(super) const ADMIN: (&str, i32) = ("admin", 9090);
/// The Service's port for messages: what an address without a port means.
const HTTP: i32 = 80;

pub(super) fn service<K: AnyBus>(plan: &Plan<'_, K>) -> Service {
    let port = |(name, _): (&str, i32), port| ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    Service {
        metadata: plan.metadata(Component::Dispatcher, plan.place.names().base()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels::pods(Component::Dispatcher, plan.bus.uid_or_empty())),
            ports: Some(vec![port(MESSAGES, HTTP), port(ADMIN, ADMIN.1)]),
            publish_not_ready_addresses: Some(false),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Lets messages, probes, metrics and the other replicas in, and nothing else. What goes out is not limited: subscribers
/// may be anywhere, and the guard on egress knows them by name.
pub(super) fn policy<K: AnyBus>(plan: &Plan<'_, K>) -> Option<NetworkPolicy> {
    plan.bus
        .bus()
        .network_policy
        .as_ref()
        .filter(|asked| asked.enabled)?;
    let port = |(_, number): (&str, i32)| NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    };
    let mut pods = labels::pods(Component::Dispatcher, plan.bus.uid_or_empty());
    // The provisioner too: it has no port for messages, so one rule does for both.
    pods.remove(labels::COMPONENT);
    Some(NetworkPolicy {
        metadata: plan.metadata(Component::Dispatcher, plan.place.names().dispatcher()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(pods),
                match_expressions: None,
            }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some(vec![port(MESSAGES), port(ADMIN)]),
                from: None,
            }]),
            egress: None,
        }),
    })
}
