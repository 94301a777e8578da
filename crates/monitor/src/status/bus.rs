//! What is said of the bus.

use busway_api::{
    conditions::{ConditionType, Said},
    reason::Reason,
};
use busway_core::bus::Durability;
use serde_json::json;

use super::Words;
use crate::engine::Engine;

impl Engine {
    pub(crate) fn bus_words(&self) -> Option<Words> {
        let bus = &self.world.bus;
        let generation = bus.object.as_ref()?.meta().generation.unwrap_or(0);
        let mut words = Words::new();
        let synced = self.synced_said(generation, &mut words);
        words.say(synced, generation);
        words.say(
            match &self.profile.durability {
                Durability::Memory => Said::no(
                    ConditionType::Durable,
                    Reason::InMemory,
                    "a 202 means that the message is in the memory of one process",
                ),
                Durability::Durable { detail } => {
                    Said::yes(ConditionType::Durable, Reason::Stored, detail.clone())
                }
            },
            generation,
        );
        // Without an operator this process is the workload.
        let itself = "this process serves the bus";
        words.say(
            Said::yes(ConditionType::Provisioning, Reason::NoWorkload, itself),
            generation,
        );
        words.say(
            Said::yes(ConditionType::Dispatching, Reason::NoWorkload, itself),
            generation,
        );
        words.say(
            Said::yes(ConditionType::Serviceable, Reason::Reachable, ""),
            generation,
        );
        let admitted = self.admitted_in_use();
        if !admitted.is_empty() {
            words.field("namespaces", json!(admitted));
        }
        if let Some(receiver) = self.given.options.receiver {
            words.field("address", json!({ "url": format!("http://{receiver}") }));
        }
        Some(words)
    }

    fn synced_said(&self, generation: i64, words: &mut Words) -> Said {
        let bus = &self.world.bus;
        let kind = ConditionType::Synced;
        if let Some(error) = &bus.undecodable {
            return Said::no(kind, Reason::Undecodable, error.clone());
        }
        if let Some(problem) = &bus.problem {
            return Said::no(kind, problem.reason.clone(), problem.message.clone());
        }
        if let Some(failure) = &bus.failure {
            let reason = failure.error.reason().to_owned();
            return Said::no(kind, reason, failure.error.to_string());
        }
        // Nothing stops by it; but who is called by these authorities must not look well.
        if let Some(problem) = self.bundle_problem() {
            return Said::no(kind, Reason::CaBundleInvalid, problem);
        }
        match &bus.synced {
            Some((_, at)) if *at == generation => Said::yes(kind, Reason::Synced, ""),
            Some(_) | None => {
                words.under_way();
                Said::unknown(kind, Reason::Pending, "the bus has not synced yet")
            }
        }
    }
}
