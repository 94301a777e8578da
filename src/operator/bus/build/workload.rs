//! The pods of a bus.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMapVolumeSource, Container, EmptyDirVolumeSource, PodSecurityContext, PodSpec,
            PodTemplateSpec, SeccompProfile, Volume,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{COUNTED, GENERATION, Plan, container};
use crate::operator::{
    bus::{AnyBus, dereference::Found},
    labels::{self, Component},
};

/// A lame duck of 5 s and a grace of 60 s, and time to end.
const TERMINATION_SECONDS: i64 = 75;
/// The volume of the last resources.
pub(super) const CACHE_VOLUME: &str = "busway-cache";
/// The volume of the bus's certificate authorities.
pub(super) const BUNDLE_VOLUME: &str = "busway-ca-bundle";
/// The resources of 100,000 objects fit; past it the pod is evicted and starts anew.
const CACHE_SIZE: &str = "512Mi";

pub(super) fn dispatcher<K: AnyBus>(plan: &Plan<'_, K>) -> Deployment {
    let name = plan.place.names().dispatcher();
    let replicas = plan.bus.bus().workload.replicas;
    deployment(
        plan,
        Component::Dispatcher,
        name,
        replicas,
        container::dispatcher(plan),
    )
}

/// Where one is asked for. Only the holder of its Lease works, so one pod does.
pub(super) fn provisioner<K: AnyBus>(plan: &Plan<'_, K>) -> Option<Deployment> {
    let given = plan.bus.bus().provisioner.as_ref()?;
    let name = plan.place.names().provisioner();
    let container = container::provisioner(plan, given);
    let component = Component::Provisioner;
    Some(deployment(plan, component, name, Some(1), container))
}

/// Where a node's end would otherwise take all pods at once.
pub(super) fn budget<K: AnyBus>(plan: &Plan<'_, K>, found: &Found) -> Option<PodDisruptionBudget> {
    let scaled = || found.dispatcher.as_ref()?.spec.as_ref()?.replicas;
    let replicas = plan.bus.bus().workload.replicas.or_else(scaled);
    (replicas.unwrap_or(1) > 1).then(|| PodDisruptionBudget {
        metadata: plan.metadata(Component::Dispatcher, plan.place.names().dispatcher()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(plan, Component::Dispatcher)),
            // A pod that does not work is no reason to keep a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    })
}

fn selector<K: AnyBus>(plan: &Plan<'_, K>, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels::pods(component, plan.bus.uid_or_empty())),
        match_expressions: None,
    }
}

fn deployment<K: AnyBus>(
    plan: &Plan<'_, K>,
    component: Component,
    name: String,
    replicas: Option<i32>,
    container: Container,
) -> Deployment {
    let mut annotations = labels::annotations();
    annotations.insert(GENERATION.to_owned(), plan.bus.generation().to_string());
    if replicas.is_some() {
        annotations.insert(COUNTED.to_owned(), "true".to_owned());
    }
    Deployment {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..plan.metadata(component, name)
        },
        spec: Some(DeploymentSpec {
            // Unset: what an autoscaler says stays.
            replicas,
            selector: selector(plan, component),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(plan, component, container),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template<K: AnyBus>(
    plan: &Plan<'_, K>,
    component: Component,
    container: Container,
) -> PodTemplateSpec {
    let spec = plan.bus.bus();
    let asked = &spec.workload;
    // Ours win: they select the pods.
    let mut labels = asked.pod_labels.clone();
    labels.extend(labels::of(
        component,
        &plan.place.name,
        plan.bus.uid_or_empty(),
    ));
    let mounts_cache = container::mounts_cache(&container);
    let bundle = container::bundle(plan).filter(|_| component == Component::Dispatcher);
    let volumes = mounts_cache
        .then(cache)
        .into_iter()
        .chain(bundle.map(authorities))
        .chain(spec.volumes.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some_map(&asked.pod_annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            volumes: some_list(volumes.collect()),
            service_account_name: Some(plan.place.names().dispatcher()),
            automount_service_account_token: Some(true),
            // A variable for every Service of the namespace, of which Channels make many, fits into no environment.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(TERMINATION_SECONDS),
            // No runAsUser: the image has one, and OpenShift chooses its own.
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            image_pull_secrets: some_list(asked.image_pull_secrets.clone()),
            priority_class_name: asked.priority_class_name.clone(),
            node_selector: some_map(&asked.node_selector),
            affinity: asked.affinity.clone(),
            tolerations: some_list(asked.tolerations.clone()),
            topology_spread_constraints: some_list(asked.topology_spread_constraints.clone()),
            ..PodSpec::default()
        }),
    }
}

fn cache() -> Volume {
    Volume {
        name: CACHE_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(CACHE_SIZE.to_owned())),
            medium: None,
        }),
        ..Volume::default()
    }
}

/// Optional: a pod that waits for its ConfigMap would be an outage of everything, for the lack of what
/// some subscribers need. The dispatcher says in the bus's status that it is missing, and the kubelet
/// brings it when it is made.
fn authorities(config_map: &str) -> Volume {
    Volume {
        name: BUNDLE_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Unset, so that it is not owned, where it is empty.
fn some_list<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}
