//! The container of a bus: ours, or a third party's with what it leaves unset.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
        ObjectFieldSelector, Probe, ResourceRequirements, SecurityContext, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::{
    Plan,
    network::{ADMIN, MESSAGES},
    workload::{BUNDLE_VOLUME, CACHE_VOLUME},
};
use crate::operator::{bus::AnyBus, labels::Component};

/// Where the last resources are kept.
const CACHE_DIR: &str = "/cache";
/// Where the certificate authorities of the bus are.
const BUNDLE_DIR: &str = "/etc/busway/ca-bundle";
/// Tries of 2 s each that a start may take: the caches of a large cluster.
const STARTUP_TRIES: i32 = 60;

/// The dispatcher's: a third party's, or ours.
pub(super) fn dispatcher<K: AnyBus>(plan: &Plan<'_, K>) -> Container {
    let spec = plan.bus.bus();
    let given = spec.dispatcher.clone().unwrap_or_else(|| Container {
        name: "dispatcher".to_owned(),
        image: Some(image(plan)),
        image_pull_policy: plan.settings.image_pull_policy.clone(),
        args: Some(vec!["dispatcher".to_owned()]),
        ..Container::default()
    });
    let mut container = completed(plan, Component::Dispatcher, given, &[MESSAGES, ADMIN]);
    let readiness = probe("/readyz", 5, 2);
    container.readiness_probe.get_or_insert(readiness);
    let cache = VolumeMount {
        name: CACHE_VOLUME.to_owned(),
        mount_path: CACHE_DIR.to_owned(),
        ..VolumeMount::default()
    };
    mount(&mut container, "BUSWAY_CACHE_DIR", cache);
    if bundle(plan).is_some() {
        // The whole volume, and no subPath: only so does a change come through.
        let bundle = VolumeMount {
            name: BUNDLE_VOLUME.to_owned(),
            mount_path: BUNDLE_DIR.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        };
        mount(&mut container, "BUSWAY_CA_BUNDLE", bundle);
    }
    container
}

/// Mounts it and tells where, unless a third party has something of its own there.
fn mount(container: &mut Container, variable: &str, mount: VolumeMount) {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|one| one.mount_path == mount.mount_path) {
        return;
    }
    let path = mount.mount_path.clone();
    mounts.push(mount);
    set(container, variable, &path);
}

/// The provisioner's.
pub(super) fn provisioner<K: AnyBus>(plan: &Plan<'_, K>, given: &Container) -> Container {
    let mut container = completed(plan, Component::Provisioner, given.clone(), &[ADMIN]);
    let readiness = probe("/readyz", 5, 2);
    container.readiness_probe.get_or_insert(readiness);
    container
}

/// The ConfigMap with certificate authorities that the bus names.
pub(super) fn bundle<'a, K: AnyBus>(plan: &Plan<'a, K>) -> Option<&'a str> {
    let egress = plan.bus.bus().egress.as_ref()?;
    Some(&egress.ca_bundle.as_ref()?.config_map)
}

/// Whether the pod needs the volume of the last resources.
pub(super) fn mounts_cache(container: &Container) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|mount| mount.name == CACHE_VOLUME)
}

/// The image of a built-in bus: pinned, or the operator's own.
fn image<K: AnyBus>(plan: &Plan<'_, K>) -> String {
    let pinned = plan.bus.bus().workload.image.clone();
    pinned.unwrap_or_else(|| plan.settings.image.clone())
}

fn completed<K: AnyBus>(
    plan: &Plan<'_, K>,
    component: Component,
    mut container: Container,
    ports: &[(&str, i32)],
) -> Container {
    for (name, value) in environment(plan, component) {
        set(&mut container, name, &value);
    }
    for (name, field) in [
        ("POD_NAME", "metadata.name"),
        ("POD_NAMESPACE", "metadata.namespace"),
        ("POD_IPS", "status.podIPs"),
    ] {
        from_field(&mut container, name, field);
    }
    open(&mut container, ports);
    // Fast while it starts, patient while it runs.
    let (startup, liveness) = (probe("/livez", 2, STARTUP_TRIES), probe("/livez", 10, 3));
    container.startup_probe.get_or_insert(startup);
    container.liveness_probe.get_or_insert(liveness);
    if container.resources.is_none() {
        let asked = plan.bus.bus().workload.resources.clone();
        container.resources = Some(asked.unwrap_or_else(resources));
    }
    container.security_context = Some(restricted(container.security_context.take()));
    container
}

/// What buses.md §2 says that a container is told.
fn environment<K: AnyBus>(plan: &Plan<'_, K>, component: Component) -> Vec<(&'static str, String)> {
    let names = plan.place.names();
    let lease = match component {
        Component::Provisioner => names.provisioner(),
        Component::Dispatcher | Component::Channel => names.base(),
    };
    let mut all = vec![
        ("BUS_NAME", plan.place.name.clone()),
        (
            "BUS_NAMESPACE",
            plan.place.bus_namespace.clone().unwrap_or_default(),
        ),
        ("BUS_SERVICE", names.base()),
        ("PORT", MESSAGES.1.to_string()),
        ("ADMIN_PORT", ADMIN.1.to_string()),
        ("LEASE_NAME", lease),
        ("CLUSTER_DOMAIN", plan.settings.cluster_domain.clone()),
        ("CLUSTER_ID", plan.settings.cluster_id.clone()),
    ];
    if component == Component::Dispatcher && plan.bus.bus().provisioner.is_some() {
        all.push(("PROVISIONER", "apart".to_owned()));
    }
    if let (Component::Dispatcher, Some(most)) = (component, plan.settings.own_histograms) {
        all.push(("BUSWAY_OWN_HISTOGRAMS", most.to_string()));
    }
    all
}

/// Ours win: a container that listens elsewhere than its Service points is of no use.
fn set(container: &mut Container, name: &str, value: &str) {
    variable(
        container,
        EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            value_from: None,
        },
    );
}

fn from_field(container: &mut Container, name: &str, field: &str) {
    variable(
        container,
        EnvVar {
            name: name.to_owned(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: field.to_owned(),
                }),
                ..EnvVarSource::default()
            }),
        },
    );
}

fn variable(container: &mut Container, variable: EnvVar) {
    let all = container.env.get_or_insert_default();
    all.retain(|one| one.name != variable.name);
    all.push(variable);
}

fn open(container: &mut Container, ports: &[(&str, i32)]) {
    let all = container.ports.get_or_insert_default();
    let is_ours = |port: &ContainerPort| {
        let tcp = port
            .protocol
            .as_deref()
            .is_none_or(|protocol| protocol == "TCP");
        ports.iter().any(|(name, number)| {
            port.name.as_deref() == Some(name) || (tcp && port.container_port == *number)
        })
    };
    all.retain(|port| !is_ours(port));
    all.extend(ports.iter().map(|(name, number)| ContainerPort {
        name: Some((*name).to_owned()),
        container_port: *number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }));
}

fn probe(path: &str, every: i32, tries: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN.0.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(every),
        failure_threshold: Some(tries),
        // A port of its own thread answers in milliseconds.
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// What a bus with few channels needs, and where a busy one is stopped.
fn resources() -> ResourceRequirements {
    let amounts = |amounts: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        let amounts = amounts.iter();
        amounts
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
            .collect()
    };
    ResourceRequirements {
        requests: Some(amounts(&[("cpu", "50m"), ("memory", "64Mi")])),
        limits: Some(amounts(&[("memory", "512Mi")])),
        claims: None,
    }
}

/// What Pod Security "restricted" asks of a container, where it says nothing itself.
fn restricted(given: Option<SecurityContext>) -> SecurityContext {
    let mut context = given.unwrap_or_default();
    // The API server refuses the two together; what a privileged container comes to, the namespace decides.
    if context.privileged != Some(true) {
        context.allow_privilege_escalation.get_or_insert(false);
    }
    context.capabilities.get_or_insert_with(|| Capabilities {
        drop: Some(vec!["ALL".to_owned()]),
        add: None,
    });
    context.read_only_root_filesystem.get_or_insert(true);
    context
}
