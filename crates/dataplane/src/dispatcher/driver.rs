//! The task of one subscription: its stream, its clock, its lanes.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use busway_core::{
    AttributeName,
    bus::{BusError, Credit, Deliveries, Keeper},
    routes::{Flow, SubscriptionRoute},
    serving::DataPlane as _,
};
use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use super::{
    alarm::Alarm,
    conclude::note,
    state::{Chore, Mode, Subscription},
};
use crate::{
    metrics::{Family, Up},
    observer::Stage,
};

/// Bytes that a subscription may hold unsettled.
pub(super) const CREDIT_BYTES: usize = 16 * 1024 * 1024;
/// How often the bus hears that messages are still held, and is asked for the backlog.
const TICK: Duration = Duration::from_secs(20);
/// The first rest after a stream failed; doubled each time.
const CONSUME_AGAIN: Duration = Duration::from_millis(200);
/// The longest such rest.
const CONSUME_AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// Deliveries taken before others of this shard have their turn: a filter may settle each at once.
const TAKEN_AT_ONCE: u32 = 128;
/// How long what is held may take to end before an edit that needs another stream goes on without:
/// an attempt's timeout by default. Replies and dead letters may take hours.
const REOPEN_WITHIN: Duration = Duration::from_secs(30);
/// How soon it is looked again while attempts at the subscriber run on; their timeout bounds them.
const REOPEN_AGAIN: Duration = Duration::from_secs(1);
/// How often a bus in memory is asked whether it is empty, while the process leaves.
const LOOK_EMPTY: Duration = Duration::from_millis(50);

/// How long a subscription rests whose task panicked, so that a bug does not become a busy loop.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Where the stream is.
enum Source {
    /// Not wanted, or resting until then.
    Closed(Option<Instant>),
    Opening(LocalBoxFuture<'static, Result<Deliveries, BusError>>),
    Open(Deliveries),
}

pub(super) struct Driver {
    subscription: Rc<Subscription>,
    source: Source,
    /// The credit of the stream.
    credit: u32,
    /// The credit that the stream was last to be opened anew for, or has.
    asked: u32,
    /// What the messages of the stream are ordered by.
    ordering: Option<AttributeName>,
    failures: u32,
    chores: FuturesUnordered<Chore>,
    alarm: Alarm,
    tick: Instant,
    /// Until when it is waited for what is held, to open the stream anew.
    reopen_until: Option<Instant>,
    emptiness: Option<LocalBoxFuture<'static, bool>>,
    look_empty: Option<Instant>,
}

/// Serves a subscription until it is told to stop, or has drained.
pub(super) async fn run(subscription: Rc<Subscription>) {
    let _up = Up::new(&subscription.counts, Family::Subscriptions, 0);
    let now = Instant::now();
    let jitter = part(TICK, subscription.world.entropy.next());
    let mut driver = Driver {
        source: Source::Closed(Some(now)),
        credit: subscription.route().policy.max_unsettled,
        asked: subscription.route().policy.max_unsettled,
        ordering: subscription.route().ordering.clone(),
        failures: 0,
        chores: FuturesUnordered::new(),
        alarm: Alarm::new(now + TICK),
        tick: now + jitter,
        reopen_until: None,
        emptiness: None,
        look_empty: None,
        subscription: Rc::clone(&subscription),
    };
    driver.held();
    let driven = AssertUnwindSafe(poll_fn(|cx| driver.poll(cx)));
    let panicked = driven.catch_unwind().await.is_err();
    // Nothing of it is left: attempts end, what they held goes back, then the stream.
    let mut lanes = std::mem::take(&mut *subscription.lanes.borrow_mut());
    lanes.shutdown().await;
    subscription
        .outlets()
        .for_each(super::outlet::Outlet::clear);
    subscription.keys.clear();
    subscription.chores.borrow_mut().clear();
    drop(driver);
    subscription
        .plane
        .loaded()
        .remove(&subscription.route().uid);
    if panicked {
        tracing::error!(subscription = %subscription.name, "a bug ended a subscription; it is started anew");
        sleep(AFTER_PANIC).await;
    }
}

fn part(whole: Duration, random: u64) -> Duration {
    whole.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let subscription = Rc::clone(&self.subscription);
        subscription.set_driver(cx.waker());
        loop {
            if self.obey().is_ready() {
                return Poll::Ready(());
            }
            self.advance(cx);
            self.receive(cx);
            self.chores.extend(subscription.chores.take());
            let mut done = false;
            while let Poll::Ready(Some(())) = self.chores.poll_next_unpin(cx) {
                done = true;
            }
            self.reap();
            if self.settled(cx).is_ready() {
                return Poll::Ready(());
            }
            // It may hold fewer now than a bound that kept it from taking.
            let may_take = done && subscription.other_credit.get();
            let begun = !subscription.chores.borrow().is_empty();
            if !(begun || may_take || subscription.lanes_ended.get()) {
                return Poll::Pending;
            }
        }
    }

    /// Takes what the manager wants.
    fn obey(&mut self) -> Poll<()> {
        let orders = self.subscription.orders.take();
        if orders.stop {
            return Poll::Ready(());
        }
        if let Some(route) = orders.route {
            self.change(route);
        }
        if orders.drain {
            self.drain();
        }
        Poll::Pending
    }

    fn change(&mut self, route: Arc<SubscriptionRoute>) {
        let subscription = &self.subscription;
        let before = subscription.mode.get();
        let running = route.flow == Flow::Running;
        let most = route.policy.max_unsettled;
        // What is held is in the order of before. A lower credit is kept to with the stream that is there;
        // a higher one is waited for once.
        let differs = route.ordering != self.ordering || most > self.credit && most != self.asked;
        self.asked = most;
        let holds = subscription.tally.get() > 0 || !matches!(self.source, Source::Closed(_));
        subscription.set_route(route);
        subscription.changed();
        let mode = match before {
            Mode::Draining | Mode::Emptying => return,
            _ if !running => Mode::Holding,
            Mode::Reopening => Mode::Reopening,
            Mode::Holding | Mode::Running if differs && holds => Mode::Reopening,
            Mode::Holding | Mode::Running => Mode::Running,
        };
        if mode == Mode::Reopening && before != mode {
            self.reopen_until = Some(Instant::now() + REOPEN_WITHIN);
        }
        self.enter(mode);
    }

    /// What is held takes long to end. Another credit is no reason to wait for replies and dead letters,
    /// or to deliver anything twice: it comes when nothing is held. Messages in two orders are: what
    /// waits goes back to the bus, and what is being sent when it fails.
    fn reopen_late(&mut self) {
        self.reopen_until = None;
        let subscription = Rc::clone(&self.subscription);
        if subscription.mode.get() != Mode::Reopening {
            return;
        }
        if subscription.route().ordering != self.ordering {
            subscription.out_of_order.set(true);
            subscription.hand_back_rest();
        } else if subscription.outlet(Stage::Subscriber).sending() > 0 {
            self.reopen_until = Some(Instant::now() + REOPEN_AGAIN);
        } else {
            self.enter(Mode::Running);
        }
    }

    fn enter(&mut self, mode: Mode) {
        let subscription = Rc::clone(&self.subscription);
        subscription.mode.set(mode);
        subscription.out_of_order.set(false);
        let wanted = subscription.route().policy.max_unsettled;
        let is_open = !matches!(self.source, Source::Closed(_));
        subscription
            .other_credit
            .set(is_open && wanted != self.credit);
        match mode {
            Mode::Running => {
                if matches!(self.source, Source::Closed(None)) {
                    self.source = Source::Closed(Some(Instant::now()));
                }
                if matches!(self.source, Source::Open(_)) {
                    self.loaded();
                }
            }
            Mode::Reopening | Mode::Holding | Mode::Draining => subscription.hand_back(),
            Mode::Emptying => {}
        }
        for stage in Stage::ALL {
            subscription.staff_due(stage);
        }
        self.held();
    }

    fn drain(&mut self) {
        let in_memory = self.subscription.plane.bus.profile().durability
            == busway_core::bus::Durability::Memory;
        let paused = self.subscription.mode.get() == Mode::Holding;
        let held = paused || self.subscription.is_gone();
        if paused {
            self.subscription.hand_back_rest();
        }
        self.enter(if in_memory && !held {
            Mode::Emptying
        } else {
            Mode::Draining
        });
    }

    /// Tells that this generation is served.
    fn loaded(&self) {
        let route = self.subscription.route();
        self.subscription
            .plane
            .loaded()
            .set(&route.uid, route.generation);
    }

    /// Tells that this generation is held, when it is: nothing is attempted any more.
    fn held(&mut self) {
        let subscription = &self.subscription;
        let sending = subscription.outlets().any(|outlet| outlet.sending() > 0);
        if subscription.mode.get() == Mode::Holding && !sending {
            self.loaded();
        }
    }

    /// Moves what is due, and does what comes with time.
    fn advance(&mut self, cx: &mut Context<'_>) {
        let subscription = Rc::clone(&self.subscription);
        loop {
            let later = subscription
                .outlets()
                .filter_map(super::outlet::Outlet::next_later);
            let opens = match self.source {
                Source::Closed(at) if self.wants_stream() => at,
                _ => None,
            };
            let next = later
                .chain(opens)
                .chain(self.look_empty)
                .chain(self.reopen_until)
                .chain(subscription.gate_opens())
                .chain(subscription.look_again.get())
                .fold(self.tick, std::cmp::Ord::min);
            if self.alarm.poll(next, cx).is_pending() {
                return;
            }
            let now = Instant::now();
            for stage in Stage::ALL {
                for _ in 0..subscription.outlet(stage).advance(now) {
                    subscription.staff(stage);
                }
            }
            subscription.pass_gate(now);
            subscription.staff_again(now);
            if opens.is_some_and(|at| at <= now) {
                self.open();
            }
            if self.look_empty.is_some_and(|at| at <= now) {
                self.look_empty = None;
            }
            if self.reopen_until.is_some_and(|at| at <= now) {
                self.reopen_late();
            }
            if self.tick <= now {
                self.tick = now + TICK;
                self.tick();
            }
        }
    }

    fn wants_stream(&self) -> bool {
        matches!(self.subscription.mode.get(), Mode::Running | Mode::Emptying)
    }

    fn open(&mut self) {
        let subscription = Rc::clone(&self.subscription);
        let route = subscription.route();
        self.credit = route.policy.max_unsettled;
        self.asked = self.credit;
        subscription.other_credit.set(false);
        self.ordering.clone_from(&route.ordering);
        let credit = Credit {
            messages: usize::try_from(self.credit.max(1)).unwrap_or(usize::MAX),
            bytes: CREDIT_BYTES,
        };
        self.source = Source::Opening(Box::pin(async move {
            subscription
                .plane
                .bus
                .consume(&subscription.name, credit)
                .await
        }));
    }

    /// Takes what the bus has.
    fn receive(&mut self, cx: &mut Context<'_>) {
        if let Source::Opening(opening) = &mut self.source {
            match opening.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(stream)) => {
                    self.source = Source::Open(stream);
                    if self.wants_stream() {
                        self.loaded();
                    }
                }
                Poll::Ready(Err(error)) => return self.failed(cx, Err(error)),
            }
        }
        let subscription = Rc::clone(&self.subscription);
        let mut taken = 0;
        while let Source::Open(stream) = &mut self.source {
            if taken == TAKEN_AT_ONCE {
                cx.waker().wake_by_ref();
                return;
            }
            taken += 1;
            if !subscription.takes(Stage::Subscriber) || subscription.holds_enough() {
                return;
            }
            match stream.poll_next_unpin(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(delivery))) => {
                    self.failures = 0;
                    subscription.take(delivery);
                }
                Poll::Ready(Some(Err(error))) => return self.failed(cx, Err(error)),
                Poll::Ready(None) => return self.failed(cx, Ok(())),
            }
        }
    }

    /// The stream ended, or could not be opened: again after a rest.
    fn failed(&mut self, cx: &mut Context<'_>, result: Result<(), BusError>) {
        let subscription = Rc::clone(&self.subscription);
        if let Err(error) = &result
            && let Some(more) = subscription.stream_failed.allow()
        {
            tracing::warn!(subscription = %subscription.name, %error, more, "its messages cannot be consumed; trying again");
        }
        note(&subscription.counts, "consume", result);
        let rest = CONSUME_AGAIN
            .saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(CONSUME_AGAIN_AT_MOST);
        self.failures = (self.failures + 1).min(16);
        let rest = rest / 2 + part(rest / 2, subscription.world.entropy.next());
        // What the dead stream gave will come again from the next one.
        subscription.drop_waiting();
        self.source = Source::Closed(Some(Instant::now() + rest));
        subscription
            .plane
            .loaded()
            .remove(&subscription.route().uid);
        self.advance(cx);
    }

    /// Keeps what is held, and asks for the backlog.
    fn tick(&mut self) {
        let subscription = Rc::clone(&self.subscription);
        let mut held: Vec<(Keeper, u32)> = Vec::new();
        for outlet in subscription.outlets() {
            outlet.each(|job| held.push((job.settle.keeper(), job.stored)));
        }
        subscription
            .keys
            .each(|job| held.push((job.settle.keeper(), job.stored)));
        let this = Rc::clone(&subscription);
        subscription.chore(async move {
            for (keeper, attempts) in held {
                // One that was settled meanwhile is no longer held.
                if let Err(error) = keeper.extend(attempts).await
                    && error != BusError::NotHeld
                {
                    note(&this.counts, "extend", Err(error));
                }
            }
            if this.plane.capabilities().backlog
                && let Ok(backlog) = this.plane.bus.backlog(&this.name).await
            {
                this.health.backlog(backlog);
                if backlog.is_some_and(|backlog| backlog.count > 0) {
                    this.stir();
                }
            }
        });
    }

    fn reap(&mut self) {
        let subscription = Rc::clone(&self.subscription);
        if !subscription.lanes_ended.replace(false) {
            return;
        }
        let mut lanes = subscription.lanes.borrow_mut();
        while lanes.try_join_next().is_some() {}
        drop(lanes);
        for stage in Stage::ALL {
            subscription.staff_due(stage);
        }
    }

    /// Ends what a mode waits for; ready when the subscription has drained.
    fn settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let subscription = Rc::clone(&self.subscription);
        match subscription.mode.get() {
            Mode::Running => {
                self.take_credit();
                return Poll::Pending;
            }
            Mode::Holding => self.held(),
            Mode::Reopening | Mode::Draining | Mode::Emptying => {}
        }
        if subscription.tally.get() > 0 {
            return Poll::Pending;
        }
        match subscription.mode.get() {
            Mode::Running => Poll::Pending,
            Mode::Holding => {
                self.source = Source::Closed(None);
                Poll::Pending
            }
            Mode::Reopening => {
                self.source = Source::Closed(Some(Instant::now()));
                self.enter(Mode::Running);
                subscription.wake();
                Poll::Pending
            }
            Mode::Draining => Poll::Ready(()),
            Mode::Emptying => self.is_empty(cx),
        }
    }

    /// Opens the stream anew where it has another credit than is wanted, and nothing is held.
    fn take_credit(&mut self) {
        let subscription = &self.subscription;
        let is_open = matches!(self.source, Source::Open(_));
        if subscription.other_credit.get() && subscription.tally.get() == 0 && is_open {
            subscription.other_credit.set(false);
            self.source = Source::Closed(Some(Instant::now()));
            subscription.wake();
        }
    }

    /// Asks a bus in memory whether anything is left for this subscription.
    fn is_empty(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.look_empty.is_some() {
            return Poll::Pending;
        }
        let subscription = Rc::clone(&self.subscription);
        let asked = self.emptiness.get_or_insert_with(|| {
            Box::pin(async move {
                let backlog = subscription.plane.bus.backlog(&subscription.name).await;
                !matches!(backlog, Ok(Some(backlog)) if backlog.count > 0)
            })
        });
        match asked.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(true) => Poll::Ready(()),
            Poll::Ready(false) => {
                self.emptiness = None;
                self.look_empty = Some(Instant::now() + LOOK_EMPTY);
                self.subscription.wake();
                Poll::Pending
            }
        }
    }
}
