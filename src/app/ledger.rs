//! How messages of interest ended, per subscription: what `--once` checks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use busway_core::outcome::Settled;
use busway_dataplane::{Event, Observer};
use tokio::sync::Notify;

/// Entries kept: a demo's messages times its subscriptions. More are not remembered.
const MAX_ENTRIES: usize = 100_000;

/// How each message ended for each subscription.
#[derive(Default)]
pub(crate) struct Ledger {
    ended: Mutex<HashMap<String, BTreeMap<String, Settled>>>,
    changed: Notify,
    then: Option<Arc<dyn Observer>>,
}

impl Ledger {
    /// A ledger that passes every event on.
    pub(crate) fn then(then: Option<Arc<dyn Observer>>) -> Self {
        Self {
            then,
            ..Self::default()
        }
    }

    /// How a message ended for a subscription, if it did.
    pub(crate) fn ending(&self, id: &str, subscription: &str) -> Option<Settled> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get(id)?.get(subscription).copied()
    }

    /// Waits for the next ending.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Observer for Ledger {
    fn observe(&self, event: &Event<'_>) {
        if let Some(then) = &self.then {
            then.observe(event);
        }
        if let Event::Settled {
            id,
            subscription,
            how,
        } = event
        {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.len() < MAX_ENTRIES {
                let message = ended.entry((*id).to_owned()).or_default();
                message.insert(subscription.to_string(), *how);
            }
            drop(ended);
            self.changed.notify_waiters();
        }
    }
}
