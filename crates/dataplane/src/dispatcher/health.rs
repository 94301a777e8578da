use std::{
    cell::Cell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use busway_core::{bus::Backlog, outcome::Outcome, serving::Health};

/// Keeps a subscription's health; while all goes well it locks nothing.
pub(super) struct Keeper {
    shared: Arc<Mutex<Health>>,
    /// The last failure, since which nothing was delivered.
    failing: Cell<Option<Outcome>>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Mutex<Health>>) -> Self {
        Self {
            shared,
            failing: Cell::new(None),
        }
    }

    /// The record that it keeps.
    pub(super) fn shared(&self) -> Arc<Mutex<Health>> {
        Arc::clone(&self.shared)
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn delivered(&self) {
        if self.failing.take().is_some() {
            let mut health = self.lock();
            health.failing_since = None;
            health.last_error = None;
            health.gone = false;
        }
    }

    pub(super) fn failed(&self, outcome: Outcome, now: SystemTime) {
        if self.failing.replace(Some(outcome)) != Some(outcome) {
            let mut health = self.lock();
            health.failing_since.get_or_insert(now);
            health.last_error = Some(outcome.to_string());
        }
    }

    /// There is another subscriber now, of which nothing is known.
    pub(super) fn another_subscriber(&self) {
        self.failing.set(None);
        let mut health = self.lock();
        health.failing_since = None;
        health.last_error = None;
        health.gone = false;
    }

    pub(super) fn gone(&self) {
        self.lock().gone = true;
    }

    pub(super) fn expired(&self, now: SystemTime) {
        self.lock().last_expiry = Some(now);
    }

    pub(super) fn overflowed(&self, now: SystemTime) {
        self.lock().last_overflow = Some(now);
    }

    pub(super) fn backlog(&self, backlog: Option<Backlog>) {
        self.lock().backlog = backlog;
    }
}
