//! A durable bus: it is outside of every host, and so survives the crash of the dispatcher's.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    bus::{
        Backlog, BusError, Capabilities, Credit, Deliveries, Delivery, Durability, Fate, Ordering,
        Profile, PublishError, Scope, Settle, Settler,
    },
    outcome::Cause,
};
use busway_message::{Message, names::BUSWAY_ID};
use futures::Stream;
use tokio::time::{Sleep, sleep};

use super::{
    chance::hash,
    hosts,
    ledger::{Ledger, Note},
    shape,
};

/// When the simulation begins, by the wall clock.
pub(crate) fn wall(since_start: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + since_start
}

/// One of so many messages is refused.
const REFUSED: u64 = 40;

fn now() -> Duration {
    turmoil::sim_elapsed().unwrap()
}

/// What a bus does wrong next, for one subscription.
#[derive(Default)]
pub(crate) struct Mishaps {
    /// Its stream breaks.
    pub(crate) stream: bool,
    /// So many settlements are lost.
    pub(crate) settlements: u32,
    /// So many counts are lost.
    pub(crate) counts: u32,
    /// So often a stream cannot be opened.
    pub(crate) opens: u32,
    /// So many dead letters cannot be stored.
    pub(crate) stores: u32,
}

/// The journal. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Journal {
    state: Arc<Mutex<State>>,
    ledger: Ledger,
    seed: u64,
    /// How long it takes to store something, at most.
    slow_ms: u64,
    can_delay: bool,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<usize, Queue>,
    tokens: u64,
}

#[derive(Default)]
struct Queue {
    life: u64,
    entries: BTreeMap<u64, Entry>,
    mishaps: Mishaps,
    waker: Option<Waker>,
}

struct Entry {
    number: u32,
    message: Message,
    accepted_at: Duration,
    attempts: u32,
    due: Duration,
    /// The token that it is out by.
    out: Option<u64>,
}

impl Queue {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn out(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.out.is_some())
            .count()
    }

    fn held(&mut self, token: u64) -> Option<(u64, &mut Entry)> {
        let mut entries = self.entries.iter_mut();
        let (place, entry) = entries.find(|(_, entry)| entry.out == Some(token))?;
        Some((*place, entry))
    }
}

impl Journal {
    pub(crate) fn new(seed: u64, slow_ms: u64, can_delay: bool, ledger: &Ledger) -> Self {
        Self {
            state: Arc::default(),
            ledger: ledger.clone(),
            seed,
            slow_ms,
            can_delay,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn subscribe(&self, sub: usize, life: u64) {
        let queue = Queue {
            life,
            ..Queue::default()
        };
        self.lock().queues.insert(sub, queue);
    }

    /// What is left of it is discarded.
    pub(crate) fn unsubscribe(&self, sub: usize) {
        if let Some(mut queue) = self.lock().queues.remove(&sub) {
            queue.wake();
        }
    }

    pub(crate) fn mishap(&self, sub: usize, with: impl FnOnce(&mut Mishaps)) {
        if let Some(queue) = self.lock().queues.get_mut(&sub) {
            with(&mut queue.mishaps);
            queue.wake();
        }
    }

    /// What is not settled: subscription and message.
    pub(crate) fn backlog(&self) -> Vec<(usize, u32)> {
        let state = self.lock();
        let all = state.queues.iter();
        all.flat_map(|(sub, queue)| queue.entries.values().map(|entry| (*sub, entry.number)))
            .collect()
    }

    /// Storing takes its time, which depends on nothing but what is stored.
    async fn write(&self, what: [u64; 3]) {
        let [a, b, c] = what;
        let millis = hash(&[self.seed, a, b, c]) % (self.slow_ms + 1);
        if millis > 0 {
            sleep(Duration::from_millis(millis)).await;
        }
    }
}

#[async_trait]
impl Bus for Journal {
    fn profile(&self) -> Profile {
        let durable = Durability::Durable {
            detail: "it survives the dispatcher".to_owned(),
        };
        Profile {
            ordering: Ordering::SingleConsumer,
            can_delay: self.can_delay,
            capabilities: Capabilities::NONE.with_backlog().with_dead_letters(),
            ..Profile::plain(Scope::Shared, durable)
        }
    }

    async fn publish(&self, _: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let number = hosts::number(message.headers());
        self.write([1, number.into(), 0]).await;
        if hash(&[self.seed, 6, number.into()]) % REFUSED == 0 {
            self.ledger.fault("not stored by the bus", None);
            return Err(PublishError::Unavailable {
                after: Duration::from_secs(1),
                why: "told to".to_owned(),
            });
        }
        let id = message.header(BUSWAY_ID.as_str()).unwrap();
        self.ledger.name(id, number);
        let mut state = self.lock();
        state.tokens += 1;
        let place = state.tokens;
        for (sub, queue) in &mut state.queues {
            let entry = Entry {
                number,
                message: message.clone(),
                accepted_at: now(),
                attempts: 0,
                due: now(),
                out: None,
            };
            queue.entries.insert(place, entry);
            queue.wake();
            let (sub, life) = (*sub, queue.life);
            self.ledger.note(Note::Kept { sub, life, number });
        }
        Ok(())
    }

    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> Result<Deliveries, BusError> {
        let sub = shape::index(subscription);
        let mut state = self.lock();
        let queue = state
            .queues
            .get_mut(&sub)
            .ok_or(BusError::UnknownSubscription)?;
        if queue.mishaps.opens > 0 {
            queue.mishaps.opens -= 1;
            self.ledger.fault("stream of the bus not opened", Some(sub));
            return Err(BusError::Failed("told to".to_owned()));
        }
        Ok(Box::pin(Consumer {
            bus: self.clone(),
            sub,
            life: queue.life,
            credit,
            sleep: None,
            tokens: Vec::new(),
            ended: false,
        }))
    }

    async fn dead_letter(
        &self,
        subscription: &SubscriptionRef,
        message: Message,
        cause: Cause,
    ) -> Result<(), BusError> {
        let sub = shape::index(subscription);
        let number = hosts::number(message.headers());
        self.write([2, sub as u64, number.into()]).await;
        if let Some(queue) = self.lock().queues.get_mut(&sub)
            && queue.mishaps.stores > 0
        {
            queue.mishaps.stores -= 1;
            self.ledger.fault("dead letter not stored", Some(sub));
            return Err(BusError::Failed("told to".to_owned()));
        }
        let letter = hosts::letter(message.headers()).unwrap();
        self.ledger.note(Note::Stored {
            sub,
            number,
            cause,
            letter,
        });
        Ok(())
    }

    async fn backlog(&self, subscription: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let state = self.lock();
        let queue = state.queues.get(&shape::index(subscription));
        Ok(queue.map(|queue| Backlog {
            count: queue.entries.len() as u64,
            oldest: queue
                .entries
                .values()
                .next()
                .map(|entry| wall(entry.accepted_at)),
            in_flight: queue.out() as u64,
        }))
    }
}

struct Consumer {
    bus: Journal,
    sub: usize,
    life: u64,
    credit: Credit,
    sleep: Option<Pin<Box<Sleep>>>,
    tokens: Vec<u64>,
    ended: bool,
}

impl Stream for Consumer {
    type Item = Result<Delivery, BusError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut state = this.bus.lock();
        let state = &mut *state;
        let queue = state.queues.get_mut(&this.sub);
        let Some(queue) = queue.filter(|queue| queue.life == this.life && !this.ended) else {
            return Poll::Ready(None);
        };
        if std::mem::take(&mut queue.mishaps.stream) {
            this.ended = true;
            this.bus
                .ledger
                .fault("stream of the bus broken", Some(this.sub));
            return Poll::Ready(Some(Err(BusError::Failed("told to".to_owned()))));
        }
        queue.waker = Some(cx.waker().clone());
        if queue.out() >= this.credit.messages {
            return Poll::Pending;
        }
        let waiting = || {
            queue
                .entries
                .iter()
                .filter(|(_, entry)| entry.out.is_none())
        };
        let Some(next) = waiting().map(|(_, entry)| entry.due).min() else {
            return Poll::Pending;
        };
        let now = now();
        if next > now {
            let mut sleep = Box::pin(sleep(next - now));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            this.sleep = Some(sleep);
            return Poll::Pending;
        }
        let place = waiting()
            .find(|(_, entry)| entry.due <= now)
            .map(|(place, _)| *place);
        let entry = place
            .and_then(|place| queue.entries.get_mut(&place))
            .unwrap();
        state.tokens += 1;
        entry.out = Some(state.tokens);
        this.tokens.push(state.tokens);
        this.bus.ledger.note(Note::Gave {
            sub: this.sub,
            life: this.life,
            number: entry.number,
            attempts: entry.attempts,
        });
        let out = Out {
            bus: this.bus.clone(),
            sub: this.sub,
            life: this.life,
        };
        Poll::Ready(Some(Ok(Delivery {
            message: entry.message.clone(),
            accepted_at: wall(entry.accepted_at),
            attempts: entry.attempts,
            fate: Fate::Deliver,
            settle: Settle::new(Arc::new(out), state.tokens),
        })))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut state = self.bus.lock();
        if let Some(queue) = state.queues.get_mut(&self.sub) {
            for entry in queue.entries.values_mut() {
                if entry.out.is_some_and(|token| self.tokens.contains(&token)) {
                    entry.out = None;
                }
            }
        }
    }
}

struct Out {
    bus: Journal,
    sub: usize,
    life: u64,
}

impl Out {
    /// Does something with what is held by a token.
    fn with<T>(&self, token: u64, with: impl FnOnce(u64, &mut Queue) -> T) -> Result<T, BusError> {
        let mut state = self.bus.lock();
        let queue = state.queues.get_mut(&self.sub);
        let queue = queue
            .filter(|queue| queue.life == self.life)
            .ok_or(BusError::NotHeld)?;
        let (place, _) = queue.held(token).ok_or(BusError::NotHeld)?;
        let done = with(place, queue);
        queue.wake();
        Ok(done)
    }

    fn counted(&self, token: u64, attempts: u32, due: Option<Duration>) -> Result<(), BusError> {
        self.with(token, |place, queue| {
            let entry = queue.entries.get_mut(&place).unwrap();
            self.bus.ledger.note(Note::Counted {
                sub: self.sub,
                number: entry.number,
                attempts,
            });
            if let Some(due) = due {
                (entry.due, entry.out) = (due, None);
            }
            if queue.mishaps.counts > 0 {
                queue.mishaps.counts -= 1;
                self.bus.ledger.fault("count lost", Some(self.sub));
                return Err(BusError::Failed("told to".to_owned()));
            }
            entry.attempts = attempts;
            Ok(())
        })?
    }
}

#[async_trait]
impl Settler for Out {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        self.bus.write([3, self.sub as u64, token]).await;
        self.with(token, |place, queue| {
            let lost = queue.mishaps.settlements > 0;
            let number = queue.entries[&place].number;
            if lost {
                queue.mishaps.settlements -= 1;
                queue.entries.get_mut(&place).unwrap().out = None;
                self.bus.ledger.fault("settlement lost", Some(self.sub));
            } else {
                queue.entries.remove(&place);
            }
            self.bus.ledger.note(Note::Done {
                sub: self.sub,
                life: self.life,
                number,
                stored: !lost,
            });
            if lost {
                return Err(BusError::Failed("told to".to_owned()));
            }
            Ok(())
        })?
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        self.bus.write([4, self.sub as u64, token]).await;
        let due = at.duration_since(wall(Duration::ZERO)).unwrap();
        self.counted(token, attempts, Some(due))
    }

    fn release(&self, token: u64) {
        let _not_held = self.with(token, |place, queue| {
            queue.entries.get_mut(&place).unwrap().out = None;
        });
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        self.bus.write([5, self.sub as u64, token]).await;
        self.counted(token, attempts, None)
    }
}
