//! A bus in memory that records what it is asked and fails when told to.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    bus::{
        Backlog, BusError, Capabilities, Credit, Deliveries, Delivery, Durability, Fate, HookError,
        Ordering, Profile, PublishError, Scope, Settle, Settler, SubscriptionSpec,
    },
    outcome::Cause,
};
use busway_message::Message;
use futures::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a [`FakeBus`] was asked, beside publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Settled.
    Done,
    /// Handed back, with how long from now and the count of attempts.
    RetryAt(Duration, u32),
    /// Handed back.
    Released,
    /// Kept, with the count of attempts.
    Extended(u32),
    /// A dead letter was stored.
    DeadLetter(Cause),
    /// A stream was opened with this many messages of credit.
    Consume(usize),
    /// A stream was dropped.
    Closed,
}

/// A bus in memory. Cloning shares it.
#[derive(Clone, Default)]
pub struct FakeBus {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    channels: HashMap<ChannelRef, Vec<SubscriptionRef>>,
    queues: HashMap<SubscriptionRef, Queue>,
    publish_errors: VecDeque<Option<PublishError>>,
    consume_errors: usize,
    store_errors: usize,
    store: Option<Vec<(SubscriptionRef, Message, Cause)>>,
    can_delay: bool,
    durable: bool,
    panics: bool,
    calls: Vec<(SubscriptionRef, Call)>,
    published: Vec<(ChannelRef, Message)>,
    token: u64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    out: HashMap<u64, Entry>,
    waker: Option<Waker>,
    broken: bool,
}

#[derive(Clone)]
struct Entry {
    message: Message,
    accepted_at: SystemTime,
    attempts: u32,
    due: Instant,
    fate: Fate,
}

impl Queue {
    fn put(&mut self, entry: Entry) {
        self.waiting.push_back(entry);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl FakeBus {
    /// A bus of durability Memory that cannot delay and stores no dead letters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus that says it is durable, can delay and stores dead letters.
    #[must_use]
    pub fn durable() -> Self {
        let this = Self::default();
        let mut state = this.lock();
        (state.durable, state.can_delay, state.store) = (true, true, Some(Vec::new()));
        drop(state);
        this
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes messages of a channel go to a subscription.
    pub fn join(&self, channel: &ChannelRef, subscription: &SubscriptionRef) {
        let mut state = self.lock();
        let members = state.channels.entry(channel.clone()).or_default();
        if !members.contains(subscription) {
            members.push(subscription.clone());
        }
        state.queues.entry(subscription.clone()).or_default();
    }

    /// The next calls of `publish` end so, in this order; `None` is a success.
    pub fn fail_publish(&self, errors: impl IntoIterator<Item = Option<PublishError>>) {
        self.lock().publish_errors.extend(errors);
    }

    /// The next so many calls of `consume` fail.
    pub fn fail_consume(&self, times: usize) {
        self.lock().consume_errors = times;
    }

    /// The next so many calls of `dead_letter` fail.
    pub fn fail_store(&self, times: usize) {
        self.lock().store_errors = times;
    }

    /// The stream of a subscription breaks: what it gave out is given again by the next one.
    pub fn break_stream(&self, subscription: &SubscriptionRef) {
        let mut state = self.lock();
        let queue = state.queues.entry(subscription.clone()).or_default();
        queue.broken = true;
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }

    /// Every call of `publish` panics.
    pub fn panic_on_publish(&self) {
        self.lock().panics = true;
    }

    /// Puts a message into a subscription's queue as the bus itself would.
    pub fn put(
        &self,
        subscription: &SubscriptionRef,
        message: Message,
        attempts: u32,
        accepted_at: SystemTime,
        fate: Fate,
    ) {
        let due = Instant::now();
        let entry = Entry {
            message,
            accepted_at,
            attempts,
            due,
            fate,
        };
        let mut state = self.lock();
        state
            .queues
            .entry(subscription.clone())
            .or_default()
            .put(entry);
    }

    /// What was published, in order.
    #[must_use]
    pub fn published(&self) -> Vec<(ChannelRef, Message)> {
        self.lock().published.clone()
    }

    /// What was asked for a subscription, in order.
    #[must_use]
    pub fn calls(&self, subscription: &SubscriptionRef) -> Vec<Call> {
        let state = self.lock();
        let calls = state.calls.iter();
        calls
            .filter(|(name, _)| name == subscription)
            .map(|(_, call)| call.clone())
            .collect()
    }

    /// The calls, without those that keep what is held as it was: how many of these there
    /// are is a matter of time only.
    #[must_use]
    pub fn steps(&self, subscription: &SubscriptionRef) -> Vec<Call> {
        let mut stored = 0;
        let mut calls = self.calls(subscription);
        calls.retain(|call| match call {
            Call::Extended(attempts) => {
                let more = *attempts > stored;
                stored = stored.max(*attempts);
                more
            }
            _ => true,
        });
        calls
    }

    /// Messages of a subscription that are neither settled nor out.
    #[must_use]
    pub fn waiting(&self, subscription: &SubscriptionRef) -> usize {
        let state = self.lock();
        state
            .queues
            .get(subscription)
            .map_or(0, |q| q.waiting.len())
    }

    /// Messages of a subscription that are out.
    #[must_use]
    pub fn out(&self, subscription: &SubscriptionRef) -> usize {
        let state = self.lock();
        state.queues.get(subscription).map_or(0, |q| q.out.len())
    }

    /// The dead-letter store.
    #[must_use]
    pub fn stored(&self) -> Vec<(SubscriptionRef, Message, Cause)> {
        self.lock().store.clone().unwrap_or_default()
    }
}

#[async_trait]
impl Bus for FakeBus {
    fn profile(&self) -> Profile {
        let state = self.lock();
        let mut capabilities = Capabilities::NONE.with_backlog();
        capabilities.dead_letters = state.store.is_some();
        Profile {
            scope: Scope::PerReplica,
            durability: if state.durable {
                Durability::Durable {
                    detail: "so it says".to_owned(),
                }
            } else {
                Durability::Memory
            },
            ordering: Ordering::No,
            can_delay: state.can_delay,
            capabilities,
            channel_parameters: Vec::new(),
            subscription_parameters: Vec::new(),
        }
    }

    async fn subscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        self.join(&spec.channel, &spec.subscription);
        Ok(())
    }

    async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Result<(), HookError> {
        let mut state = self.lock();
        state.queues.remove(&spec.subscription);
        for members in state.channels.values_mut() {
            members.retain(|member| *member != spec.subscription);
        }
        Ok(())
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        let mut state = self.lock();
        assert!(!state.panics, "told to panic");
        if let Some(Some(error)) = state.publish_errors.pop_front() {
            return Err(error);
        }
        state.published.push((channel.clone(), message.clone()));
        for member in state.channels.get(channel).cloned().unwrap_or_default() {
            state.queues.entry(member).or_default().put(Entry {
                message: message.clone(),
                accepted_at: SystemTime::now(),
                attempts: 0,
                due: Instant::now(),
                fate: Fate::Deliver,
            });
        }
        Ok(())
    }

    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> Result<Deliveries, BusError> {
        let mut state = self.lock();
        if state.consume_errors > 0 {
            state.consume_errors -= 1;
            return Err(BusError::Failed("told to".to_owned()));
        }
        if !state.queues.contains_key(subscription) {
            return Err(BusError::UnknownSubscription);
        }
        let call = (subscription.clone(), Call::Consume(credit.messages));
        state.calls.push(call);
        Ok(Box::pin(Consumer {
            bus: self.clone(),
            subscription: subscription.clone(),
            credit,
            sleep: None,
        }))
    }

    async fn dead_letter(
        &self,
        subscription: &SubscriptionRef,
        message: Message,
        cause: Cause,
    ) -> Result<(), BusError> {
        let mut state = self.lock();
        if state.store_errors > 0 {
            state.store_errors -= 1;
            return Err(BusError::Failed("told to".to_owned()));
        }
        let Some(store) = &mut state.store else {
            return Err(BusError::Unsupported("dead_letter"));
        };
        store.push((subscription.clone(), message, cause));
        let call = (subscription.clone(), Call::DeadLetter(cause));
        state.calls.push(call);
        Ok(())
    }

    async fn backlog(&self, subscription: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let state = self.lock();
        Ok(state.queues.get(subscription).map(|queue| Backlog {
            count: (queue.waiting.len() + queue.out.len()) as u64,
            oldest: queue.waiting.front().map(|entry| entry.accepted_at),
            in_flight: queue.out.len() as u64,
        }))
    }
}

struct Consumer {
    bus: FakeBus,
    subscription: SubscriptionRef,
    credit: Credit,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream for Consumer {
    type Item = Result<Delivery, BusError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut state = this.bus.lock();
        state.token += 1;
        let token = state.token;
        let Some(queue) = state.queues.get_mut(&this.subscription) else {
            return Poll::Ready(None);
        };
        if std::mem::take(&mut queue.broken) {
            let error = BusError::Failed("told to".to_owned());
            return Poll::Ready(Some(Err(error)));
        }
        queue.waker = Some(cx.waker().clone());
        let full = queue.out.len() >= this.credit.messages;
        let now = Instant::now();
        let due = queue
            .waiting
            .iter()
            .position(|e| (e.due <= now && !full) || e.fate != Fate::Deliver);
        if let Some(entry) = due.and_then(|at| queue.waiting.remove(at)) {
            queue.out.insert(token, entry.clone());
            let settler = Arc::new(Out {
                bus: this.bus.clone(),
                subscription: this.subscription.clone(),
            });
            return Poll::Ready(Some(Ok(Delivery {
                message: entry.message,
                accepted_at: entry.accepted_at,
                attempts: entry.attempts,
                fate: entry.fate,
                settle: Settle::new(settler, token),
            })));
        }
        if let Some(next) = queue.waiting.iter().map(|entry| entry.due).min()
            && !full
        {
            drop(state);
            let mut sleep = Box::pin(sleep_until(next));
            if sleep.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            this.sleep = Some(sleep);
        }
        Poll::Pending
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut state = self.bus.lock();
        if let Some(queue) = state.queues.get_mut(&self.subscription) {
            let out: Vec<Entry> = queue.out.drain().map(|(_, entry)| entry).collect();
            queue.waiting.extend(out);
        }
        state.calls.push((self.subscription.clone(), Call::Closed));
    }
}

struct Out {
    bus: FakeBus,
    subscription: SubscriptionRef,
}

impl Out {
    fn end(
        &self,
        token: u64,
        call: Call,
        with: impl FnOnce(&mut Queue, Entry),
    ) -> Result<(), BusError> {
        let mut state = self.bus.lock();
        let entry = state
            .queues
            .get_mut(&self.subscription)
            .and_then(|queue| queue.out.remove(&token));
        let Some(entry) = entry else {
            return Err(BusError::NotHeld);
        };
        state.calls.push((self.subscription.clone(), call));
        if let Some(queue) = state.queues.get_mut(&self.subscription) {
            with(queue, entry);
            // A consumer is woken for messages only: it has to notice by itself what it ended.
            if !queue.waiting.is_empty()
                && let Some(waker) = queue.waker.take()
            {
                waker.wake();
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Settler for Out {
    async fn done(&self, token: u64) -> Result<(), BusError> {
        self.end(token, Call::Done, |_, _| {})
    }

    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
        self.end(token, Call::RetryAt(wait, attempts), |queue, mut entry| {
            entry.due = Instant::now() + wait;
            entry.attempts = attempts;
            queue.put(entry);
        })
    }

    fn release(&self, token: u64) {
        let _not_held = self.end(token, Call::Released, Queue::put);
    }

    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
        let mut state = self.bus.lock();
        let entry = state
            .queues
            .get_mut(&self.subscription)
            .and_then(|queue| queue.out.get_mut(&token));
        let Some(entry) = entry else {
            return Err(BusError::NotHeld);
        };
        entry.attempts = attempts;
        let call = (self.subscription.clone(), Call::Extended(attempts));
        state.calls.push(call);
        Ok(())
    }
}
