//! How long a deleted Channel or Subscription waits for its hook, and what ends the wait.

use std::time::Duration;

use busway_api::{
    conditions::{ConditionType, Truth, find},
    reason::Reason,
};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
    jiff::Timestamp,
};

use super::{
    carrier::{BusKey, Carrier, DEAD_AFTER},
    dereference::NamespaceView,
};
use crate::operator::{context::Context, object::Object};
use kube::ResourceExt as _;

/// A namespace that empties is looked at again after so long.
pub(crate) const EMPTYING: Duration = Duration::from_secs(2);

/// What keeps a deleted object from going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A data plane is there, and nothing is wrong with the hook that is known.
    Runs,
    /// There is nobody to run it, for this reason.
    CannotRun(String),
    /// There is nobody to run it, which is no more than a pause before then: a pod is replaced.
    Pauses { until: Timestamp, why: String },
    /// It is tried again and again, with this outcome.
    KeepsFailing(String),
}

/// The namespace of an object whose bus is in it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// It stays, or the bus is elsewhere.
    Stays,
    /// It is terminating, and the bus's pods are not all gone.
    Emptying,
    /// It is terminating, and the bus has no pod: no hook will ever run.
    Empty,
}

/// What is to be done with a deleted object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not being deleted, or nothing of ours holds it.
    Free,
    /// Its hook is waited for, without bound.
    Working,
    /// Its hook is waited for until then, because of this.
    Waiting { until: Timestamp, why: String },
    /// It is let go, because of this.
    Lift { why: String },
}

/// Judges a deleted object that this finalizer may hold.
pub(crate) fn judge(
    meta: &ObjectMeta,
    finalizer: &str,
    hook: &Hook,
    home: Home,
    bound: Duration,
    now: Timestamp,
) -> Verdict {
    let held = meta
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == finalizer);
    let Some(deleted) = meta.deletion_timestamp.as_ref().filter(|_| held) else {
        return Verdict::Free;
    };
    if home == Home::Empty {
        return Verdict::Lift {
            why: "the namespace is terminating, and its bus has no pod any more".to_owned(),
        };
    }
    let (why, not_before) = match hook {
        Hook::Runs => return Verdict::Working,
        Hook::CannotRun(why) | Hook::KeepsFailing(why) => (why.clone(), Timestamp::MIN),
        Hook::Pauses { until, why } => (why.clone(), *until),
    };
    let until = deleted.0.checked_add(bound).unwrap_or(Timestamp::MAX);
    let until = until.max(not_before);
    if until <= now {
        Verdict::Lift { why }
    } else {
        Verdict::Waiting { until, why }
    }
}

/// The hook of an object on this bus; `failing`: what its status says of it, where it is tried in vain.
pub(crate) fn hook(
    carrier: Option<&Carrier>,
    missing: &str,
    failing: Option<String>,
    now: Timestamp,
) -> Hook {
    let Some(carrier) = carrier else {
        return Hook::CannotRun(missing.to_owned());
    };
    let Some((since, why)) = carrier.hooks_stopped() else {
        return failing.map_or(Hook::Runs, Hook::KeepsFailing);
    };
    match since.and_then(|since| since.checked_add(DEAD_AFTER).ok()) {
        Some(until) if until > now => Hook::Pauses { until, why },
        Some(_) | None => Hook::CannotRun(why),
    }
}

/// What a condition says of a hook that is tried in vain.
pub(crate) fn failing(conditions: &[Condition], kind: ConditionType) -> Option<String> {
    /// How it goes well.
    const WELL: [Reason; 3] = [
        Reason::ChannelDeleted,
        Reason::Stopped,
        Reason::ChannelNotReady,
    ];
    let said = find(conditions, kind).filter(|c| Truth::of(c) == Truth::False)?;
    let well = WELL.iter().any(|reason| reason.as_str() == said.reason);
    (!well).then(|| format!("{}: {}", said.reason, said.message))
}

/// Whether the namespace of an object empties, with the bus that carries it.
pub(crate) fn home(
    ctx: &Context,
    namespace: &NamespaceView,
    key: Option<&BusKey>,
    carrier: Option<&Carrier>,
) -> Home {
    if !namespace.terminating || !matches!(key, Some(BusKey::Namespaced { .. })) {
        return Home::Stays;
    }
    match carrier {
        Some(carrier)
            if !ctx
                .stores
                .pods_of(&carrier.uid, &carrier.namespace)
                .is_empty() =>
        {
            Home::Emptying
        }
        Some(_) | None => Home::Empty,
    }
}

/// What an Event about an object that was let go is about: what outlives it.
pub(crate) fn regarding<K: Object>(
    object: &K,
    namespace: &NamespaceView,
    carrier: Option<&Carrier>,
) -> ObjectReference {
    if namespace.terminating {
        // No event can be made in it.
        return ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Namespace".to_owned()),
            name: object.namespace(),
            uid: namespace.uid.clone(),
            ..ObjectReference::default()
        };
    }
    let Some(carrier) = carrier else {
        return object.reference();
    };
    let (namespace, name) = match &carrier.key {
        BusKey::Namespaced { namespace, name } => (Some(namespace.clone()), name),
        BusKey::Cluster { name } => (None, name),
    };
    ObjectReference {
        api_version: Some(busway_api::API_VERSION.to_owned()),
        kind: Some(carrier.key.kind().to_owned()),
        namespace,
        name: Some(name.clone()),
        uid: Some(carrier.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
#[path = "delete/tests.rs"]
mod tests;
