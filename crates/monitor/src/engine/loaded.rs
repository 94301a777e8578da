//! What this replica and the others really serve.

use busway_api::{conditions::ConditionType, reason::Reason};
use busway_core::{Uid, serving::Changes};
use tokio::time::Instant;

use super::{
    Engine,
    judge::{observed_of_channel, observed_of_subscription},
};
use crate::world::Key;

impl Engine {
    /// Takes in what the own data plane loaded and dropped.
    pub(super) fn follow_loaded(&mut self) {
        let Some(data_plane) = &self.given.data_plane else {
            return;
        };
        let Changes {
            sequence,
            set,
            removed,
            ..
        } = data_plane.loaded().since(self.loaded_sequence);
        self.loaded_sequence = sequence;
        let now = Instant::now();
        for (uid, _) in set {
            let Some(key) = self.world.by_uid.get(&uid).cloned() else {
                continue;
            };
            match &key {
                Key::Bus => {}
                Key::Channel(r) => {
                    if let Some(s) = self.world.channels.get_mut(r) {
                        s.common.was_loaded = true;
                    }
                }
                Key::Subscription(r) => {
                    if let Some(s) = self.world.subscriptions.get_mut(r) {
                        s.common.was_loaded = true;
                    }
                }
            }
            self.statuses.at(&key, now);
        }
        for uid in removed {
            if let Some(key) = self.world.by_uid.get(&uid).cloned() {
                self.mark(key);
            }
        }
    }

    /// Those of all ready replicas that do not serve an object yet, by name.
    pub(crate) fn replicas_without(&self, uid: &Uid, generation: i64) -> Vec<String> {
        let mut without = self.given.replicas.without(uid, generation);
        let own = self.given.data_plane.as_ref();
        if own.is_some_and(|d| d.loaded().generation(uid).is_none_or(|g| g < generation)) {
            without.insert(0, "this replica".to_owned());
        }
        without
    }

    pub(crate) fn is_loaded_anywhere(&self, uid: &Uid) -> bool {
        let own = self.given.data_plane.as_ref();
        own.is_some_and(|d| d.loaded().generation(uid).is_some())
            || self.given.replicas.any_serves(uid)
    }

    /// A provisioner learns from the status that the dispatcher has stopped, or never began.
    pub(super) fn dispatcher_stopped(&self, key: &Key) -> bool {
        let (conditions, kind) = match key {
            Key::Bus => return true,
            Key::Channel(r) => {
                let object = self.world.channels.get(r).and_then(|s| s.object.as_deref());
                (object.map(observed_of_channel), ConditionType::Routable)
            }
            Key::Subscription(r) => {
                let object = self
                    .world
                    .subscriptions
                    .get(r)
                    .and_then(|s| s.object.as_deref());
                (
                    object.map(observed_of_subscription),
                    ConditionType::Dispatching,
                )
            }
        };
        let said = conditions.and_then(|all| busway_api::conditions::find(all, kind));
        said.is_none_or(|c| {
            c.status == "Unknown" || (c.status == "False" && c.reason == Reason::Stopped.as_str())
        })
    }
}
