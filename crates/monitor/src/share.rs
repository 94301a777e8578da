//! Among how many replicas a bus's totals are shared. Pure: time comes in.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use busway_core::bus::MemorySettings;
use tokio::time::Instant;

/// More replicas count after they were there for so long: a rolling update has one more for a
/// moment, each time a pod takes another's place.
const MORE_AFTER: Duration = Duration::from_secs(5);
/// More than the bus asks for count after so long: a new pod is there before it is ready, and the one
/// whose place it takes goes only then.
const SURGE_AFTER: Duration = Duration::from_secs(30);
/// Fewer replicas count after so long: a pod that crashed or moves is back by then, and until then
/// the totals are kept to rather than passed.
const FEWER_AFTER: Duration = Duration::from_secs(30);
/// Bytes of a message's headers beside its body, at most: what the receiver's engine takes.
const HEADERS: usize = 128 * 1024;

/// How many ready replicas there are, this one included, without the flickers.
#[derive(Debug)]
pub(crate) struct Share {
    among: NonZeroU32,
    /// Whether anything was told yet; the first counts at once.
    told: bool,
    /// Another number, and when it counts.
    next: Option<(NonZeroU32, Instant)>,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            among: NonZeroU32::MIN,
            told: false,
            next: None,
        }
    }
}

impl Share {
    /// Takes how many there are now, if that is known, and how many the bus asks for, if it does.
    /// Whether the shares are others by that.
    pub(crate) fn take(
        &mut self,
        there: Option<NonZeroU32>,
        asked: Option<NonZeroU32>,
        now: Instant,
    ) -> bool {
        let mut changed = false;
        if !self.told {
            // More than are asked for at a start: it takes another's place, which is about to go.
            let Some(first) = there.into_iter().chain(asked).min() else {
                return false;
            };
            self.told = true;
            changed = std::mem::replace(&mut self.among, first) != first;
        }
        match there {
            Some(there) => changed | self.follow(there, asked, now),
            None => {
                self.next = None;
                changed
            }
        }
    }

    fn follow(&mut self, now_there: NonZeroU32, asked: Option<NonZeroU32>, now: Instant) -> bool {
        if now_there == self.among {
            self.next = None;
            return false;
        }
        let more = now_there > self.among;
        let after = match more {
            true if asked.is_some_and(|asked| now_there > asked) => SURGE_AFTER,
            true => MORE_AFTER,
            false => FEWER_AFTER,
        };
        let at = match self.next {
            // Still more, or still fewer: what it is by then counts.
            Some((next, at)) if (next > self.among) == more => at,
            Some(_) | None => now + after,
        };
        if at <= now {
            self.among = now_there;
            self.next = None;
            return true;
        }
        self.next = Some((now_there, at));
        false
    }

    /// When it has to be looked at again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.next.map(|(_, at)| at)
    }

    /// The shares stay as they are.
    pub(crate) const fn stay(&mut self) {
        self.next = None;
    }

    pub(crate) const fn among(&self) -> NonZeroU32 {
        self.among
    }
}

/// One replica's part of a memory queue's bound: one message at least, also the largest that the
/// receiver takes, so that no message is too large by there being many replicas.
pub(crate) fn of_memory(
    total: MemorySettings,
    among: NonZeroU32,
    max_body: usize,
) -> MemorySettings {
    let among = NonZeroUsize::try_from(among).unwrap_or(NonZeroUsize::MIN);
    let largest = max_body.saturating_add(HEADERS).min(total.max_bytes);
    MemorySettings {
        max_messages: (total.max_messages / among).max(1),
        max_bytes: (total.max_bytes / among).max(largest).max(1),
        ..total
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use busway_core::bus::WhenFull;

    use super::*;

    fn n(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn the_first_number_counts_at_once_and_others_when_they_have_stayed() {
        let (start, mut share) = (Instant::now(), Share::default());
        let mut take = |number, after: u64| {
            let at = start + Duration::from_secs(after);
            let changed = share.take(Some(n(number)), None, at);
            (changed, share.among().get(), share.due().is_some())
        };
        assert_eq!(take(3, 0), (true, 3, false));
        assert_eq!(take(4, 10), (false, 3, true), "a rolling update");
        assert_eq!(take(3, 11), (false, 3, false));
        assert_eq!(take(4, 20), (false, 3, true));
        assert_eq!(take(5, 24), (false, 3, true));
        assert_eq!(take(5, 25), (true, 5, false), "it was more for 5 s");
        assert_eq!(take(4, 30), (false, 5, true), "one crashes");
        assert_eq!(take(4, 59), (false, 5, true));
        assert_eq!(take(6, 59), (false, 5, true), "more is another matter");
        assert_eq!(take(4, 60), (false, 5, true));
        assert_eq!(take(4, 90), (true, 4, false));
    }

    #[test]
    fn at_a_start_there_are_no_more_than_the_bus_asks_for_until_they_have_stayed() {
        let start = Instant::now();
        let first = |there: Option<u32>, asked: Option<u32>| {
            let mut share = Share::default();
            let changed = share.take(there.map(n), asked.map(n), start);
            (changed, share.among().get(), share.due().is_some())
        };
        assert_eq!(first(None, None), (false, 1, false));
        assert_eq!(first(None, Some(3)), (true, 3, false));
        assert_eq!(first(Some(3), None), (true, 3, false), "an autoscaler's");
        assert_eq!(first(Some(2), Some(3)), (true, 2, false));
        assert_eq!(first(Some(3), Some(2)), (true, 2, true), "a surge");
        let mut share = Share::default();
        assert!(!share.take(Some(n(2)), Some(n(1)), start));
        assert!(!share.take(Some(n(1)), Some(n(1)), start + SURGE_AFTER / 2));
        assert_eq!(
            (share.among(), share.due()),
            (n(1), None),
            "the old one went"
        );
        assert!(!share.take(Some(n(2)), Some(n(1)), start + SURGE_AFTER));
        assert!(share.take(Some(n(2)), Some(n(1)), start + SURGE_AFTER * 2));
        assert!(!share.take(Some(n(3)), Some(n(1)), start + SURGE_AFTER * 2));
        share.stay();
        assert_eq!((share.among(), share.due()), (n(2), None));
    }

    #[test]
    fn a_queue_has_room_for_one_message_of_any_size_that_is_taken() {
        let total = MemorySettings {
            when_full: WhenFull::Reject,
            max_messages: 10_000,
            max_bytes: 64 << 20,
        };
        let shared = |among, max_body| {
            let part = of_memory(total, n(among), max_body);
            assert_eq!(part.when_full, total.when_full);
            (part.max_messages, part.max_bytes)
        };
        assert_eq!(shared(1, 1 << 20), (10_000, 64 << 20));
        assert_eq!(shared(3, 1 << 20), (3_333, (64 << 20) / 3));
        assert_eq!(shared(20_000, 1 << 20), (1, (1 << 20) + HEADERS));
        assert_eq!(shared(2, usize::MAX), (5_000, 64 << 20));
    }
}
