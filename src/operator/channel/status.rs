//! What is said of a Channel. Pure.

use busway_api::{
    Channel,
    channel::Address,
    conditions::{ConditionType, Said, Truth, find},
    reason::Reason,
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, json};

use super::{
    carrier::{Carrier, Pulse},
    settle::{Ownership, Plan},
};
use crate::operator::object::Object as _;

/// What is the operator's on a Channel.
pub(crate) const OWNERSHIP: Ownership = Ownership {
    conditions: &[
        ConditionType::Accepted,
        ConditionType::Serviceable,
        ConditionType::ReconcilePaused,
    ],
    with_ready: &[
        ConditionType::Accepted,
        ConditionType::Serviceable,
        ConditionType::ReconcilePaused,
        ConditionType::Ready,
    ],
    fields: &["addresses"],
    fields_with_ready: &["addresses", "observedGeneration"],
};

/// What is said of it.
pub(crate) fn plan(
    channel: &Channel,
    accepted: Said,
    carrier: Option<&Carrier>,
    addresses: &[Address],
    now: Timestamp,
) -> Plan {
    let mut fields = Map::new();
    if !addresses.is_empty() && !channel.is_going() {
        fields.insert("addresses".to_owned(), json!(addresses));
    }
    let beats = carrier.is_some_and(|c| c.pulse() == Pulse::Beats);
    let dead = carrier.and_then(|c| c.dead(now));
    Plan {
        ready: Plan::ready_of(&accepted, beats, dead),
        accepted,
        more: carrier.map(serviceable).into_iter().collect(),
        fields,
        again: carrier.and_then(|c| c.dead_in(now)),
    }
}

/// Whether its address answers: as its bus's does.
fn serviceable(carrier: &Carrier) -> Said {
    let kind = ConditionType::Serviceable;
    let (bus_kind, bus) = (carrier.key.kind(), &carrier.key);
    match find(&carrier.conditions, kind) {
        Some(said) if Truth::of(said) == Truth::True => Said::yes(kind, Reason::Reachable, ""),
        Some(said) if Truth::of(said) == Truth::False => Said::no(
            kind,
            Reason::NoEndpoint,
            format!("{bus_kind} {bus}: {}", said.message),
        ),
        Some(_) | None => Said::unknown(
            kind,
            Reason::Pending,
            format!("{bus_kind} {bus} is not known to answer yet"),
        ),
    }
}
