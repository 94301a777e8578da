//! A queue against a list that does the same slowly.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use busway_core::{budget::MemoryBudget, bus::WhenFull};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const SETTINGS: MemorySettings = MemorySettings {
    when_full: WhenFull::DropOldest,
    max_messages: 6,
    max_bytes: 100,
};

fn plenty() -> Handout {
    Handout::new(MemoryBudget::new(usize::MAX))
}

const CREDIT: Credit = Credit {
    messages: 3,
    bytes: 60,
};

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Reserved(usize),
    Take,
    Done(usize),
    Release(usize),
    RetryIn(usize, u64),
    Extend(usize, u32),
    Pass(u64),
    NextConsumer,
    ShedSome(usize),
    Stale(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..70_usize).prop_map(Step::Push),
        2 => (1..70_usize).prop_map(Step::Reserved),
        6 => Just(Step::Take),
        2 => any::<usize>().prop_map(Step::Done),
        1 => any::<usize>().prop_map(Step::Release),
        2 => (any::<usize>(), 0..40_u64).prop_map(|(n, ms)| Step::RetryIn(n, ms)),
        1 => (any::<usize>(), 0..9_u32).prop_map(|(n, a)| Step::Extend(n, a)),
        1 => (1..50_u64).prop_map(Step::Pass),
        1 => Just(Step::NextConsumer),
        1 => (0..4_usize).prop_map(Step::ShedSome),
        1 => any::<usize>().prop_map(Step::Stale),
    ];
    prop::collection::vec(step, 1..300)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waits { since_due: Option<Instant> },
    Held(u64),
}

#[derive(Clone, Copy, Debug)]
struct Item {
    id: u64,
    size: usize,
    attempts: u32,
    shed: bool,
    state: State,
}

struct Model {
    queue: Queue,
    budget: MemoryBudget,
    consumer: u64,
    now: Instant,
    items: Vec<Item>,
    ended_tokens: Vec<u64>,
    next_id: u64,
}

impl Model {
    fn new() -> Self {
        let mut queue = Queue::default();
        let consumer = queue.attach(CREDIT, plenty());
        Self {
            queue,
            budget: MemoryBudget::new(usize::MAX),
            consumer,
            now: Instant::now(),
            items: Vec::new(),
            ended_tokens: Vec::new(),
            next_id: 0,
        }
    }

    fn entry(&mut self, size: usize) -> Entry {
        self.next_id += 1;
        let reserve = |bytes| self.budget.reserve(bytes).unwrap();
        let stored = Stored {
            message: Message::default().with_body(Bytes::from(self.next_id.to_string())),
            size,
            accepted_at: SystemTime::UNIX_EPOCH + Duration::from_secs(self.next_id),
            _space: reserve(size),
        };
        Entry::new(Arc::new(stored), reserve(1))
    }

    fn item(&self, size: usize) -> Item {
        Item {
            id: self.next_id,
            size,
            attempts: 0,
            shed: false,
            state: State::Waits { since_due: None },
        }
    }

    fn live(&self) -> (usize, usize) {
        let live = self.items.iter().filter(|i| !i.shed);
        live.fold((0, 0), |(n, b), i| (n + 1, b + i.size))
    }

    /// Sheds the oldest that waits; false when there is none.
    fn shed_oldest(&mut self) -> bool {
        let (shed_messages, shed_bytes) = self
            .items
            .iter()
            .filter(|i| i.shed)
            .fold((0, 0), |(n, b), i| (n + 1, b + i.size));
        let Some(n) = self
            .items
            .iter()
            .position(|i| !i.shed && matches!(i.state, State::Waits { .. }))
        else {
            return false;
        };
        let size = self.items[n].size;
        if shed_messages < MAX_SHED_MESSAGES
            && (shed_messages == 0 || shed_bytes + size <= MAX_SHED_BYTES)
        {
            self.items[n].shed = true;
            self.items[n].state = State::Waits { since_due: None };
        } else {
            self.items.remove(n);
        }
        true
    }

    fn held(&self, n: usize) -> Option<(usize, u64)> {
        let held: Vec<_> = self
            .items
            .iter()
            .enumerate()
            .filter_map(|(at, i)| match i.state {
                State::Held(token) => Some((at, token)),
                State::Waits { .. } => None,
            })
            .collect();
        held.get(n % held.len().max(1)).copied()
    }

    /// The next that a consumer must get: shed ones first, then the oldest that is due, with credit.
    fn expected(&self) -> Option<usize> {
        let due = |i: &Item| match i.state {
            State::Waits { since_due } => since_due.is_none_or(|at| at <= self.now),
            State::Held(_) => false,
        };
        if let Some(shed) = self.items.iter().position(|i| i.shed && due(i)) {
            return Some(shed);
        }
        let next = self.items.iter().position(|i| !i.shed && due(i))?;
        let held: Vec<_> = self
            .items
            .iter()
            .filter(|i| !i.shed && matches!(i.state, State::Held(_)))
            .map(|i| i.size)
            .collect();
        let bytes: usize = held.iter().sum();
        let credit = held.is_empty()
            || (held.len() < CREDIT.messages && bytes + self.items[next].size <= CREDIT.bytes);
        credit.then_some(next)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(size) => {
                let entry = self.entry(size);
                let item = self.item(size);
                let before = self.items.len();
                self.items.push(item);
                let mut shed = 0;
                while {
                    let (messages, bytes) = self.live();
                    messages > SETTINGS.max_messages || bytes > SETTINGS.max_bytes
                } {
                    assert!(self.shed_oldest(), "the new one can always be shed");
                    shed += 1;
                }
                let dropped = (before + 1 - self.items.len()) as u64;
                let (said, wake) = self.queue.push(entry, &SETTINGS);
                wake.wake();
                assert_eq!(said, Shed { shed, dropped });
            }
            Step::Reserved(size) => {
                let (messages, bytes) = self.live();
                let room = messages < SETTINGS.max_messages && bytes + size <= SETTINGS.max_bytes;
                assert_eq!(self.queue.reserve(size, &SETTINGS), room);
                if room {
                    let entry = self.entry(size);
                    self.queue.push_reserved(entry).wake();
                    self.items.push(self.item(size));
                }
            }
            Step::Take => {
                let expected = self.expected();
                match (
                    self.queue.take(self.consumer, self.now, Waker::noop()),
                    expected,
                ) {
                    (Take::Taken(taken), Some(n)) => {
                        let item = &mut self.items[n];
                        assert_eq!(taken.stored.message.body(), &item.id.to_string());
                        assert_eq!(taken.attempts, item.attempts);
                        assert_eq!(taken.fate != Fate::Deliver, item.shed);
                        item.state = State::Held(taken.token);
                    }
                    (Take::Wait(at), None) => {
                        let due = self.items.iter().filter_map(|i| match i.state {
                            State::Waits { since_due } => since_due.filter(|at| *at > self.now),
                            State::Held(_) => None,
                        });
                        assert_eq!(at, due.min());
                    }
                    (got, expected) => panic!("got {got:?} where the model has {expected:?}"),
                }
            }
            Step::Done(n) => {
                if let Some((at, token)) = self.held(n) {
                    self.queue.done(token).unwrap().wake();
                    self.items.remove(at);
                    self.ended_tokens.push(token);
                }
            }
            Step::Release(n) => {
                if let Some((at, token)) = self.held(n) {
                    self.queue.release(token).wake();
                    self.items[at].state = State::Waits { since_due: None };
                    self.ended_tokens.push(token);
                }
            }
            Step::RetryIn(n, ms) => {
                if let Some((at, token)) = self.held(n) {
                    let due = self.now + Duration::from_millis(ms);
                    let attempts = self.items[at].attempts + 1;
                    self.queue.retry_at(token, due, attempts).unwrap().wake();
                    self.items[at].attempts = attempts;
                    self.items[at].state = State::Waits {
                        since_due: Some(due),
                    };
                    self.ended_tokens.push(token);
                }
            }
            Step::Extend(n, attempts) => {
                if let Some((at, token)) = self.held(n) {
                    self.queue.extend(token, attempts).unwrap();
                    self.items[at].attempts = attempts;
                }
            }
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
            Step::NextConsumer => {
                let next = self.queue.attach(CREDIT, plenty());
                let take = self.queue.take(next, self.now, Waker::noop());
                assert!(matches!(take, Take::Wait(_)), "not its turn: {take:?}");
                self.queue.detach(self.consumer).wake();
                self.consumer = next;
                for item in &mut self.items {
                    if let State::Held(token) = item.state {
                        self.ended_tokens.push(token);
                        item.state = State::Waits { since_due: None };
                    }
                }
            }
            Step::ShedSome(most) => {
                let mut dropped = 0;
                for _ in 0..most {
                    if !self.shed_oldest() {
                        let shed = |i: &Item| i.shed && matches!(i.state, State::Waits { .. });
                        if let Some(n) = self.items.iter().position(shed) {
                            self.items.remove(n);
                            dropped += 1;
                        }
                    }
                }
                let (said, wake) = self.queue.shed_until(most, || false);
                wake.wake();
                assert!(said.dropped >= dropped);
            }
            Step::Stale(n) => {
                if let Some(token) = self.ended_tokens.get(n % self.ended_tokens.len().max(1)) {
                    assert_eq!(self.queue.done(*token).err(), Some(BusError::NotHeld));
                    assert_eq!(self.queue.extend(*token, 9), Err(BusError::NotHeld));
                    self.queue.release(*token).wake();
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        let (messages, bytes) = self.live();
        assert_eq!(
            (self.queue.messages(), self.queue.bytes()),
            (messages, bytes)
        );
        assert!(fits(messages, bytes, &SETTINGS));
        let backlog = self.queue.backlog();
        let oldest = self.items.iter().map(|i| i.id).min();
        assert_eq!(backlog.count as usize, self.items.len());
        assert_eq!(
            backlog.oldest,
            oldest.map(|id| SystemTime::UNIX_EPOCH + Duration::from_secs(id))
        );
        let sizes: usize = self.items.iter().map(|i| i.size + 1).sum();
        assert_eq!(self.budget.used(), sizes, "bytes are given back at once");
    }
}

proptest! {
    #[test]
    fn a_queue_loses_nothing_repeats_nothing_and_keeps_its_bounds_and_its_order(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        let left = model.items.len() as u64;
        let closed = model.queue.close();
        prop_assert_eq!(closed.discarded, left);
        prop_assert_eq!(model.budget.used(), 0);
        let take = model.queue.take(model.consumer, model.now, Waker::noop());
        prop_assert!(matches!(take, Take::Ended));
    }
}

#[test]
fn shed_messages_are_bounded_and_the_rest_is_dropped_and_counted() {
    let mut model = Model::new();
    let pushed = SETTINGS.max_messages + MAX_SHED_MESSAGES + 7;
    let mut total = Shed::default();
    for _ in 0..pushed {
        let entry = model.entry(1);
        let (shed, wake) = model.queue.push(entry, &SETTINGS);
        wake.wake();
        total.shed += shed.shed;
        total.dropped += shed.dropped;
    }
    let expected = Shed {
        shed: (MAX_SHED_MESSAGES + 7) as u64,
        dropped: 7,
    };
    assert_eq!(total, expected);
}
