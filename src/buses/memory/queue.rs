//! One subscription's queue: pure, so that a model can be held against it.

mod shelf;

use std::{
    collections::HashMap,
    sync::Arc,
    task::Waker,
    time::{Duration, SystemTime},
};

use busway_core::{
    budget::Reservation,
    bus::{Backlog, BusError, Credit, Fate, MemorySettings},
    outcome::Cause,
};
use busway_message::Message;
use tokio::time::Instant;

use super::{
    config::{MAX_SHED_BYTES, MAX_SHED_MESSAGES, fits},
    handout::{Handout, Holding},
};
use shelf::Shelf;

/// When a consumer looks again that others keep from taking more.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A message as all queues of its channel share it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) message: Message,
    pub(super) size: usize,
    pub(super) accepted_at: SystemTime,
    pub(super) _space: Reservation,
}

/// A message's place in one queue.
#[derive(Debug)]
pub(super) struct Entry {
    sequence: u64,
    stored: Arc<Stored>,
    attempts: u32,
    _place: Reservation,
}

impl Entry {
    pub(super) const fn new(stored: Arc<Stored>, place: Reservation) -> Self {
        Self {
            sequence: 0,
            stored,
            attempts: 0,
            _place: place,
        }
    }

    fn size(&self) -> usize {
        self.stored.size
    }
}

/// Messages that left a queue because it, or the process, was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shed {
    /// How many.
    pub(super) shed: u64,
    /// How many of them are gone, because enough are waiting for the dead-letter sink.
    pub(super) dropped: u64,
}

/// Consumers to wake once the queue's lock is released.
#[derive(Debug, Default)]
#[must_use = "a consumer would sleep on"]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        for waker in self.0 {
            waker.wake();
        }
    }
}

/// What closing a queue ended.
#[derive(Debug, Default)]
pub(super) struct Closed {
    pub(super) discarded: u64,
    pub(super) wake: Wakers,
}

/// What a consumer gets.
#[derive(Debug)]
pub(super) enum Take {
    /// A message, held under this token.
    Taken(Taken),
    /// Nothing now; look again when woken, or at this time.
    Wait(Option<Instant>),
    /// Nothing any more.
    Ended,
}

/// A message that a consumer got.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) token: u64,
    pub(super) stored: Arc<Stored>,
    pub(super) attempts: u32,
    pub(super) fate: Fate,
}

/// What waits, what is held and by whom; bounds hold for both together.
#[derive(Debug, Default)]
pub(super) struct Queue {
    live: Shelf,
    /// Shed, and to be handed out as dead letters.
    shed: Shelf,
    held: HashMap<u64, Held>,
    held_use: Use,
    held_shed_use: Use,
    reserved: Use,
    consumers: Vec<Consumer>,
    next_sequence: u64,
    next_token: u64,
    next_consumer: u64,
    closed: bool,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    consumer: u64,
    fate: Fate,
}

#[derive(Debug)]
struct Consumer {
    id: u64,
    credit: Credit,
    handout: Handout,
    held: Use,
    /// Counted among those that hold something.
    holding: Option<Holding>,
    waiting: Option<(Waker, WaitsFor)>,
}

/// Why a consumer got nothing, so that it is woken only by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    Message,
    Credit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    messages: usize,
    bytes: usize,
}

impl Use {
    const fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    const fn remove(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Filling: bounds are kept before an entry goes in.
impl Queue {
    /// Takes an entry, shedding the oldest that nobody holds where there is no room; when all are
    /// held, that is the new one. A queue that is over its bound already, because that was lowered, comes
    /// down to it by two for each that comes: all at once would be more than a sink can take.
    pub(super) fn push(&mut self, mut entry: Entry, settings: &MemorySettings) -> (Shed, Wakers) {
        let mut shed = Shed::default();
        if self.closed {
            return (shed, Wakers::default());
        }
        entry.sequence = self.sequence();
        let over = !fits(self.messages(), self.bytes(), settings);
        let mut given = Use::default();
        while !self.has_room(entry.size(), settings) {
            if over && given.messages >= 2 && given.bytes >= 2 * entry.size() {
                break;
            }
            match self.live.pop_oldest() {
                Some(oldest) => {
                    given.add(oldest.size());
                    self.shed_entry(oldest, &mut shed);
                }
                None => {
                    self.shed_entry(entry, &mut shed);
                    return (shed, self.wakers());
                }
            }
        }
        self.live.push(entry);
        let wake = match shed.shed {
            0 => self.wakers_for(WaitsFor::Message),
            _ => self.wakers(),
        };
        (shed, wake)
    }

    /// Keeps room for one message of this size, where there is some.
    pub(super) fn reserve(&mut self, size: usize, settings: &MemorySettings) -> bool {
        let room = self.has_room(size, settings);
        if room {
            self.reserved.add(size);
        }
        room
    }

    /// Gives back what [`Queue::reserve`] kept.
    pub(super) fn unreserve(&mut self, size: usize) {
        self.reserved.remove(size);
    }

    /// Takes an entry into the room that was kept for it.
    pub(super) fn push_reserved(&mut self, mut entry: Entry) -> Wakers {
        self.reserved.remove(entry.size());
        if self.closed {
            return Wakers::default();
        }
        entry.sequence = self.sequence();
        self.live.push(entry);
        self.wakers_for(WaitsFor::Message)
    }

    /// Sheds the oldest until it is enough, at most so many; when none is left, drops what was shed
    /// and is not handed out yet.
    pub(super) fn shed_until(&mut self, most: usize, enough: impl Fn() -> bool) -> (Shed, Wakers) {
        let mut shed = Shed::default();
        for _ in 0..most {
            if enough() {
                break;
            }
            if let Some(oldest) = self.live.pop_oldest() {
                self.shed_entry(oldest, &mut shed);
            } else if self.shed.pop_oldest().is_some() {
                shed.dropped += 1;
            } else {
                break;
            }
        }
        (shed, self.wakers())
    }

    /// What [`Queue::shed_until`] could free.
    pub(super) fn sheddable_bytes(&self) -> usize {
        let messages = self.live.len() + self.shed.len();
        self.live.bytes() + self.shed.bytes() + messages * super::config::ENTRY_COST
    }

    /// Discards everything; consumers end, and what they hold is no longer theirs.
    pub(super) fn close(&mut self) -> Closed {
        let discarded = self.backlog().count;
        let mut wake = Wakers::default();
        for consumer in self.consumers.drain(..) {
            wake.0.extend(consumer.waiting.map(|(waker, _)| waker));
        }
        *self = Self {
            closed: true,
            ..Self::default()
        };
        Closed { discarded, wake }
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn messages(&self) -> usize {
        self.live.len() + self.held_use.messages + self.reserved.messages
    }

    fn bytes(&self) -> usize {
        self.live.bytes() + self.held_use.bytes + self.reserved.bytes
    }

    fn has_room(&self, size: usize, settings: &MemorySettings) -> bool {
        let bytes = self.bytes().saturating_add(size);
        fits(self.messages() + 1, bytes, settings)
    }

    fn shed_entry(&mut self, entry: Entry, shed: &mut Shed) {
        shed.shed += 1;
        let messages = self.shed.len() + self.held_shed_use.messages;
        let bytes = self.shed.bytes() + self.held_shed_use.bytes;
        if messages < MAX_SHED_MESSAGES && (messages == 0 || bytes + entry.size() <= MAX_SHED_BYTES)
        {
            self.shed.put_back(entry);
        } else {
            shed.dropped += 1;
        }
    }
}

/// Emptying.
impl Queue {
    /// A new consumer. Consumers take turns: the one that came first gets everything until it goes.
    pub(super) fn attach(&mut self, credit: Credit, handout: Handout) -> u64 {
        self.next_consumer += 1;
        let id = self.next_consumer;
        if !self.closed {
            self.consumers.push(Consumer {
                id,
                credit,
                handout,
                held: Use::default(),
                holding: None,
                waiting: None,
            });
        }
        id
    }

    /// A consumer goes; what it held is put back.
    pub(super) fn detach(&mut self, consumer: u64) -> Wakers {
        self.consumers.retain(|c| c.id != consumer);
        let tokens: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| held.consumer == consumer)
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if let Some((entry, fate)) = self.let_go(token) {
                self.shelf(fate).put_back(entry);
            }
        }
        self.wakers()
    }

    /// The next message for a consumer, if its credit allows one; else its waker is kept.
    pub(super) fn take(&mut self, consumer: u64, now: Instant, waker: &Waker) -> Take {
        self.live.ripen(now);
        self.shed.ripen(now);
        let mut next_due = [self.live.next_due(), self.shed.next_due(), None];
        let turn = self.consumers.first().map(|first| first.id);
        let Some(me) = self.consumers.iter_mut().find(|c| c.id == consumer) else {
            return Take::Ended;
        };
        let mut waits_for = WaitsFor::Message;
        if turn == Some(consumer) {
            if let Some(entry) = self.shed.pop_ready() {
                self.held_shed_use.add(entry.size());
                return Take::Taken(self.hold(consumer, entry, Fate::DeadLetter(Cause::Overflow)));
            }
            if let Some(next) = self.live.ready() {
                let size = next.size();
                if me.has_credit(size)
                    && let Some(entry) = self.live.pop_ready()
                {
                    me.takes(size);
                    self.held_use.add(size);
                    return Take::Taken(self.hold(consumer, entry, Fate::Deliver));
                }
                waits_for = WaitsFor::Credit;
                // Others may let go of what is shared, which nobody tells it.
                if me.has_own_credit(size) {
                    next_due[2] = Some(now + LOOK_AGAIN);
                }
            }
        }
        match &mut me.waiting {
            Some((known, what)) => {
                known.clone_from(waker);
                *what = waits_for;
            }
            none => *none = Some((waker.clone(), waits_for)),
        }
        Take::Wait(next_due.into_iter().flatten().min())
    }

    /// Settles a held message.
    pub(super) fn done(&mut self, token: u64) -> Result<Wakers, BusError> {
        let gone = self.let_go(token).ok_or(BusError::NotHeld)?;
        drop(gone);
        Ok(self.wakers_for(WaitsFor::Credit))
    }

    /// Hands a held message back until a time.
    pub(super) fn retry_at(
        &mut self,
        token: u64,
        at: Instant,
        attempts: u32,
    ) -> Result<Wakers, BusError> {
        let (mut entry, fate) = self.let_go(token).ok_or(BusError::NotHeld)?;
        entry.attempts = attempts;
        self.shelf(fate).delay(at, entry);
        Ok(self.wakers())
    }

    /// Hands a held message back to its place.
    pub(super) fn release(&mut self, token: u64) -> Wakers {
        if let Some((entry, fate)) = self.let_go(token) {
            self.shelf(fate).put_back(entry);
        }
        self.wakers()
    }

    /// Stores the count of attempts of a held message.
    pub(super) fn extend(&mut self, token: u64, attempts: u32) -> Result<(), BusError> {
        let held = self.held.get_mut(&token).ok_or(BusError::NotHeld)?;
        held.entry.attempts = attempts;
        Ok(())
    }

    /// What is accepted and not settled, shed messages that are still to be dead-lettered included.
    pub(super) fn backlog(&self) -> Backlog {
        let held = self.held.values().map(|held| &held.entry);
        let oldest = held
            .chain(self.live.oldest())
            .chain(self.shed.oldest())
            .map(|entry| entry.stored.accepted_at)
            .min();
        Backlog {
            count: (self.live.len() + self.shed.len() + self.held.len()) as u64,
            oldest,
            in_flight: self.held.len() as u64,
        }
    }

    fn shelf(&mut self, fate: Fate) -> &mut Shelf {
        match fate {
            Fate::Deliver => &mut self.live,
            Fate::DeadLetter(_) => &mut self.shed,
        }
    }

    fn hold(&mut self, consumer: u64, entry: Entry, fate: Fate) -> Taken {
        self.next_token += 1;
        let token = self.next_token;
        let taken = Taken {
            token,
            stored: Arc::clone(&entry.stored),
            attempts: entry.attempts,
            fate,
        };
        let held = Held {
            entry,
            consumer,
            fate,
        };
        self.held.insert(token, held);
        taken
    }

    fn let_go(&mut self, token: u64) -> Option<(Entry, Fate)> {
        let held = self.held.remove(&token)?;
        let size = held.entry.size();
        match held.fate {
            Fate::DeadLetter(_) => self.held_shed_use.remove(size),
            Fate::Deliver => {
                self.held_use.remove(size);
                if let Some(consumer) = self.consumers.iter_mut().find(|c| c.id == held.consumer) {
                    consumer.lets_go(size);
                }
            }
        }
        Some((held.entry, held.fate))
    }

    /// Whoever waits for anything.
    fn wakers(&mut self) -> Wakers {
        self.collect(|_| true)
    }

    fn wakers_for(&mut self, what: WaitsFor) -> Wakers {
        self.collect(|waits_for| waits_for == what)
    }

    fn collect(&mut self, wanted: impl Fn(WaitsFor) -> bool) -> Wakers {
        let waiting = self.consumers.iter_mut().filter_map(|consumer| {
            consumer
                .waiting
                .take_if(|(_, waits_for)| wanted(*waits_for))
                .map(|(waker, _)| waker)
        });
        Wakers(waiting.collect())
    }
}

impl Consumer {
    /// One message may pass the bytes, so that a large one is not stuck.
    fn has_credit(&self, size: usize) -> bool {
        let most = || self.handout.most();
        self.held.messages == 0
            || (self.has_own_credit(size) && self.held.bytes.saturating_add(size) <= most())
    }

    /// Whether it has, where there is memory for all.
    const fn has_own_credit(&self, size: usize) -> bool {
        self.held.messages < self.credit.messages
            && self.held.bytes.saturating_add(size) <= self.credit.bytes
    }

    fn takes(&mut self, size: usize) {
        self.held.add(size);
        self.holding.get_or_insert_with(|| self.handout.hold());
    }

    fn lets_go(&mut self, size: usize) {
        self.held.remove(size);
        if self.held.messages == 0 {
            self.holding = None;
        }
    }
}

#[cfg(test)]
mod tests;
