//! Writes what the operator says of a Channel or a Subscription: once, when it is settled.
//!
//! Ready is the data plane's. The operator says it where no data plane lives, and goes on saying something until the
//! data plane has taken it back: to leave it out while nobody else has all of it would leave half a condition.

use std::time::Duration;

use busway_api::{
    conditions::{ConditionType, Said, Truth, find},
    reason::Reason,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::runtime::controller::Action;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::operator::{
    context::Context,
    controller::Outcome,
    events::Note,
    object::Object,
    status::{self, Words},
};

/// What an object's author cannot mend alone.
const NEWS: [Reason; 2] = [Reason::NameClash, Reason::NamespaceNotAllowed];

/// What is the operator's on one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership {
    pub(crate) conditions: &'static [ConditionType],
    pub(crate) with_ready: &'static [ConditionType],
    pub(crate) fields: &'static [&'static str],
    pub(crate) fields_with_ready: &'static [&'static str],
}

/// Who says Ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The data plane, when it comes to it.
    DataPlane,
    /// The operator: nobody else can. `since`: when the data plane ended, where it did.
    Operator {
        said: Said,
        since: Option<Timestamp>,
    },
}

/// What is to be said.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) accepted: Said,
    /// The operator's other conditions.
    pub(crate) more: Vec<Said>,
    pub(crate) fields: Map<String, Value>,
    pub(crate) ready: Ready,
    /// When it may differ without any change.
    pub(crate) again: Option<Duration>,
}

impl Plan {
    /// Ready by the operator, where what is not accepted has nobody else, or the data plane is dead.
    pub(crate) fn ready_of(
        accepted: &Said,
        beats: bool,
        dead: Option<(Timestamp, String)>,
    ) -> Ready {
        let kind = ConditionType::Ready;
        if accepted.truth == Truth::False && !beats {
            let said = Said::no(kind, accepted.reason.clone(), accepted.message.clone());
            return Ready::Operator { said, since: None };
        }
        match dead {
            None => Ready::DataPlane,
            Some((since, message)) => Ready::Operator {
                said: Said::no(kind, Reason::DispatcherUnavailable, message),
                since: Some(since),
            },
        }
    }
}

/// Writes it when it is time.
///
/// # Errors
/// Whatever the API server says.
pub(crate) async fn settle<K: Object>(
    ctx: &Context,
    object: &K,
    plan: Plan,
    ownership: &Ownership,
) -> Outcome {
    let (pace, uid, now) = (&ctx.queues.pace, object.uid_or_empty(), Instant::now());
    let told_dead = match &plan.ready {
        Ready::Operator { since, .. } => *since,
        Ready::DataPlane => None,
    };
    let words = words(&plan, object, ownership, |end| pace.was_told(uid, end));
    let wall = Time(Timestamp::now());
    let generation = object.generation();
    let (_, differs) = words.status(
        object.conditions(),
        &object.status_value(),
        generation,
        &wall,
    );
    if !differs {
        pace.settled(uid, told_dead);
        return Ok(again(plan.again));
    }
    let version = object.meta().resource_version.as_deref();
    if pace.is_old(uid, version) {
        // The watch brings what was written.
        return Ok(again(plan.again));
    }
    if is_unsettled(&plan, object)
        && let Some(left) = pace.patience(uid, now)
    {
        return Ok(again(Some(left)));
    }
    if words
        .said
        .iter()
        .any(|said| said.kind == ConditionType::Ready)
        && let Some(left) = pace.turn(uid, now)
    {
        return Ok(again(Some(left)));
    }
    let wrote = status::write(ctx, object, &words).await?;
    pace.settled(uid, told_dead);
    pace.wrote(uid, version);
    if wrote {
        news(ctx, object, &plan.accepted);
    }
    Ok(again(plan.again))
}

/// An Event where somebody else has to do something about it.
fn news<K: Object>(ctx: &Context, object: &K, accepted: &Said) {
    let known = find(object.conditions(), ConditionType::Accepted)
        .is_some_and(|shown| shown.reason == accepted.reason);
    let reason = NEWS
        .iter()
        .find(|reason| reason.as_str() == accepted.reason);
    if let (Some(reason), false) = (reason, known) {
        let message = accepted.message.clone();
        let note = Note::warning(object.reference(), *reason, "Reconcile", message);
        ctx.events.record(note);
    }
}

/// Says that an object is left alone, and of the rest what was said before.
///
/// # Errors
/// Whatever the API server says.
pub(crate) async fn leave_alone<K: Object>(
    ctx: &Context,
    object: &K,
    ownership: &Ownership,
) -> Outcome {
    let is_said = find(object.conditions(), ConditionType::ReconcilePaused)
        .is_some_and(|c| Truth::of(c) == Truth::True);
    if !is_said {
        let mut words = Words::new(ownership.conditions, ownership.fields);
        let others = ownership.conditions.iter();
        words.unchanged = others
            .filter(|kind| **kind != ConditionType::ReconcilePaused)
            .copied()
            .collect();
        words.say(Said::yes(
            ConditionType::ReconcilePaused,
            Reason::PausedByAnnotation,
            "",
        ));
        let status = object.status_value();
        for field in ownership.fields {
            if let Some(value) = status.get(field) {
                words.field(field, value.clone());
            }
        }
        words.until_taken = Some(not_taken_up());
        status::write(ctx, object, &words).await?;
    }
    Ok(Action::await_change())
}

fn not_taken_up() -> Said {
    let message = "the bus's dispatcher has not taken it up yet";
    Said::unknown(ConditionType::Ready, Reason::Pending, message)
}

fn again(after: Option<Duration>) -> Action {
    after.map_or_else(Action::await_change, Action::requeue)
}

fn words<K: Object>(
    plan: &Plan,
    object: &K,
    ownership: &Ownership,
    was_told: impl Fn(Timestamp) -> bool,
) -> Words {
    let shown_dead = shows_dead(object);
    let ready = match &plan.ready {
        // Who took it back after that end was told is alive.
        Ready::Operator {
            since: Some(end), ..
        } if !shown_dead && was_told(*end) => None,
        Ready::Operator { said, .. } => Some(said.clone()),
        Ready::DataPlane => None,
    };
    let mut words = if ready.is_some() || shown_dead {
        Words::new(ownership.with_ready, ownership.fields_with_ready)
    } else {
        Words::new(ownership.conditions, ownership.fields)
    };
    words.say(plan.accepted.clone());
    for said in &plan.more {
        words.say(said.clone());
    }
    for (name, value) in &plan.fields {
        words.field(name, value.clone());
    }
    match ready {
        Some(ready) => {
            words.say(ready);
            words.field("observedGeneration", object.generation());
        }
        None => words.until_taken = Some(not_taken_up()),
    }
    words
}

/// Whether Ready says that nothing serves the bus: only the operator says so.
fn shows_dead<K: Object>(object: &K) -> bool {
    let ready = find(object.conditions(), ConditionType::Ready);
    ready.is_some_and(|c| c.reason == Reason::DispatcherUnavailable.as_str())
}

/// Whether it may well be otherwise in a moment: bad news, or the data plane is about to say it itself.
fn is_unsettled<K: Object>(plan: &Plan, object: &K) -> bool {
    let accepted = find(object.conditions(), ConditionType::Accepted);
    let bad_news = plan.accepted.truth != Truth::True
        && accepted.is_none_or(|shown| shown.reason != plan.accepted.reason);
    let first = accepted.is_none_or(|shown| shown.observed_generation != Some(object.generation()));
    let coming = first && plan.more.iter().any(|said| said.truth != Truth::True);
    let taken_back = plan.ready == Ready::DataPlane && shows_dead(object);
    bad_news || coming || taken_back
}

#[cfg(test)]
#[path = "settle/tests.rs"]
mod tests;
