//! What the driver and the lanes of one subscription share. All of it is on one thread.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};

use busway_core::{
    SubscriptionRef,
    address::Destination,
    bus::{Delivery, Fate},
    gate::Admit,
    outcome::{Cause, Settled},
    pacing,
    routes::{Flow, SubscriptionRoute},
};
use futures::{FutureExt as _, future::LocalBoxFuture};
use tokio::{task::JoinSet, time::Instant};

use super::{
    door::{self, Door},
    health,
    job::{Job, Tally},
    keys::Keys,
    lane,
    outlet::Outlet,
    pulse::Pulse,
    request::Named,
};
use crate::{
    connections::{Connections, LOOK_AGAIN, Share},
    doing::LastError,
    handle::Shared,
    metrics::{Counts, SubscriptionCounts},
    observer::Stage,
    plane::Plane,
    quiet::Quiet,
    world::World,
};

/// Whether attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are.
    Running,
    /// Those that run finish, then the stream is opened anew with another credit.
    Reopening,
    /// Those that run finish (paused or held).
    Holding,
    /// The process leaves: those that run finish, and nothing is taken any more.
    Draining,
    /// The process leaves, and the bus will not outlive it: it is delivered to the last message.
    Emptying,
}

/// What the manager wants; taken by the driver.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) route: Option<Arc<SubscriptionRoute>>,
    pub(super) stop: bool,
    pub(super) drain: bool,
}

/// A piece of work with the bus that nobody waits for.
pub(super) type Chore = LocalBoxFuture<'static, ()>;

pub(super) struct Subscription {
    pub(super) name: SubscriptionRef,
    pub(super) named: Named,
    pub(super) world: World,
    pub(super) plane: Arc<Plane>,
    pub(super) counts: Arc<Counts>,
    /// Its own ones, once there is something to count.
    pub(super) own: OnceCell<Arc<SubscriptionCounts>>,
    pub(super) pulse: Rc<Pulse>,
    /// Whether the pulse knows that something happens to it.
    pub(super) busy: Cell<bool>,
    /// The last attempt that failed.
    pub(super) last_error: Cell<Option<LastError>>,
    pub(super) health: health::Keeper,
    pub(super) tally: Rc<Tally>,
    pub(super) can_delay: bool,
    pub(super) mode: Cell<Mode>,
    pub(super) orders: RefCell<Orders>,
    pub(super) chores: RefCell<Vec<Chore>>,
    pub(super) lanes: RefCell<JoinSet<()>>,
    /// Lanes ended since the driver looked.
    pub(super) lanes_ended: Cell<bool>,
    /// Whether what is held is in another order than is wanted now, and has had its time.
    pub(super) out_of_order: Cell<bool>,
    /// Whether the stream has another credit than is wanted now.
    pub(super) other_credit: Cell<bool>,
    /// For lines about messages that are dropped.
    pub(super) dropped: Quiet,
    /// For lines about streams that fail.
    pub(super) stream_failed: Quiet,
    pub(super) connections: Arc<Connections>,
    pub(super) share: Arc<Share>,
    /// When to look whether there are connections again; the driver's timer goes there.
    pub(super) look_again: Cell<Option<Instant>>,
    pub(super) route: RefCell<Arc<SubscriptionRoute>>,
    outlets: [Outlet; 3],
    pub(super) keys: Keys,
    /// What holds attempts at the subscriber back.
    pub(super) door: Rc<Door>,
    /// When the gate may let one through; the driver's timer goes there.
    pub(super) gate_opens: Cell<Option<Instant>>,
    /// The generation whose subscriber is gone, where that holds the subscription.
    pub(super) gone: Cell<Option<i64>>,
    driver: RefCell<Option<Waker>>,
}

impl Subscription {
    pub(super) fn new(
        route: Arc<SubscriptionRoute>,
        plane: Arc<Plane>,
        pulse: &Rc<Pulse>,
        shared: &Shared,
    ) -> Rc<Self> {
        let counts = plane.counts(pulse.shard);
        Rc::new(Self {
            door: Door::new(&route.policy),
            gate_opens: Cell::new(None),
            gone: Cell::new(None),
            own: OnceCell::new(),
            pulse: Rc::clone(pulse),
            busy: Cell::new(false),
            last_error: Cell::new(None),
            keys: Keys::default(),
            name: route.subscription.clone(),
            named: Named::new(&route.subscription),
            health: health::Keeper::new(plane.watch_health(&route.uid)),
            tally: Tally::new(Arc::clone(&counts)),
            can_delay: plane.bus.profile().can_delay,
            mode: Cell::new(match route.flow {
                Flow::Running => Mode::Running,
                Flow::Paused | Flow::Held => Mode::Holding,
            }),
            orders: RefCell::default(),
            chores: RefCell::default(),
            lanes: RefCell::new(JoinSet::new()),
            lanes_ended: Cell::new(false),
            out_of_order: Cell::new(false),
            other_credit: Cell::new(false),
            dropped: Quiet::default(),
            stream_failed: Quiet::default(),
            route: RefCell::new(route),
            outlets: Default::default(),
            driver: RefCell::new(None),
            world: shared.world.clone(),
            share: shared.connections.share(),
            look_again: Cell::new(None),
            connections: Arc::clone(&shared.connections),
            plane,
            counts,
        })
    }

    pub(super) fn route(&self) -> Arc<SubscriptionRoute> {
        Arc::clone(&self.route.borrow())
    }

    pub(super) fn set_route(&self, route: Arc<SubscriptionRoute>) {
        let before = self.route.replace(Arc::clone(&route));
        self.door.set(&route.policy);
        if before.subscriber != route.subscriber {
            self.door.forget();
            self.health.another_subscriber();
        }
    }

    pub(super) const fn outlet(&self, stage: Stage) -> &Outlet {
        let [subscriber, reply, dead_letter] = &self.outlets;
        match stage {
            Stage::Subscriber => subscriber,
            Stage::Reply => reply,
            Stage::DeadLetter => dead_letter,
        }
    }

    pub(super) fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        self.outlets.iter()
    }

    #[allow(clippy::unused_self, reason = "reads as one of its questions")]
    pub(super) fn destination<'r>(
        &self,
        route: &'r SubscriptionRoute,
        stage: Stage,
    ) -> Option<&'r Destination> {
        match stage {
            Stage::Subscriber => Some(&route.subscriber),
            Stage::Reply => route.reply_to.as_ref(),
            Stage::DeadLetter => route.dead_letter_sink.as_ref(),
        }
    }

    pub(super) fn max_body(&self) -> usize {
        self.plane.peek().receiver.max_body
    }

    /// How many attempts may be in flight, per stage.
    pub(super) fn lane_bound(&self) -> usize {
        let bound = door::bound(&self.route.borrow().policy).most().max(1);
        usize::try_from(bound).unwrap_or(usize::MAX)
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    pub(super) fn set_driver(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        match &mut *driver {
            Some(known) => known.clone_from(waker),
            None => *driver = Some(waker.clone()),
        }
    }

    pub(super) fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders.borrow_mut());
        self.wake();
    }

    /// Does a chore now, if it can be done without waiting; else the driver does it.
    pub(super) fn chore(&self, chore: impl Future<Output = ()> + 'static) {
        let mut chore: Chore = Box::pin(chore);
        if (&mut chore).now_or_never().is_none() {
            self.chores.borrow_mut().push(chore);
            self.wake();
        }
        self.progressed();
    }

    /// Whether it holds as many as a policy that is stricter than its stream's credit allows.
    pub(super) fn holds_enough(&self) -> bool {
        let most = self.route.borrow().policy.max_unsettled.max(1);
        self.other_credit.get() && self.tally.get() >= usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Whether what waits to be sent elsewhere goes back to the bus.
    pub(super) fn gives_back(&self) -> bool {
        self.mode.get() == Mode::Draining || self.out_of_order.get()
    }

    /// Wakes the driver where it waits for what is held to end; while all runs it need not know.
    pub(super) fn progressed(&self) {
        if self.mode.get() != Mode::Running || self.other_credit.get() {
            self.wake();
        }
    }

    /// Takes what the bus gave.
    pub(super) fn take(self: &Rc<Self>, delivery: Delivery) {
        self.stir();
        #[cfg(busway_plant)]
        let delivery = crate::plant::taken(delivery);
        let forgotten = planted!(CountForgotten);
        let counted = if forgotten { 0 } else { delivery.attempts };
        let job = Job {
            passage: None,
            key: None,
            passed: Arc::clone(&self.route.borrow().filter),
            stage: Stage::Subscriber,
            message: delivery.message,
            attempts: counted,
            stored: delivery.attempts,
            accepted_at: delivery.accepted_at,
            cause: None,
            last: None,
            settle: delivery.settle,
            held: self.tally.hold(),
            room: None,
        };
        match delivery.fate {
            Fate::Deliver => self.sort(job),
            Fate::DeadLetter(cause) => {
                let now = self.world.clock.now();
                match cause {
                    Cause::Overflow => self.health.overflowed(now),
                    Cause::Expired => self.health.expired(now),
                    Cause::Rejected | Cause::Exhausted | Cause::Gone | Cause::HopLimit => {}
                }
                self.fail(job, cause);
            }
        }
    }

    /// Puts a job into the queue of its stage, and sees to it that somebody takes it.
    pub(super) fn send(self: &Rc<Self>, job: Job) {
        let stage = job.stage;
        if self.mode.get() == Mode::Draining && !self.takes(stage) {
            return self.release(job);
        }
        self.outlet(stage).push(job);
        self.staff(stage);
    }

    /// Puts a job aside until a time.
    pub(super) fn send_at(&self, at: Instant, job: Job) {
        self.outlet(job.stage).push_later(at, job);
        self.wake();
    }

    /// Wakes or starts a lane, within its bound and that of the process; the first of a stage is
    /// started in any case.
    pub(super) fn staff(self: &Rc<Self>, stage: Stage) {
        let outlet = self.outlet(stage);
        if !self.takes(stage) || !self.admits(stage) {
            return;
        }
        // Those that are up take what there is first.
        if stage == Stage::Subscriber && outlet.busy() >= self.door.limit() {
            return;
        }
        if outlet.wake_one() {
            return;
        }
        if outlet.has_lane() && !self.may_connect(outlet) {
            return;
        }
        if let Some(number) = outlet.new_lane(self.lane_bound()) {
            // Counted from here on, not from when it first runs: others ask before that.
            let counted = self.connections.lane(&self.share);
            let lane = lane::run(Rc::clone(self), stage, number, counted);
            self.lanes.borrow_mut().spawn_local(lane);
        }
    }

    /// The same, where something is due.
    pub(super) fn staff_due(self: &Rc<Self>, stage: Stage) {
        if self.outlet(stage).has_due() {
            self.staff(stage);
        }
    }

    /// Whether there may be another connection; if not, it is looked again soon.
    fn may_connect(&self, outlet: &Outlet) -> bool {
        let most = self.plane.peek().receiver.max_connections;
        let waiting = outlet.due().min(self.lane_bound());
        let may = self.connections.another(&self.share, waiting, most);
        if !may && self.look_again.get().is_none() {
            self.look_again.set(Some(Instant::now() + LOOK_AGAIN));
            self.wake();
        }
        may
    }

    /// Looks again whether there are connections for what is due.
    pub(super) fn staff_again(self: &Rc<Self>, now: Instant) {
        if self.look_again.get().is_none_or(|at| at > now) {
            return;
        }
        self.look_again.set(None);
        self.share.has_enough();
        for stage in Stage::ALL {
            self.staff_due(stage);
        }
    }

    /// Whether others wait for connections, and have fewer.
    pub(super) fn has_too_many(&self) -> bool {
        self.connections.is_over(&self.share)
    }

    /// Has its idle connections look whether somebody needs them.
    pub(super) fn rouse_idle(&self) {
        for outlet in self.outlets() {
            while outlet.wake_one() {}
        }
    }

    /// Whether attempts of a stage begin now.
    pub(super) fn takes(&self, stage: Stage) -> bool {
        match self.mode.get() {
            Mode::Running | Mode::Emptying => {
                stage != Stage::Subscriber || (!self.is_gone() && self.tally.has_room())
            }
            Mode::Reopening => stage != Stage::Subscriber,
            // Also on its way out, what is paused is not attempted.
            Mode::Draining => {
                stage != Stage::Subscriber && self.route.borrow().flow == Flow::Running
            }
            Mode::Holding => planted!(PauseLate) && self.outlet(stage).sending() > 0,
        }
    }

    /// The next job that may be attempted now.
    pub(super) fn next_job(self: &Rc<Self>, stage: Stage) -> Option<Job> {
        while self.takes(stage) {
            let outlet = self.outlet(stage);
            if stage != Stage::Subscriber || !outlet.has_due() {
                return outlet.pop();
            }
            let job = match self.admit() {
                Admit::Now => outlet.pop(),
                Admit::Probe => outlet.pop_for_probe(self.route.borrow().policy.retry),
                Admit::At(_) | Admit::Full => return None,
            };
            if let Some(mut job) = self.check(job?) {
                job.passage = Some(self.door.begin());
                self.staff_due(stage);
                return Some(job);
            }
        }
        None
    }

    pub(super) fn lane_ended(&self) {
        self.lanes_ended.set(true);
        self.wake();
    }

    /// Looks whether a job is still to be attempted at the subscriber; gives it back if so.
    fn check(self: &Rc<Self>, mut job: Job) -> Option<Job> {
        let route = self.route();
        let policy = &route.policy;
        // Its filters were edited while it waited.
        if !Arc::ptr_eq(&route.filter, &job.passed) && !planted!(FilterKept) {
            if route.filter != job.passed && !self.wanted(&job, &route) {
                self.finish(job, Settled::Filtered);
                return None;
            }
            job.passed = Arc::clone(&route.filter);
        }
        if policy.max_age.is_some() {
            let now = self.world.clock.now();
            if pacing::expired(policy, job.accepted_at, now) {
                self.health.expired(now);
                self.fail(job, Cause::Expired);
                return None;
            }
        }
        // A crash after the last attempt, or a policy that now allows fewer.
        if job.attempts > policy.retry {
            self.fail(job, Cause::Exhausted);
            return None;
        }
        Some(job)
    }

    /// Hands a job back that was the first of its key.
    pub(super) fn release(&self, job: Job) {
        if let Some(key) = &job.key {
            self.keys.forget(key);
        }
        if planted!(LostAtDrain) && self.mode.get() == Mode::Draining {
            return self.chore(job.settle.done().map(drop));
        }
        job.settle.release();
    }

    /// Hands back what waits for its attempt at the subscriber, with its time where the bus can.
    pub(super) fn hand_back(&self) {
        let now = Instant::now();
        for (at, job) in self.outlet(Stage::Subscriber).take_waiting() {
            match at {
                // One that the bus keeps for a while would be overtaken by the next of its key.
                Some(at) if self.can_delay && job.key.is_none() => {
                    self.return_until(job, at.saturating_duration_since(now));
                }
                _ => self.release(job),
            }
        }
        for job in self.keys.take_waiting() {
            job.settle.release();
        }
    }

    /// Hands back what waits to be sent elsewhere.
    pub(super) fn hand_back_rest(&self) {
        for stage in [Stage::Reply, Stage::DeadLetter] {
            for (_, job) in self.outlet(stage).take_waiting() {
                self.release(job);
            }
        }
    }

    /// Drops what waits for its attempt at the subscriber: the bus will give it again.
    pub(super) fn drop_waiting(&self) {
        for (_, job) in self.outlet(Stage::Subscriber).take_waiting() {
            self.release(job);
        }
        drop(self.keys.take_waiting());
    }

    /// Hands a message back to the bus for a while.
    pub(super) fn return_until(&self, job: Job, wait: Duration) {
        self.counts.one(crate::metrics::Family::Returned);
        let at = self.world.clock.now() + wait;
        let counts = Arc::clone(&self.counts);
        self.chore(async move {
            let Job {
                settle,
                attempts,
                held,
                ..
            } = job;
            super::conclude::note(&counts, "retry_at", settle.retry_at(at, attempts).await);
            drop(held);
        });
    }
}
