//! Words into the status that this process owns, and whether it differs from what is there.

use busway_api::{
    conditions::{self, ConditionType, Said},
    ready,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Map, Value, json};

use super::{Memory, Words};
use crate::{
    options::{Options, Parts, Role},
    source::Kind,
};

/// Which conditions and fields this process writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership {
    parts: Parts,
    role: Role,
}

impl Ownership {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            parts: options.parts,
            role: options.role,
        }
    }

    fn hooks(self) -> bool {
        self.role != Role::DispatcherOnly
    }

    fn serves(self) -> bool {
        self.role != Role::Provisioner
    }

    fn operator(self) -> bool {
        self.parts == Parts::Both && self.serves()
    }

    fn condition(self, kind: Kind, condition: ConditionType) -> bool {
        use ConditionType as C;
        match (kind, condition) {
            (Kind::Bus | Kind::ClusterBus, C::Durable) => self.serves(),
            (Kind::Bus | Kind::ClusterBus, C::Synced)
            | (Kind::Channel, C::Provisioned)
            | (Kind::Subscription, C::Subscribed) => self.hooks(),
            (Kind::Channel, C::Routable | C::Ready)
            | (Kind::Subscription, C::Resolved | C::Dispatching | C::Delivering | C::Ready) => {
                self.serves()
            }
            (
                Kind::Bus | Kind::ClusterBus,
                C::Serviceable | C::Provisioning | C::Dispatching | C::Ready,
            )
            | (Kind::Channel, C::Accepted | C::Serviceable)
            | (Kind::Subscription, C::Accepted) => self.operator(),
            _ => false,
        }
    }

    fn field(self, kind: Kind, field: &str) -> bool {
        match (kind, field) {
            (Kind::Bus | Kind::ClusterBus, "observedGeneration" | "address")
            | (Kind::ClusterBus, "namespaces")
            | (Kind::Channel, "addresses") => self.operator(),
            (Kind::Channel | Kind::Subscription, "resolvedParameters") => self.hooks(),
            (Kind::Channel, "observedGeneration" | "subscriptions")
            | (
                Kind::Subscription,
                "observedGeneration" | "subscriberUrl" | "replyUrl" | "deadLetterUrl" | "backlog"
                | "oldestAcceptedAt",
            ) => self.serves(),
            _ => false,
        }
    }

    /// The part of an observed status that is ours, conditions by type.
    pub(crate) fn of(self, kind: Kind, status: Option<&Value>) -> Value {
        let mut ours = Map::new();
        for (name, value) in status.and_then(Value::as_object).into_iter().flatten() {
            if name == "conditions" {
                let mut conditions: Vec<_> = value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|c| self.names(kind, c.get("type").and_then(Value::as_str)))
                    .cloned()
                    .collect();
                conditions.sort_by_key(type_of);
                if !conditions.is_empty() {
                    ours.insert(name.clone(), conditions.into());
                }
            } else if self.field(kind, name) {
                ours.insert(name.clone(), value.clone());
            }
        }
        Value::Object(ours)
    }

    fn names(self, kind: Kind, name: Option<&str>) -> bool {
        OURS.iter()
            .any(|c| Some(c.as_str()) == name && self.condition(kind, *c))
    }
}

const OURS: [ConditionType; 12] = [
    ConditionType::Accepted,
    ConditionType::Serviceable,
    ConditionType::Provisioning,
    ConditionType::Dispatching,
    ConditionType::Synced,
    ConditionType::Durable,
    ConditionType::Routable,
    ConditionType::Provisioned,
    ConditionType::Resolved,
    ConditionType::Subscribed,
    ConditionType::Delivering,
    ConditionType::Ready,
];

fn type_of(condition: &Value) -> String {
    let name = condition.get("type").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// The object that a status is made for.
pub(crate) struct Subject<'a> {
    pub(crate) kind: Kind,
    pub(crate) uid: &'a str,
    pub(crate) generation: i64,
    /// All conditions as they were last seen, also others'.
    pub(crate) observed: &'a [Condition],
}

/// The whole of what this process owns in the object's status.
pub(crate) fn assemble(
    words: Words,
    subject: &Subject<'_>,
    memory: &mut Memory,
    ownership: Ownership,
    now: &Time,
) -> Value {
    let Subject {
        kind,
        uid,
        generation,
        observed,
    } = *subject;
    if memory.uid.as_deref() != Some(uid) {
        *memory = Memory {
            uid: Some(uid.to_owned()),
            conditions: observed
                .iter()
                .filter(|c| ownership.names(kind, Some(&c.type_)))
                .cloned()
                .collect(),
            // An event may have come before the first status of this object.
            noted: memory.uid.is_none().then(|| memory.noted.take()).flatten(),
            ..Memory::default()
        };
    }
    let mut all = observed.to_vec();
    let mut ours: Vec<Condition> = Vec::new();
    let mut say = |said: Said, generation: i64, all: &mut Vec<Condition>| {
        let condition = said.kind;
        if !ownership.condition(kind, condition) {
            return;
        }
        conditions::set(&mut memory.conditions, said, generation, now);
        if let Some(new) = conditions::find(&memory.conditions, condition).cloned() {
            all.retain(|c| c.type_ != new.type_);
            all.push(new.clone());
            ours.push(new);
        }
    };
    for (said, generation) in words.said {
        say(said, generation, &mut all);
    }
    let ready = match kind {
        Kind::Bus | Kind::ClusterBus => ready::bus(&all, generation),
        Kind::Channel => ready::channel(&all, generation),
        Kind::Subscription => ready::subscription(&all, generation),
    };
    say(ready, generation, &mut all);
    memory
        .conditions
        .retain(|c| ours.iter().any(|o| o.type_ == c.type_));
    let mut status: Map<String, Value> = words
        .fields
        .into_iter()
        .filter(|(name, _)| ownership.field(kind, name))
        .collect();
    if ownership.field(kind, "observedGeneration") {
        status.insert("observedGeneration".to_owned(), json!(generation));
    }
    if !ours.is_empty() {
        let mut ours: Vec<_> = ours.iter().map(|c| json!(c)).collect();
        ours.sort_by_key(type_of);
        status.insert("conditions".to_owned(), ours.into());
    }
    Value::Object(status)
}
