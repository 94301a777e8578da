//! After an upgrade of the operator, built-in buses roll one at a time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt as _, core::DynamicObject};

use super::{build::GENERATION, dereference};
use crate::operator::{
    children::{ChildKind, ChildRef},
    context::Context,
    labels::{self, Component},
};

/// How long a turn lasts at most: as long as Kubernetes waits for a rollout to make progress. A bus that cannot roll
/// keeps the others no longer.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a turn lasts that was taken and not used.
const UNUSED: Duration = Duration::from_secs(30);

/// Which bus rolls.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<Option<Rolling>>);

#[derive(Clone, Debug)]
struct Rolling {
    at: ChildRef,
    /// Of the Deployment as it was written.
    generation: Option<i64>,
    since: Instant,
}

/// Whether this Deployment is to be written with the operator's new image and has to wait for it. Takes the turn if not.
pub(super) fn waits(ctx: &Context, at: &ChildRef, live: &Deployment, bus_generation: i64) -> bool {
    let image = &ctx.settings.image;
    let of_this_generation =
        live.annotations().get(GENERATION) == Some(&bus_generation.to_string());
    if !of_this_generation || image_of(live) == Some(image) {
        return false;
    }
    let mut rolling = ctx.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = rolling
        .as_ref()
        .is_some_and(|rolling| rolling.at != *at && !is_over(ctx, rolling));
    if taken || others_roll(ctx, at) {
        return true;
    }
    *rolling = Some(Rolling {
        at: at.clone(),
        generation: None,
        since: Instant::now(),
    });
    false
}

/// The Deployment was written.
pub(super) fn written(ctx: &Context, at: &ChildRef, deployment: &DynamicObject) {
    let mut rolling = ctx.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rolling) = rolling.as_mut().filter(|rolling| rolling.at == *at) {
        rolling.generation = deployment.metadata.generation;
    }
}

fn is_over(ctx: &Context, rolling: &Rolling) -> bool {
    let lasts = if rolling.generation.is_some() {
        LONGEST
    } else {
        UNUSED
    };
    if rolling.since.elapsed() >= lasts {
        return true;
    }
    let Some(generation) = rolling.generation else {
        return false;
    };
    match ctx
        .stores
        .child(&rolling.at)
        .and_then(|child| dereference::typed(&child))
    {
        // Deleted meanwhile.
        None => true,
        Some(deployment) => {
            deployment.metadata.generation >= Some(generation) && !rolls(&deployment)
        }
    }
}

/// What a process before this one began.
fn others_roll(ctx: &Context, at: &ChildRef) -> bool {
    let Some(deployments) = ctx.stores.children.get(&ChildKind::Deployment) else {
        return false;
    };
    deployments.state().iter().any(|deployment| {
        let is_dispatcher = deployment
            .labels()
            .get(labels::COMPONENT)
            .map(String::as_str)
            == Some(Component::Dispatcher.as_str());
        let is_other = deployment.metadata.name.as_deref() != Some(&at.name)
            || deployment.metadata.namespace != at.namespace;
        is_dispatcher
            && is_other
            && dereference::typed(deployment).is_some_and(|deployment| {
                image_of(&deployment) == Some(&ctx.settings.image) && rolls(&deployment)
            })
    })
}

/// Whether pods are being replaced, and there is hope for it.
fn rolls(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return wanted > 0;
    };
    let gave_up = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "Progressing"
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    let of_this = status.observed_generation >= deployment.metadata.generation;
    let complete = of_this
        && status.updated_replicas.unwrap_or(0) >= wanted
        && status.available_replicas.unwrap_or(0) >= wanted
        && status.replicas.unwrap_or(0) <= wanted;
    let hopeless = gave_up && of_this;
    !(complete || hopeless)
}

fn image_of(deployment: &Deployment) -> Option<&String> {
    let spec = deployment.spec.as_ref()?.template.spec.as_ref()?;
    spec.containers.first()?.image.as_ref()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn deployment(status: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "d", "generation": 2 },
            "spec": { "replicas": 2, "selector": {}, "template": {} },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_bus_rolls_until_all_its_pods_are_new_and_available_and_no_old_one_is_left() {
        let done = json!({ "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
        assert!(!rolls(&deployment(done.clone())));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 3),
            ("updatedReplicas", 1),
            ("availableReplicas", 1),
        ] {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(rolls(&deployment(status)), "{field}");
        }
    }

    #[test]
    fn a_bus_that_cannot_roll_keeps_the_others_no_longer() {
        let mut stuck = json!({
            "observedGeneration": 2,
            "replicas": 3,
            "updatedReplicas": 1,
            "availableReplicas": 2,
            "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }],
        });
        assert!(!rolls(&deployment(stuck.clone())));
        stuck["observedGeneration"] = json!(1);
        assert!(rolls(&deployment(stuck)), "that was the spec before");
    }
}
