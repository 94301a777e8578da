//! After an upgrade of the operator, built-in buses roll one at a time.

use std::{
    collections::HashMap,
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
pub(crate) struct Turn(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    /// That which this process let roll.
    rolling: Option<Rolling>,
    /// Since when each other is seen to roll, at its generation.
    others: HashMap<(ChildRef, Option<i64>), Instant>,
}

#[derive(Clone, Debug)]
struct Rolling {
    at: ChildRef,
    /// Of the Deployment as it was written.
    generation: Option<i64>,
    since: Instant,
}

/// For which other this Deployment has to wait with the operator's new image, if for any. Takes the turn if not.
pub(super) fn waits(
    ctx: &Context,
    at: &ChildRef,
    live: &Deployment,
    bus_generation: i64,
) -> Option<ChildRef> {
    let image = &ctx.settings.image;
    let of_this_generation =
        live.annotations().get(GENERATION) == Some(&bus_generation.to_string());
    if !of_this_generation || image_of(live) == Some(image) {
        return None;
    }
    let mut turns = ctx.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = turns
        .rolling
        .as_ref()
        .filter(|rolling| rolling.at != *at && !is_over(ctx, rolling))
        .map(|rolling| rolling.at.clone());
    if taken.is_some() {
        return taken;
    }
    let others = others_rolling(ctx, at);
    if let Some(other) = turns.still_rolling(others, Instant::now()) {
        return Some(other);
    }
    turns.rolling = Some(Rolling {
        at: at.clone(),
        generation: None,
        since: Instant::now(),
    });
    None
}

impl Turns {
    /// One of these that has not rolled for too long already.
    fn still_rolling(
        &mut self,
        others: Vec<(ChildRef, Option<i64>)>,
        now: Instant,
    ) -> Option<ChildRef> {
        let before = std::mem::take(&mut self.others);
        let mut found = None;
        for other in others {
            let since = before.get(&other).copied().unwrap_or(now);
            if now.saturating_duration_since(since) < LONGEST {
                found = found.or_else(|| Some(other.0.clone()));
            }
            self.others.insert(other, since);
        }
        found
    }
}

/// The Deployment was written.
pub(super) fn written(ctx: &Context, at: &ChildRef, deployment: &DynamicObject) {
    let mut turns = ctx.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = turns.rolling.as_mut();
    if let Some(rolling) = mine.filter(|rolling| rolling.at == *at) {
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

/// What a process before this one began, or somebody else's hand.
fn others_rolling(ctx: &Context, at: &ChildRef) -> Vec<(ChildRef, Option<i64>)> {
    let Some(deployments) = ctx.stores.children.get(&ChildKind::Deployment) else {
        return Vec::new();
    };
    let deployments = deployments.state();
    let rolling = deployments.iter().filter_map(|deployment| {
        let component = deployment.labels().get(labels::COMPONENT)?;
        if component != Component::Dispatcher.as_str() {
            return None;
        }
        let other = ChildRef {
            kind: ChildKind::Deployment,
            namespace: deployment.metadata.namespace.clone(),
            name: deployment.metadata.name.clone()?,
        };
        if other == *at {
            return None;
        }
        let deployment = dereference::typed(deployment)?;
        (image_of(&deployment) == Some(&ctx.settings.image) && rolls(&deployment))
            .then_some((other, deployment.metadata.generation))
    });
    rolling.collect()
}

/// Whether pods are being replaced, and there is hope for it. One whose pods were all replaced does not roll, whatever
/// becomes of them later; nor does one that somebody paused.
fn rolls(deployment: &Deployment) -> bool {
    let spec = deployment.spec.as_ref();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    if spec.and_then(|spec| spec.paused) == Some(true) {
        return false;
    }
    let Some(status) = &deployment.status else {
        return wanted > 0;
    };
    if status.observed_generation < deployment.metadata.generation {
        return true;
    }
    let ended = status.conditions.iter().flatten().any(|condition| {
        let reason = condition.reason.as_deref();
        condition.type_ == "Progressing"
            && matches!(
                reason,
                Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
            )
    });
    let complete = status.updated_replicas.unwrap_or(0) >= wanted
        && status.available_replicas.unwrap_or(0) >= wanted
        && status.replicas.unwrap_or(0) <= wanted;
    !(complete || ended)
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

    #[test]
    fn a_bus_that_has_rolled_rolls_no_more_when_its_pods_crash_or_cannot_be_scheduled() {
        let mut crashed = json!({
            "observedGeneration": 2,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 0,
            "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
        });
        assert!(!rolls(&deployment(crashed.clone())));
        crashed["observedGeneration"] = json!(1);
        assert!(
            rolls(&deployment(crashed)),
            "that was of the spec before, and a new one begins"
        );
    }

    #[test]
    fn a_bus_that_somebody_paused_does_not_roll() {
        let mut paused = deployment(json!({ "observedGeneration": 2, "updatedReplicas": 0 }));
        assert!(rolls(&paused));
        paused.spec.as_mut().unwrap().paused = Some(true);
        assert!(!rolls(&paused));
    }

    #[test]
    fn nobody_waits_longer_than_a_bound_for_a_bus_that_goes_on_rolling() {
        let other = || {
            let at = ChildRef {
                kind: ChildKind::Deployment,
                namespace: Some("shop".to_owned()),
                name: "slow".to_owned(),
            };
            vec![(at, Some(2))]
        };
        let (mut turns, start) = (Turns::default(), Instant::now());
        let almost = LONGEST.checked_sub(Duration::from_secs(1)).unwrap();
        for after in [Duration::ZERO, almost] {
            let found = turns.still_rolling(other(), start + after);
            assert_eq!(found.map(|at| at.name).as_deref(), Some("slow"));
        }
        assert_eq!(turns.still_rolling(other(), start + LONGEST), None);
        // Another rollout of it is another wait; one that ended is forgotten.
        let mut next = other();
        next[0].1 = Some(3);
        assert!(turns.still_rolling(next, start + LONGEST).is_some());
        assert_eq!(turns.still_rolling(Vec::new(), start + LONGEST), None);
        assert!(turns.others.is_empty());
    }
}
