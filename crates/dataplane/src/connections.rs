//! The connections of this process (`limits.connections`), and how subscriptions share them.
//!
//! The first connection to each destination of a subscription is opened in any case: nobody waits
//! for nothing. All others are shared max-min fairly: while somebody waits for one, nobody keeps
//! more than a *level*, which is as high as it can be. Attempts are never cut off for it: who is
//! over the level gives a connection up when an attempt over it ends, and idle ones go at once.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// How often it is looked anew who waits, and those that wait look for themselves.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// When nobody had to wait for so long, there is enough for all again.
const ENOUGH_AFTER: Duration = Duration::from_secs(1);
/// There is no level.
const ENOUGH: usize = usize::MAX;

/// How many connections this process has, and who has them. The counts of several threads may pass
/// a bound by as many as there are threads.
#[derive(Debug)]
pub(crate) struct Connections {
    senders: AtomicUsize,
    lanes: AtomicUsize,
    level: AtomicUsize,
    /// When the level was found.
    found: Mutex<Option<Instant>>,
    shares: Mutex<Vec<Weak<Share>>>,
    scarce: watch::Sender<()>,
}

/// What one subscription has of them, and waits for.
#[derive(Debug, Default)]
pub(crate) struct Share {
    lanes: AtomicUsize,
    waiting: AtomicUsize,
}

/// A connection of a sender.
pub(crate) struct Sender(Arc<Connections>);

/// A connection to a subscriber, reply target or sink.
pub(crate) struct Lane(Arc<Connections>, Arc<Share>);

impl Default for Connections {
    fn default() -> Self {
        Self {
            senders: AtomicUsize::new(0),
            lanes: AtomicUsize::new(0),
            level: AtomicUsize::new(ENOUGH),
            found: Mutex::default(),
            shares: Mutex::default(),
            scarce: watch::Sender::new(()),
        }
    }
}

impl Connections {
    /// Counts one more sender, unless there are `most` connections. A quarter of them is kept for
    /// senders, so that no subscriber can hang them out.
    pub(crate) fn sender(self: &Arc<Self>, most: usize) -> Option<Sender> {
        let senders = self.senders.fetch_add(1, Ordering::Relaxed) + 1;
        let counted = Sender(Arc::clone(self));
        let all = senders + self.lanes.load(Ordering::Relaxed);
        (all <= most || senders <= of_senders(most)).then_some(counted)
    }

    /// The share of a subscription that is served from now on.
    pub(crate) fn share(&self) -> Arc<Share> {
        let share = Arc::new(Share::default());
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() == shares.capacity() {
            shares.retain(|share| share.strong_count() > 0);
        }
        shares.push(Arc::downgrade(&share));
        share
    }

    /// Counts one more connection of a subscription.
    pub(crate) fn lane(self: &Arc<Self>, share: &Arc<Share>) -> Lane {
        self.lanes.fetch_add(1, Ordering::Relaxed);
        share.lanes.fetch_add(1, Ordering::Relaxed);
        Lane(Arc::clone(self), Arc::clone(share))
    }

    /// Whether a subscription may have another connection beside its first; if not, it waits for
    /// `waiting` of them.
    pub(crate) fn another(&self, share: &Share, waiting: usize, most: usize) -> bool {
        let lanes = self.lanes.load(Ordering::Relaxed);
        let all = lanes + self.senders.load(Ordering::Relaxed);
        let room = all < most && lanes < most - of_senders(most);
        if room && share.lanes.load(Ordering::Relaxed) < self.level() {
            return true;
        }
        share.waiting.store(waiting, Ordering::Relaxed);
        self.share_out(most);
        false
    }

    /// Whether a subscription has more than it may keep.
    pub(crate) fn is_over(&self, share: &Share) -> bool {
        share.lanes.load(Ordering::Relaxed) > self.level()
    }

    /// Whether somebody waits for a connection.
    pub(crate) fn are_scarce(&self) -> bool {
        self.level() != ENOUGH
    }

    /// Told when the level was found anew.
    pub(crate) fn scarcity(&self) -> watch::Receiver<()> {
        self.scarce.subscribe()
    }

    fn level(&self) -> usize {
        let level = self.level.load(Ordering::Relaxed);
        if level == ENOUGH {
            return level;
        }
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none_or(|at| at.elapsed() > ENOUGH_AFTER) {
            self.level.store(ENOUGH, Ordering::Relaxed);
            return ENOUGH;
        }
        level
    }

    fn share_out(&self, most: usize) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if found.is_some_and(|at| now < at + LOOK_AGAIN) {
            return;
        }
        *found = Some(now);
        let senders = self.senders.load(Ordering::Relaxed);
        let room = most.saturating_sub(senders.max(of_senders(most)));
        let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = shares.iter().filter_map(Weak::upgrade).map(|share| {
            share.lanes.load(Ordering::Relaxed) + share.waiting.load(Ordering::Relaxed)
        });
        let level = level_for(wanted.collect(), room);
        self.level.store(level, Ordering::Relaxed);
        drop((shares, found));
        self.scarce.send_replace(());
    }
}

impl Share {
    /// It waits for none.
    pub(crate) fn has_enough(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.senders.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.lanes.fetch_sub(1, Ordering::Relaxed);
        self.1.lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many of `most` connections are kept for senders.
const fn of_senders(most: usize) -> usize {
    most / 4
}

/// The highest level at which everybody gets what they want up to it, and all of it fits; at least
/// one each.
fn level_for(mut wanted: Vec<usize>, room: usize) -> usize {
    wanted.retain(|wanted| *wanted > 0);
    wanted.sort_unstable();
    let (mut left, mut others) = (room, wanted.len());
    for wanted in wanted {
        if wanted.saturating_mul(others) > left {
            return (left / others).max(1);
        }
        left -= wanted;
        others -= 1;
    }
    ENOUGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_wants_little_gets_it_and_the_rest_is_shared_evenly() {
        assert_eq!(level_for(vec![1, 2, 100, 100], 43), 20);
        assert_eq!(level_for(vec![5, 5], 10), ENOUGH);
        assert_eq!(level_for(vec![0, 0], 0), ENOUGH);
        assert_eq!(level_for(vec![7, 9], 1), 1);
        assert_eq!(level_for(vec![usize::MAX, 3], 10), 7);
    }

    proptest! {
        #[test]
        fn what_is_shared_out_fits_and_one_more_each_would_not(
            wanted in prop::collection::vec(0usize..50, 0..20), room in 20usize..200,
        ) {
            let given = |level: usize| wanted.iter().map(|w| level.min(*w)).sum::<usize>();
            let level = level_for(wanted.clone(), room);
            prop_assert!(given(level) <= room);
            if level != ENOUGH {
                prop_assert!(given(level + 1) > room);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_given_what_others_have_over_the_level() {
        let connections = Arc::new(Connections::default());
        let (greedy, late) = (connections.share(), connections.share());
        let mut lanes = Vec::new();
        while connections.another(&greedy, 10, 8) {
            lanes.push(connections.lane(&greedy));
        }
        // A quarter is left to senders.
        assert_eq!(lanes.len(), 6);
        let _first = connections.lane(&late);
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(!connections.another(&late, 10, 8));
        assert!(connections.are_scarce());
        while connections.is_over(&greedy) {
            lanes.pop();
        }
        assert_eq!(lanes.len(), 3);
        let second = connections
            .another(&late, 9, 8)
            .then(|| connections.lane(&late));
        assert!(second.is_some());
        assert!(!connections.another(&greedy, 10, 8));
        tokio::time::advance(ENOUGH_AFTER * 2).await;
        assert!(!connections.are_scarce());
    }

    #[test]
    fn a_quarter_is_kept_for_senders_and_they_may_have_all_that_is_free() {
        let connections = Arc::new(Connections::default());
        let share = connections.share();
        let senders: Vec<_> = std::iter::from_fn(|| connections.sender(8)).collect();
        assert_eq!(senders.len(), 8);
        drop(senders);
        let _lanes: Vec<_> = (0..20).map(|_| connections.lane(&share)).collect();
        let senders: Vec<_> = std::iter::from_fn(|| connections.sender(8)).collect();
        assert_eq!(senders.len(), 2);
    }
}
