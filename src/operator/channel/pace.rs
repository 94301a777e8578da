//! When a status may be written: what is likely to change at once waits a moment, and what the data plane will take
//! back is written slowly.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// What is applied together comes within this time: a channel after its subscription, a bus after its channel. Then
/// one write tells the end of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// Writes of Ready for objects without a data plane: 50 a second. With ten thousand of them, the API server has other
/// things to do.
const GAP: Duration = Duration::from_millis(20);

/// What is known of an object whose status is not written yet, or was written for a dead data plane.
#[derive(Debug, Default)]
struct Waiting {
    /// Since when it waits for what may come.
    since: Option<Instant>,
    /// When its turn to write Ready is.
    turn: Option<Instant>,
    /// The end of its data plane that was told: it is not told twice, for somebody who takes it back is alive.
    told: Option<Timestamp>,
    /// The version from which it was written last: while that is all that is seen, the write is not.
    wrote: Option<String>,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.since.is_none() && self.turn.is_none() && self.told.is_none() && self.wrote.is_none()
    }
}

/// When statuses may be written, by UID. As large as there are objects that something is wrong with.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Paced>);

#[derive(Debug, Default)]
struct Paced {
    next: Option<Instant>,
    waiting: HashMap<String, Waiting>,
}

impl Pace {
    /// How long to wait yet for what may still come.
    pub(crate) fn patience(&self, uid: &str, now: Instant) -> Option<Duration> {
        let mut paced = self.lock();
        let waiting = paced.waiting.entry(uid.to_owned()).or_default();
        let until = *waiting.since.get_or_insert(now) + PATIENCE;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// How long until its turn to write Ready comes.
    pub(crate) fn turn(&self, uid: &str, now: Instant) -> Option<Duration> {
        let mut paced = self.lock();
        let next = paced.next.map_or(now, |next| next.max(now));
        let waiting = paced.waiting.entry(uid.to_owned()).or_default();
        let turn = match waiting.turn {
            Some(turn) => turn,
            None => {
                waiting.turn = Some(next);
                paced.next = Some(next + GAP);
                next
            }
        };
        turn.checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// Whether this end of its data plane was told already.
    pub(crate) fn was_told(&self, uid: &str, end: Timestamp) -> bool {
        let paced = self.lock();
        paced.waiting.get(uid).is_some_and(|w| w.told == Some(end))
    }

    /// Whether it was written from this version already, so that what is seen of it is old.
    pub(crate) fn is_old(&self, uid: &str, version: Option<&str>) -> bool {
        let paced = self.lock();
        let waiting = paced.waiting.get(uid);
        version.is_some() && waiting.is_some_and(|w| w.wrote.as_deref() == version)
    }

    /// It was written from this version.
    pub(crate) fn wrote(&self, uid: &str, version: Option<&str>) {
        let mut paced = self.lock();
        let waiting = paced.waiting.entry(uid.to_owned()).or_default();
        waiting.wrote = version.map(ToOwned::to_owned);
    }

    /// It was written, or there was nothing to write. `dead`: the end of its data plane that was told.
    pub(crate) fn settled(&self, uid: &str, dead: Option<Timestamp>) {
        let mut paced = self.lock();
        let mut waiting = paced.waiting.remove(uid).unwrap_or_default();
        waiting.since = None;
        waiting.turn = None;
        waiting.wrote = None;
        waiting.told = dead;
        if !waiting.is_over() {
            paced.waiting.insert(uid.to_owned(), waiting);
        }
    }

    /// It is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().waiting.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Paced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_still_come_is_waited_for_once() {
        let pace = Pace::default();
        let start = Instant::now();
        assert_eq!(pace.patience("a", start), Some(PATIENCE));
        let half = PATIENCE / 2;
        assert_eq!(pace.patience("a", start + half), Some(half));
        assert_eq!(pace.patience("a", start + PATIENCE), None);
        pace.settled("a", None);
        assert!(pace.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_fifty_a_second_and_each_object_keeps_its_own() {
        let pace = Pace::default();
        let now = Instant::now();
        for place in 0..200_u32 {
            let wait = pace.turn(&place.to_string(), now).unwrap_or_default();
            assert_eq!(wait, GAP * place);
        }
        assert_eq!(pace.turn("100", now + GAP * 60), Some(GAP * 40));
        assert_eq!(pace.turn("100", now + GAP * 100), None);
        let later = now + Duration::from_mins(1);
        assert_eq!(pace.turn("new", later), None, "an idle pace owes nothing");
    }

    #[test]
    fn what_was_written_is_old_until_it_is_seen() {
        let pace = Pace::default();
        assert!(!pace.is_old("a", Some("1")));
        pace.settled("a", None);
        pace.wrote("a", Some("1"));
        assert!(pace.is_old("a", Some("1")));
        assert!(!pace.is_old("a", Some("2")) && !pace.is_old("a", None));
        pace.settled("a", None);
        assert!(pace.lock().waiting.is_empty());
    }

    #[test]
    fn an_end_is_told_once_and_the_next_one_again() {
        let pace = Pace::default();
        let [first, second] = [1, 2].map(|s| Timestamp::from_second(s).unwrap_or_default());
        assert!(!pace.was_told("a", first));
        pace.settled("a", Some(first));
        assert!(pace.was_told("a", first));
        assert!(!pace.was_told("a", second));
        pace.settled("a", None);
        assert!(!pace.was_told("a", first));
    }
}
