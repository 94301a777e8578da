//! The Service and the addresses of a Channel. Pure, cannot fail.

use busway_api::{Channel, channel::Address};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        util::intstr::IntOrString,
    },
};
use kube::{Resource as _, ResourceExt as _};

use super::carrier::{BusKey, Carrier};
use crate::operator::{
    args::ChannelService,
    labels::{self, Component},
    names,
};

/// The port of every address.
const HTTP: i32 = 80;
/// The dispatcher container's port for messages, by its name.
const MESSAGES: &str = "messages";

/// The Service that a channel is to have; nothing where channels get none.
pub(crate) fn service(
    channel: &Channel,
    carrier: &Carrier,
    kind: ChannelService,
    cluster_domain: &str,
) -> Option<Service> {
    let namespace = channel.namespace().unwrap_or_default();
    let spec = match kind {
        ChannelService::None => return None,
        ChannelService::Auto if carrier.namespace == namespace => ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels::pods(Component::Dispatcher, &carrier.uid)),
            ports: Some(vec![ServicePort {
                name: Some(MESSAGES.to_owned()),
                port: HTTP,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(MESSAGES.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        },
        // No port is translated: the bus's Service has the same one.
        ChannelService::Auto | ChannelService::ExternalName => ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(service_host(carrier, cluster_domain)),
            ..ServiceSpec::default()
        },
    };
    let uid = channel.uid().unwrap_or_default();
    Some(Service {
        metadata: ObjectMeta {
            name: Some(names::channel_service(&channel.name_any())),
            namespace: Some(namespace),
            labels: Some(labels::of(Component::Channel, carrier_name(carrier), &uid)),
            annotations: Some(labels::annotations()),
            owner_references: Some(vec![owner(channel, uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

fn owner(channel: &Channel, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: Channel::api_version(&()).into_owned(),
        kind: Channel::kind(&()).into_owned(),
        name: channel.name_any(),
        uid,
        controller: Some(true),
        // Its Service never holds a Channel back.
        block_owner_deletion: Some(false),
    }
}

/// Where a channel is reached: by its own host, and by path on the bus's Service, which is the only one that a
/// certificate can name.
pub(crate) fn addresses(
    channel: &Channel,
    carrier: &Carrier,
    kind: ChannelService,
    cluster_domain: &str,
) -> Vec<Address> {
    let (namespace, name) = (channel.namespace().unwrap_or_default(), channel.name_any());
    let host = names::channel_service(&name);
    let host = (kind != ChannelService::None).then(|| Address {
        name: Some("host".to_owned()),
        url: format!("http://{host}.{namespace}.svc.{cluster_domain}"),
    });
    let path = Address {
        name: Some("path".to_owned()),
        url: format!(
            "http://{}/{namespace}/{name}",
            service_host(carrier, cluster_domain)
        ),
    };
    host.into_iter().chain([path]).collect()
}

fn service_host(carrier: &Carrier, cluster_domain: &str) -> String {
    format!(
        "{}.{}.svc.{cluster_domain}",
        carrier.service, carrier.namespace
    )
}

fn carrier_name(carrier: &Carrier) -> &str {
    match &carrier.key {
        BusKey::Namespaced { name, .. } | BusKey::Cluster { name } => name,
    }
}
