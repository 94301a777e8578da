//! What is said of a Subscription. Pure.

use busway_api::conditions::{ConditionType, Said};
use k8s_openapi::jiff::Timestamp;
use serde_json::Map;

use super::dereference::Found;
use crate::operator::channel::{
    carrier::Pulse,
    settle::{Ownership, Plan},
};

/// What is the operator's on a Subscription.
pub(super) const OWNERSHIP: Ownership = Ownership {
    conditions: &[ConditionType::Accepted, ConditionType::ReconcilePaused],
    with_ready: &[
        ConditionType::Accepted,
        ConditionType::ReconcilePaused,
        ConditionType::Ready,
    ],
    fields: &[],
    fields_with_ready: &["observedGeneration"],
};

/// What is said of it.
pub(super) fn plan(accepted: Said, found: &Found, now: Timestamp) -> Plan {
    let carrier = found.carrier();
    let beats = carrier.is_some_and(|c| c.pulse() == Pulse::Beats);
    Plan {
        ready: Plan::ready_of(&accepted, beats, carrier.and_then(|c| c.dead(now))),
        accepted,
        more: Vec::new(),
        fields: Map::new(),
        again: carrier.and_then(|c| c.dead_in(now)),
    }
}
