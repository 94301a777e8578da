//! Which keys are to be worked on: each by one worker at a time, many at once, failed ones later.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use busway_core::pacing::{Backoff, BackoffPolicy, Jitter};
use tokio::time::Instant;

/// The wait after a failure. Equal jitter makes it 0.5 s to 1 s at first, and at most 5 min.
pub(crate) const BACKOFF: Backoff = Backoff {
    policy: BackoffPolicy::Exponential,
    delay: Duration::from_secs(1),
    max: Duration::from_mins(5),
    jitter: Jitter::Equal,
};

#[derive(Debug)]
pub(crate) struct Queue<K> {
    concurrency: usize,
    ready: VecDeque<K>,
    queued: HashSet<K>,
    /// The running ones, and whether to look at them again when they end.
    running: HashMap<K, bool>,
    delayed: BTreeSet<(Instant, K)>,
    until: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashMap::new(),
            delayed: BTreeSet::new(),
            until: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    /// Asks for a worker. One that waits after a failure goes on waiting.
    pub(crate) fn add(&mut self, key: &K) {
        if let Some(again) = self.running.get_mut(key) {
            *again = true;
        } else if !self.until.contains_key(key) && self.queued.insert(key.clone()) {
            self.ready.push_back(key.clone());
        }
    }

    /// The next key, while there is room.
    pub(crate) fn take(&mut self, now: Instant) -> Option<K> {
        while let Some((_, key)) = self.delayed.first().filter(|(at, _)| *at <= now).cloned() {
            self.undelay(&key);
            self.add(&key);
        }
        if self.running.len() >= self.concurrency {
            return None;
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone(), false);
        Some(key)
    }

    /// Its worker ended. Whether somebody asked for another look meanwhile.
    pub(crate) fn done(&mut self, key: &K) -> bool {
        self.running.remove(key).unwrap_or(false)
    }

    /// After a success, and after a change: the next failure waits little again, and nothing is
    /// waited for any more.
    pub(crate) fn reset(&mut self, key: &K) {
        self.failures.remove(key);
        self.undelay(key);
    }

    /// As [`Queue::reset`], of every key.
    pub(crate) fn reset_all(&mut self) {
        self.failures.clear();
        self.delayed.clear();
        self.until.clear();
    }

    /// After a failure: again, later than last time.
    pub(crate) fn retry(&mut self, key: &K, now: Instant, random: u64) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let wait = BACKOFF.wait(*failures, random);
        self.undelay(key);
        self.until.insert(key.clone(), now + wait);
        self.delayed.insert((now + wait, key.clone()));
        wait
    }

    /// When `take` may have something that it has not now.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Nobody works and nobody waits for a worker; what waits after a failure was tried.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.running.is_empty()
    }

    pub(crate) fn is_running(&self, key: &K) -> bool {
        self.running.contains_key(key)
    }

    fn undelay(&mut self, key: &K) {
        if let Some(at) = self.until.remove(key) {
            self.delayed.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_worker_at_a_time_and_others_go_on() {
        let now = Instant::now();
        let mut queue = Queue::new(2);
        for key in [1, 1, 2, 3] {
            queue.add(&key);
        }
        assert_eq!(
            (queue.take(now), queue.take(now), queue.take(now)),
            (Some(1), Some(2), None)
        );
        queue.add(&1);
        assert!(queue.done(&1), "asked for again meanwhile");
        assert!(!queue.done(&2));
        assert_eq!((queue.take(now), queue.take(now)), (Some(3), None));
    }

    #[test]
    fn waits_grow_from_half_a_second_to_five_minutes_and_a_change_ends_them() {
        let now = Instant::now();
        let mut queue = Queue::new(1);
        let mut last = Duration::ZERO;
        for random in [0, u64::MAX / 2, u64::MAX] {
            last = queue.retry(&1, now, random);
        }
        assert_eq!(Queue::new(1).retry(&1, now, 0), Duration::from_millis(500));
        assert!(last > Duration::from_secs(3));
        for _ in 0..100 {
            last = queue.retry(&1, now, u64::MAX);
        }
        assert!(last <= BACKOFF.max && last > Duration::from_secs(299));
        queue.add(&1);
        assert_eq!(queue.take(now), None, "it waits");
        assert_eq!(queue.next_due(), Some(now + last));
        queue.reset(&1);
        queue.add(&1);
        assert_eq!(queue.take(now), Some(1));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_waited_is_taken_when_it_is_due() {
        let now = Instant::now();
        let mut queue = Queue::new(1);
        let wait = queue.retry(&1, now, 0);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(now + wait), Some(1));
    }
}
