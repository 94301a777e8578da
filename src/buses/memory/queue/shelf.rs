use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::Instant;

use super::Entry;

/// A burst's room is given back once the shelf is empty and larger than this many entries.
const KEPT_CAPACITY: usize = 1024;

/// The messages of a queue that nobody holds, in the order in which they came.
///
/// New ones go to the end in constant time; what is handed back or waits for its time is rare and
/// goes into trees.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    fresh: VecDeque<Entry>,
    returned: BTreeMap<u64, Entry>,
    delayed: BTreeMap<u64, (Instant, Entry)>,
    due: BTreeSet<(Instant, u64)>,
    bytes: usize,
}

impl Shelf {
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.size();
        self.fresh.push_back(entry);
    }

    /// Puts an entry back at its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.bytes += entry.size();
        self.returned.insert(entry.sequence, entry);
    }

    /// Keeps an entry until `at`.
    pub(super) fn delay(&mut self, at: Instant, entry: Entry) {
        self.bytes += entry.size();
        self.due.insert((at, entry.sequence));
        self.delayed.insert(entry.sequence, (at, entry));
    }

    /// Moves what is due to its place.
    pub(super) fn ripen(&mut self, now: Instant) {
        while let Some((at, sequence)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some((_, entry)) = self.delayed.remove(&sequence) {
                self.returned.insert(sequence, entry);
            }
        }
    }

    /// When the next entry is due, of those that wait for their time.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The oldest entry that waits for nothing.
    pub(super) fn ready(&self) -> Option<&Entry> {
        match (self.returned.first_key_value(), self.fresh.front()) {
            (Some((sequence, returned)), Some(fresh)) if *sequence < fresh.sequence => {
                Some(returned)
            }
            (Some((_, returned)), None) => Some(returned),
            (_, fresh) => fresh,
        }
    }

    /// Takes what [`Shelf::ready`] shows.
    pub(super) fn pop_ready(&mut self) -> Option<Entry> {
        let sequence = self.ready()?.sequence;
        self.take_returned_or_fresh(sequence)
    }

    /// Takes the oldest entry of all, also one that waits for its time.
    pub(super) fn pop_oldest(&mut self) -> Option<Entry> {
        let ready = self.ready().map(|entry| entry.sequence);
        let delayed = self.delayed.first_key_value().map(|(s, _)| *s);
        match (ready, delayed) {
            (Some(ready), Some(delayed)) if delayed < ready => self.take_delayed(delayed),
            (Some(ready), _) => self.take_returned_or_fresh(ready),
            (None, Some(delayed)) => self.take_delayed(delayed),
            (None, None) => None,
        }
    }

    /// The oldest entry, also one that waits for its time.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        let delayed = self.delayed.first_key_value().map(|(_, (_, entry))| entry);
        self.ready()
            .into_iter()
            .chain(delayed)
            .min_by_key(|entry| entry.sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.returned.len() + self.delayed.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn take_returned_or_fresh(&mut self, sequence: u64) -> Option<Entry> {
        let entry = match self.returned.remove(&sequence) {
            Some(entry) => entry,
            None => self.fresh.pop_front()?,
        };
        self.bytes -= entry.size();
        if self.fresh.is_empty() && self.fresh.capacity() > KEPT_CAPACITY {
            self.fresh.shrink_to(KEPT_CAPACITY);
        }
        Some(entry)
    }

    fn take_delayed(&mut self, sequence: u64) -> Option<Entry> {
        let (at, entry) = self.delayed.remove(&sequence)?;
        self.due.remove(&(at, sequence));
        self.bytes -= entry.size();
        Some(entry)
    }
}
