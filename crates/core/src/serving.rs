//! What the Monitor and a data plane need of one another.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::watch;

use crate::{Routes, Uid, bus::Backlog};

/// A data plane as the Monitor sees it.
pub trait DataPlane: Send + Sync + 'static {
    /// Takes the next snapshot; returns at once.
    fn publish(&self, routes: Arc<Routes>);

    /// What this replica really serves.
    fn loaded(&self) -> &Loaded;

    /// How delivery of a subscription goes.
    fn health(&self, subscription: &Uid) -> Option<Health>;
}

/// How delivery of one subscription goes, for its condition `Delivering`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Since when every attempt has failed.
    pub failing_since: Option<SystemTime>,
    /// The last failure: a status or a short name.
    pub last_error: Option<String>,
    /// The subscriber answered 410, and not 2xx since.
    pub gone: bool,
    /// When a full queue last shed a message.
    pub last_overflow: Option<SystemTime>,
    /// When a message last expired.
    pub last_expiry: Option<SystemTime>,
    /// Accepted and not settled.
    pub backlog: Option<Backlog>,
}

/// Which objects a replica serves, at which generation; followed by peers through
/// `GET /replica/loaded`, incrementally.
#[derive(Debug)]
pub struct Loaded {
    inner: Mutex<Log>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    sequence: u64,
    objects: HashMap<Uid, Entry>,
    by_sequence: BTreeMap<u64, Uid>,
    /// Removals are remembered up to this bound; who asks for older ones gets a full list.
    removed: BTreeMap<u64, Uid>,
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    generation: i64,
    sequence: u64,
}

/// Removals remembered for followers: enough for every follower's poll in a mass deletion.
const REMEMBERED_REMOVALS: usize = 10_000;

/// What changed since a sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Ask for what comes after this next time.
    pub sequence: u64,
    /// Whether `set` is everything, and what is not in it is not served.
    pub full: bool,
    /// Served, at this generation.
    pub set: Vec<(Uid, i64)>,
    /// No longer served.
    pub removed: Vec<Uid>,
}

impl Default for Loaded {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Loaded {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that an object is served at a generation.
    pub fn set(&self, uid: &Uid, generation: i64) {
        let mut log = self.lock();
        let log = &mut *log;
        if log
            .objects
            .get(uid)
            .is_some_and(|entry| entry.generation == generation)
        {
            return;
        }
        log.sequence += 1;
        let sequence = log.sequence;
        let entry = Entry {
            generation,
            sequence,
        };
        if let Some(old) = log.objects.insert(uid.clone(), entry) {
            log.by_sequence.remove(&old.sequence);
        }
        log.by_sequence.insert(sequence, uid.clone());
        self.changed.send_replace(sequence);
    }

    /// Records that an object is no longer served.
    pub fn remove(&self, uid: &Uid) {
        let mut log = self.lock();
        let log = &mut *log;
        let Some(old) = log.objects.remove(uid) else {
            return;
        };
        log.by_sequence.remove(&old.sequence);
        log.sequence += 1;
        let sequence = log.sequence;
        log.removed.insert(sequence, uid.clone());
        if log.removed.len() > REMEMBERED_REMOVALS
            && let Some((oldest, _)) = log.removed.pop_first()
        {
            log.forgotten = oldest;
        }
        self.changed.send_replace(sequence);
    }

    /// The generation at which an object is served.
    #[must_use]
    pub fn generation(&self, uid: &Uid) -> Option<i64> {
        self.lock().objects.get(uid).map(|entry| entry.generation)
    }

    /// What changed after `sequence`; everything for 0 or a number that is too old or unknown.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Changes {
        let log = self.lock();
        let full = sequence == 0 || sequence < log.forgotten || sequence > log.sequence;
        let after = if full { 0 } else { sequence };
        let set = log
            .by_sequence
            .range(after + 1..)
            .filter_map(|(_, uid)| Some((uid.clone(), log.objects.get(uid)?.generation)))
            .collect();
        let removed = if full {
            Vec::new()
        } else {
            log.removed
                .range(after + 1..)
                .map(|(_, uid)| uid)
                .filter(|uid| !log.objects.contains_key(*uid))
                .cloned()
                .collect()
        };
        Changes {
            sequence: log.sequence,
            full,
            set,
            removed,
        }
    }

    /// Follows the sequence number.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: usize) -> Uid {
        Uid::new(&n.to_string())
    }

    #[test]
    fn a_follower_sees_each_change_once() {
        let loaded = Loaded::default();
        loaded.set(&uid(1), 1);
        loaded.set(&uid(2), 1);
        let first = loaded.since(0);
        assert!(first.full);
        assert_eq!(first.set, [(uid(1), 1), (uid(2), 1)]);
        loaded.set(&uid(1), 1);
        assert_eq!(loaded.since(first.sequence).set, []);
        loaded.set(&uid(1), 2);
        loaded.remove(&uid(2));
        let next = loaded.since(first.sequence);
        assert_eq!(
            (next.full, next.set, next.removed),
            (false, vec![(uid(1), 2)], vec![uid(2)])
        );
        assert_eq!(loaded.generation(&uid(1)), Some(2));
        assert_eq!(loaded.generation(&uid(2)), None);
    }

    #[test]
    fn a_follower_of_another_process_or_too_far_behind_gets_everything() {
        let loaded = Loaded::default();
        for n in 0..=REMEMBERED_REMOVALS + 5 {
            loaded.set(&uid(n), 1);
            loaded.remove(&uid(n));
        }
        assert!(loaded.since(1).full);
        assert!(loaded.since(u64::MAX).full);
        let now = loaded.since(0).sequence;
        assert!(!loaded.since(now).full);
    }

    #[test]
    fn what_came_back_is_not_told_as_removed() {
        let loaded = Loaded::default();
        loaded.set(&uid(1), 1);
        let seen = loaded.since(0).sequence;
        loaded.remove(&uid(1));
        loaded.set(&uid(1), 3);
        let changes = loaded.since(seen);
        assert_eq!((changes.set, changes.removed), (vec![(uid(1), 3)], vec![]));
    }
}
