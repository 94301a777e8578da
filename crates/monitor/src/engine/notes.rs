//! Events: the first success of a generation, and each new trouble once.

use std::sync::Arc;

use busway_api::{
    conditions::{ConditionType, find},
    reason::Reason,
};
use busway_core::bus::HookError;
use tokio::task::JoinHandle;

use super::Engine;
use crate::{
    jobs::Call,
    source::{Kind, Note, ObjectKey, Severity},
    status::Memory,
    world::{Key, Tracked},
};

/// Events that wait to be written; past that they are dropped, since the status says the same.
pub(super) const WAITING: usize = 1024;

impl Engine {
    /// Writes events, one after the other, beside the owner task.
    pub(super) fn record_notes(&mut self) -> JoinHandle<()> {
        let source = Arc::clone(&self.given.source);
        let waiting = self.recorder.take();
        tokio::spawn(async move {
            let Some(mut waiting) = waiting else { return };
            while let Some(note) = waiting.recv().await {
                source.record(note).await;
            }
        })
    }

    pub(super) fn note_synced(&mut self, key: &Key, call: &Call, generation: i64) {
        // After a restart the status tells that this generation was told of.
        if self.was_done(key, generation) {
            return;
        }
        let text = format!("generation {generation}");
        self.note(key, Severity::Normal, Reason::Synced.as_str(), &text, call);
    }

    pub(super) fn note_failed(&mut self, key: &Key, call: &Call, error: &HookError) {
        let text = format!("{}: {error}", error.reason());
        self.note(
            key,
            Severity::Warning,
            Reason::SyncFailed.as_str(),
            &text,
            call,
        );
    }

    fn note(&mut self, key: &Key, severity: Severity, reason: &str, text: &str, call: &Call) {
        if !self.writes() {
            return;
        }
        let Some(regarding) = self.object_key(key) else {
            return;
        };
        let noted = (reason.to_owned(), format!("{} {text}", call.action()));
        if let Some(memory) = self.memory_mut(key) {
            if memory.noted.as_ref() == Some(&noted) {
                return;
            }
            memory.noted = Some(noted);
        }
        let message = match severity {
            Severity::Normal => format!("{} done for {text}", call.action()),
            Severity::Warning => format!("{} failed: {text}", call.action()),
        };
        let _ = self.notes.try_send(Note {
            regarding,
            severity,
            reason: reason.to_owned(),
            action: call.action(),
            message,
        });
    }

    fn was_done(&self, key: &Key, generation: i64) -> bool {
        let (conditions, kind) = match key {
            Key::Bus => {
                let status = self.world.bus.object.as_ref().and_then(|b| b.status());
                (status.map(|s| &s.conditions), ConditionType::Synced)
            }
            Key::Channel(r) => {
                let object = self.world.channels.get(r).and_then(|s| s.object.as_ref());
                let status = object.and_then(|o| o.status.as_ref());
                (status.map(|s| &s.conditions), ConditionType::Provisioned)
            }
            Key::Subscription(r) => {
                let object = self
                    .world
                    .subscriptions
                    .get(r)
                    .and_then(|s| s.object.as_ref());
                let status = object.and_then(|o| o.status.as_ref());
                (status.map(|s| &s.conditions), ConditionType::Subscribed)
            }
        };
        let said = conditions.and_then(|all| find(all, kind));
        said.is_some_and(|c| c.status == "True" && c.observed_generation == Some(generation))
    }

    pub(super) fn object_key(&self, key: &Key) -> Option<ObjectKey> {
        match key {
            Key::Bus => {
                let bus = self.world.bus.object.as_ref()?;
                let meta = bus.meta();
                Some(ObjectKey {
                    kind: match bus {
                        crate::convert::bus::AnyBus::Namespaced(_) => Kind::Bus,
                        crate::convert::bus::AnyBus::Cluster(_) => Kind::ClusterBus,
                    },
                    namespace: meta.namespace.clone(),
                    name: meta.name.clone()?,
                    uid: meta.uid.clone().unwrap_or_default(),
                })
            }
            Key::Channel(r) => self.world.channels.get(r)?.object_key(),
            Key::Subscription(r) => self.world.subscriptions.get(r)?.object_key(),
        }
    }

    pub(super) fn memory_mut(&mut self, key: &Key) -> Option<&mut Memory> {
        Some(match key {
            Key::Bus => &mut self.world.bus.memory,
            Key::Channel(r) => &mut self.world.channels.get_mut(r)?.common.memory,
            Key::Subscription(r) => &mut self.world.subscriptions.get_mut(r)?.common.memory,
        })
    }
}
