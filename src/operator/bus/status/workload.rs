//! How a Deployment does, and whose fault it is: in the words of what is in the way.

use busway_api::{ConditionType, Reason, Said};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};
use kube::ResourceExt as _;

use crate::operator::{
    bus::dereference::{Found, is_of},
    labels::Component,
};

/// What Pod Security's refusals say.
const POD_SECURITY: &str = "violates PodSecurity";
/// Waiting so is on the way, and no trouble.
const ON_THE_WAY: &[&str] = &["ContainerCreating", "PodInitializing"];

/// Whether the workload runs as the spec asks.
pub(super) fn judge(
    kind: ConditionType,
    deployment: Option<&Deployment>,
    found: &Found,
    component: Component,
) -> Said {
    let Some(deployment) = deployment else {
        return Said::unknown(kind, Reason::Pending, "the Deployment is not there yet");
    };
    let name = deployment.name_any();
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    if wanted == 0 {
        let message = format!("Deployment {name} is scaled to no pods");
        return Said::no(kind, Reason::Unavailable, message);
    }
    let status = deployment.status.clone().unwrap_or_default();
    let of_this = status.observed_generation >= deployment.metadata.generation;
    let (updated, available) = (
        status.updated_replicas.unwrap_or(0),
        status.available_replicas.unwrap_or(0),
    );
    let total = status.replicas.unwrap_or(0);
    if of_this && updated >= wanted && available >= wanted && total <= updated {
        return Said::yes(kind, Reason::Available, "");
    }
    let counts = format!(
        "Deployment {name}: {available} of {wanted} pods are available, {updated} of them as the spec asks"
    );
    let pods = found.pods.iter().filter(|pod| is_of(pod, component));
    match trouble(deployment).or_else(|| worst(pods.map(|pod| &**pod))) {
        Some((reason, trouble)) => Said::no(kind, reason, format!("{counts}; {trouble}")),
        // Old pods go on serving while new ones come.
        None if available > 0 => Said::unknown(kind, Reason::RollingOut, counts),
        None => Said::no(kind, Reason::Unavailable, counts),
    }
}

/// Whether the API server's words are Pod Security's.
pub(super) fn is_pod_security(message: &str) -> bool {
    message.contains(POD_SECURITY)
}

/// What keeps pods from being made: a quota, Pod Security, an admission webhook.
fn trouble(deployment: &Deployment) -> Option<(Reason, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = failure.message.clone().unwrap_or_default();
    let reason = if is_pod_security(&message) {
        Reason::PodRefused
    } else {
        Reason::Unavailable
    };
    Some((reason, message))
}

/// What keeps a pod from serving, of the first pod that says so.
fn worst<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<(Reason, String)> {
    let mut said: Vec<String> = pods.filter_map(of_pod).collect();
    said.sort();
    said.into_iter()
        .next()
        .map(|message| (Reason::Unavailable, message))
}

fn of_pod(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let mut containers = status.container_statuses.iter().flatten();
    if let Some(said) = containers.find_map(of_container) {
        return Some(format!("pod {name}: {said}"));
    }
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    let message = unscheduled.message.as_deref().unwrap_or("not scheduled");
    Some(format!("pod {name}: {message}"))
}

fn of_container(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if reason.is_empty() || ON_THE_WAY.contains(&reason) {
        return None;
    }
    let mut said = reason.to_owned();
    // A crash's own back-off changes all the time and says nothing; how it ended does.
    let last = container
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    match last {
        Some(ended) => {
            said.push_str(&format!(", ended with {}", ended.exit_code));
            if let Some(reason) = &ended.reason {
                said.push_str(&format!(" ({reason})"));
            }
        }
        None => {
            if let Some(message) = &waiting.message {
                said.push_str(&format!(": {message}"));
            }
        }
    }
    Some(said)
}

#[cfg(test)]
#[path = "workload/tests.rs"]
mod tests;
