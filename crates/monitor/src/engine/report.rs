//! Statuses: made when they are due, given to the writer when they differ.

use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::{
    health,
    source::{Kind, WriteError},
    status::{
        Progress, Text,
        assemble::{Subject, assemble},
        writer::Written,
    },
    world::{Key, Tracked as _},
};

/// What is under way is waited for so long, so that one write tells the end of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// A write is seen in the object within this time, or somebody undid it before it was seen. A busy
/// API server's watches lag for seconds: writing again on that account would make it busier.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// A write that is never seen is repeated after 30 s, 1 min, … 4 min: somebody undoes it each time.
const MOST_DOUBLINGS: u32 = 3;
/// Statuses made in one go.
const BATCH: usize = 256;

impl Engine {
    pub(super) fn report(&mut self, now: Instant) {
        if !self.writes() {
            self.statuses.clear();
            return;
        }
        for _ in 0..BATCH {
            let Some(key) = self.statuses.take(now) else {
                return;
            };
            self.report_one(&key, now);
        }
    }

    fn report_one(&mut self, key: &Key, now: Instant) {
        let words = match key {
            Key::Bus => self.bus_words(),
            Key::Channel(r) => self.channel_words(r, now),
            Key::Subscription(r) => self.subscription_words(r),
        };
        let (Some(words), Some(object)) = (words, self.any_object_key(key)) else {
            self.waiting.remove(key);
            return;
        };
        let progress = words.progress;
        if progress == Progress::UnderWay {
            self.waiting.insert(key.clone());
        } else {
            self.waiting.remove(key);
        }
        let (observed, generation) = self.observed(key);
        let wall = health::time(self.given.options.clock.now());
        let (ownership, kind) = (self.ownership, object.kind);
        // The status of what cannot be decoded is not seen.
        let decoded = self.object_key(key).is_some();
        let shown = Text::of(ownership.of(kind, observed.as_ref()));
        let conditions = observed
            .as_ref()
            .and_then(|status| status.get("conditions").cloned())
            .and_then(|all| serde_json::from_value::<Vec<_>>(all).ok())
            .unwrap_or_default();
        let (Some(memory), Some(wall)) = (self.memory_mut(key), wall) else {
            return;
        };
        let subject = Subject {
            kind,
            uid: &object.uid,
            generation,
            observed: &conditions,
        };
        let wanted = Text::of(assemble(words, &subject, memory, ownership, &wall));
        let seen_within = SEEN_WITHIN.saturating_mul(1 << memory.unseen.min(MOST_DOUBLINGS));
        let (last, offered_at) = match &memory.offered {
            Some((offered, _)) if *offered == shown => {
                memory.offered = None;
                memory.unseen = 0;
                (shown, None)
            }
            Some((_, Some(at))) if decoded && now.saturating_duration_since(*at) > seen_within => {
                memory.offered = None;
                memory.unseen = memory.unseen.saturating_add(1);
                (shown, None)
            }
            Some((offered, at)) => (offered.clone(), at.filter(|_| decoded)),
            None => (shown, None),
        };
        if wanted == last || memory.refused.as_ref() == Some(&wanted) {
            memory.under_way = None;
            if let Some(at) = offered_at {
                // To see that it came through, and that nobody undid it.
                self.statuses
                    .at(key, at + SEEN_WITHIN + Duration::from_millis(100));
            }
            return;
        }
        if progress == Progress::UnderWay {
            let since = *memory.under_way.get_or_insert(now);
            if now < since + PATIENCE {
                self.statuses.at(key, since + PATIENCE);
                return;
            }
        } else {
            memory.under_way = None;
        }
        memory.refused = None;
        memory.offered = Some((wanted.clone(), None));
        self.writer.offer(key.clone(), object, wanted);
    }

    pub(super) fn written(&mut self, written: Written) {
        let Written {
            key,
            status,
            result,
        } = written;
        let now = Instant::now();
        let Some(memory) = self.memory_mut(&key) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some((offered, at)) = memory.offered.as_mut()
                    && *offered == status
                {
                    *at = Some(now);
                }
                self.statuses
                    .at(&key, now + SEEN_WITHIN + Duration::from_millis(100));
            }
            Err(WriteError::Gone) => memory.offered = None,
            Err(error) => {
                memory.offered = None;
                memory.refused = Some(status);
                let refused = &self.given.shown.refused;
                let count = refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                // The first, and then ever fewer.
                if count.is_power_of_two() {
                    tracing::error!(?key, %error, count, "a status was refused for good");
                }
            }
        }
    }

    /// What was not written yet is nobody's word.
    pub(super) fn forget_offers(&mut self) {
        self.world.bus.memory.offered = None;
        for s in self.world.channels.values_mut() {
            s.common.memory.offered = None;
        }
        for s in self.world.subscriptions.values_mut() {
            s.common.memory.offered = None;
        }
    }

    /// As [`Engine::object_key`], also of what cannot be decoded.
    fn any_object_key(&self, key: &Key) -> Option<crate::source::ObjectKey> {
        if let Some(found) = self.object_key(key) {
            return Some(found);
        }
        let (undecodable, kind) = match key {
            Key::Bus => return None,
            Key::Channel(r) => {
                let s = self.world.channels.get(r)?;
                (s.common.undecodable.as_ref(), Kind::Channel)
            }
            Key::Subscription(r) => {
                let s = self.world.subscriptions.get(r)?;
                (s.common.undecodable.as_ref(), Kind::Subscription)
            }
        };
        let (meta, _) = undecodable?;
        Some(crate::source::ObjectKey {
            kind,
            namespace: meta.namespace.clone(),
            name: meta.name.clone()?,
            uid: meta.uid.clone().unwrap_or_default(),
        })
    }

    fn observed(&self, key: &Key) -> (Option<serde_json::Value>, i64) {
        match key {
            Key::Bus => {
                let bus = self.world.bus.object.as_ref();
                let status = bus.and_then(|b| b.status());
                (
                    status.and_then(|s| serde_json::to_value(s).ok()),
                    self.generation_of(key),
                )
            }
            Key::Channel(r) => {
                let s = self.world.channels.get(r);
                let status = s.and_then(|s| s.object.as_ref()?.status.as_ref());
                let generation = s.map_or(0, |s| {
                    undecoded_or(
                        s.generation(),
                        s.object.is_some(),
                        s.common.undecodable.as_ref(),
                    )
                });
                (
                    status.and_then(|s| serde_json::to_value(s).ok()),
                    generation,
                )
            }
            Key::Subscription(r) => {
                let s = self.world.subscriptions.get(r);
                let status = s.and_then(|s| s.object.as_ref()?.status.as_ref());
                let generation = s.map_or(0, |s| {
                    undecoded_or(
                        s.generation(),
                        s.object.is_some(),
                        s.common.undecodable.as_ref(),
                    )
                });
                (
                    status.and_then(|s| serde_json::to_value(s).ok()),
                    generation,
                )
            }
        }
    }
}

fn undecoded_or(
    generation: i64,
    decoded: bool,
    undecodable: Option<&(Box<kube::core::ObjectMeta>, String)>,
) -> i64 {
    match undecodable {
        Some((meta, _)) if !decoded => meta.generation.unwrap_or(0),
        Some(_) | None => generation,
    }
}
