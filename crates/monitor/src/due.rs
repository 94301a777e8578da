//! Keys with a time at which something is to be done about them.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Due<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Due<K> {
    /// At this time, or when it is due already, if that is earlier.
    pub(crate) fn at(&mut self, key: &K, at: Instant) {
        match self.by_key.get(key) {
            Some(old) if *old <= at => {}
            old => {
                if let Some(old) = old.copied() {
                    self.by_time.remove(&(old, key.clone()));
                }
                self.by_key.insert(key.clone(), at);
                self.by_time.insert((at, key.clone()));
            }
        }
    }

    /// One that is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.by_time.clear();
        self.by_key.clear();
    }
}
