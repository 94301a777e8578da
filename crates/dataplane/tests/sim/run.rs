//! One run: the hosts, and what is done to them.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use busway_core::{
    BusRef, Routes, Uid,
    routes::{Accepting, ChannelRoute},
    serving::DataPlane as _,
};
use busway_dataplane::{DataPlane, Settings, World};
use tokio::sync::watch;
use turmoil::Sim;

use super::{
    bus::Journal,
    chance::{Seeded, hash},
    hosts::{self, Place},
    ledger::{Ledger, Line, Note},
    network::{Listening, SimClock, Wires},
    plan::{Action, Edit, Peer, Plan, QUIET},
    shape::{self, Shape},
};

/// How finely time passes; hosts meet each other no more often.
const TICK: Duration = Duration::from_millis(2);
const LATENCY: Duration = Duration::from_millis(10);
/// How long after the last fault everything has to be settled: a breaker that opened late, a
/// `Retry-After` and the ramp after them.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// What a leaving dispatcher is given.
const GRACE: Duration = Duration::from_secs(3);
const DOWN: Duration = Duration::from_millis(200);

/// What the dispatcher is told.
#[derive(Clone)]
struct Wanted {
    /// The subscriptions, with their lives and generations.
    subs: Vec<Option<(u64, i64, Shape)>>,
    drains: u32,
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) lines: Vec<Line>,
    /// What is not settled.
    pub(crate) left: Vec<(usize, u32)>,
    /// What broke the simulation itself.
    pub(crate) broken: Option<String>,
}

struct Running<'a> {
    sim: Sim<'a>,
    plan: Arc<Plan>,
    ledger: Ledger,
    bus: Journal,
    wires: Wires,
    wanted: watch::Sender<Wanted>,
    lives: u64,
    down: bool,
}

pub(crate) fn run(plan: Plan) -> Ran {
    let sim = turmoil::Builder::new()
        .rng_seed(hash(&[plan.seed, 9]))
        .enable_random_order()
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(LATENCY)
        .tcp_capacity(1024)
        .build();
    let ledger = Ledger::default();
    let plan = Arc::new(plan);
    let (slow, can_delay) = plan.bus;
    let shapes = plan.subs.iter().map(|sub| Some((1, 1, sub.shape.clone())));
    let mut running = Running {
        bus: Journal::new(plan.seed, slow, can_delay, &ledger),
        wires: Wires::default(),
        wanted: watch::Sender::new(Wanted {
            subs: shapes.collect(),
            drains: 0,
        }),
        lives: 1,
        down: false,
        sim,
        plan,
        ledger,
    };
    let sent = running.hosts();
    let acted = running.act(&sent);
    let broken = acted.as_ref().err().map(ToString::to_string);
    Ran {
        lines: running.ledger.take(),
        left: acted.unwrap_or_default(),
        broken,
    }
}

impl Running<'_> {
    fn hosts(&mut self) -> Arc<Mutex<bool>> {
        for sub in 0..self.plan.subs.len() {
            self.bus.subscribe(sub, 1);
            self.host(&shape::name(sub), Place::Subscriber(sub));
        }
        self.host("sink", Place::Sink);
        self.host("replies", Place::Replies);
        let (seed, bus, wires) = (self.plan.seed, self.bus.clone(), self.wires.clone());
        let (ledger, wanted) = (self.ledger.clone(), self.wanted.subscribe());
        let starts = Arc::new(AtomicU64::new(0));
        self.sim.host("dispatcher", move || {
            let (bus, wires, ledger) = (bus.clone(), wires.clone(), ledger.clone());
            dispatch(
                seed,
                Arc::clone(&starts),
                bus,
                wires,
                ledger,
                wanted.clone(),
            )
        });
        let (plan, ledger) = (Arc::clone(&self.plan), self.ledger.clone());
        let sent = Arc::new(Mutex::new(false));
        let all = Arc::clone(&sent);
        self.sim.client("sender", async move {
            hosts::send(plan, ledger).await?;
            *all.lock().unwrap() = true;
            Ok(())
        });
        sent
    }

    fn host(&mut self, name: &str, place: Place) {
        let (plan, ledger) = (Arc::clone(&self.plan), self.ledger.clone());
        self.sim.host(name, move || {
            hosts::serve(place, Arc::clone(&plan), ledger.clone())
        });
    }

    /// Does all that is planned, and waits for the end; what is left then.
    fn act(&mut self, sent: &Mutex<bool>) -> turmoil::Result<Vec<(usize, u32)>> {
        let plan = Arc::clone(&self.plan);
        for (at, action) in &plan.actions {
            self.pass(*at)?;
            self.apply(action);
        }
        self.pass(QUIET)?;
        self.mend_all();
        while self.sim.elapsed() < QUIET + SETTLED_WITHIN {
            self.sim.step()?;
            if *sent.lock().unwrap() && self.bus.backlog().is_empty() {
                break;
            }
        }
        let left = self.bus.backlog();
        // What is under way still comes to its end.
        let last = self.sim.elapsed() + Duration::from_millis(500);
        self.pass(last)?;
        Ok(left)
    }

    fn pass(&mut self, until: Duration) -> turmoil::Result {
        while self.sim.elapsed() < until {
            self.sim.step()?;
        }
        Ok(())
    }

    fn note(&self, note: Note) {
        self.ledger.note_at(self.sim.elapsed(), note);
    }

    fn fault(&self, kind: &'static str, peer: Peer) {
        let sub = match peer {
            Peer::Sub(sub) => Some(sub),
            Peer::Sink | Peer::Replies | Peer::Sender => None,
        };
        self.note(Note::Fault { kind, sub });
    }

    fn apply(&mut self, action: &Action) {
        let us = "dispatcher";
        match action {
            Action::Slow(peer, by) => {
                self.sim.set_link_latency(us, host(*peer), *by);
                self.fault("delay", *peer);
            }
            Action::Lossy(peer) => {
                self.sim.set_link_fail_rate(us, host(*peer), 0.1);
                self.fault("drop", *peer);
            }
            Action::Partition(peer) => {
                self.sim.partition(us, host(*peer));
                self.fault("partition", *peer);
            }
            Action::Deaf(peer) => {
                self.sim.partition_oneway(us, host(*peer));
                self.fault("partition one way", *peer);
            }
            Action::Mute(peer) => {
                self.sim.partition_oneway(host(*peer), us);
                self.fault("partition the other way", *peer);
            }
            Action::Hold(peer) => {
                self.sim.hold(us, host(*peer));
                self.fault("hold", *peer);
            }
            Action::Mend(peer) => self.mend(*peer),
            Action::Reset(peer) => {
                let address: IpAddr = self.sim.lookup(host(*peer));
                for _ in 0..self.wires.reset(address) {
                    self.fault("connection reset", *peer);
                }
            }
            Action::Crash(peer) => {
                self.fault("subscriber crashed", *peer);
                self.sim.crash(host(*peer));
            }
            Action::Restart(peer) => self.sim.bounce(host(*peer)),
            Action::CrashDispatcher => {
                self.note(Note::Stopping);
                self.fault("dispatcher crashed", Peer::Sender);
                self.down = true;
                self.sim.crash(us);
            }
            Action::RestartDispatcher => self.up(),
            Action::Drain => {
                self.fault("dispatcher drained", Peer::Sender);
                self.wanted.send_modify(|wanted| wanted.drains += 1);
            }
            Action::BreakStream(sub) => self.bus.mishap(*sub, |it| it.stream = true),
            Action::LoseSettlement(sub) => self.bus.mishap(*sub, |it| it.settlements += 1),
            Action::LoseCount(sub) => self.bus.mishap(*sub, |it| it.counts += 1),
            Action::FailOpen(sub) => self.bus.mishap(*sub, |it| it.opens += 1),
            Action::FailStore(sub) => self.bus.mishap(*sub, |it| it.stores += 2),
            Action::Edit(sub, edit) => self.edit(*sub, edit),
        }
    }

    fn up(&mut self) {
        if std::mem::take(&mut self.down) {
            self.sim.bounce("dispatcher");
        }
    }

    fn mend(&mut self, peer: Peer) {
        let (us, host) = ("dispatcher", host(peer));
        self.sim.set_link_fail_rate(us, host.as_str(), 0.0);
        self.sim.release(us, host.as_str());
        self.sim.repair(us, host.as_str());
        self.sim.set_link_latency(us, host.as_str(), TICK);
        self.sim
            .set_link_max_message_latency(us, host.as_str(), LATENCY);
    }

    /// Everything is well from here on.
    fn mend_all(&mut self) {
        let subs = 0..self.plan.subs.len();
        for peer in subs
            .clone()
            .map(Peer::Sub)
            .chain([Peer::Sink, Peer::Replies, Peer::Sender])
        {
            self.mend(peer);
            if peer != Peer::Sender && !self.sim.is_host_running(host(peer)) {
                self.sim.bounce(host(peer));
            }
        }
        self.up();
        for sub in subs {
            self.edit(sub, &Edit::Create);
            if self.wanted.borrow().subs[sub]
                .as_ref()
                .is_some_and(|(_, _, shape)| shape.paused)
            {
                self.edit(sub, &Edit::Resume);
            }
            // Whoever was found to be gone is looked for again.
            self.edit(sub, &Edit::MaxUnsettled(64));
        }
    }

    fn edit(&mut self, sub: usize, edit: &Edit) {
        let kind = match edit {
            Edit::Pause => "paused",
            Edit::Resume => "resumed",
            Edit::Delete => "deleted",
            Edit::Create => "created",
            Edit::Replace => "replaced",
            _ => "edited",
        };
        let known = self.wanted.borrow().subs[sub].clone();
        let renewed =
            matches!(edit, Edit::Replace) || (matches!(edit, Edit::Create) && known.is_none());
        let changed = match (edit, known) {
            (Edit::Delete, Some(_)) => {
                self.bus.unsubscribe(sub);
                None
            }
            (Edit::Create | Edit::Replace, _) if renewed => {
                self.lives += 1;
                self.bus.unsubscribe(sub);
                self.bus.subscribe(sub, self.lives);
                let mut shape = self.plan.subs[sub].shape.clone();
                shape.paused = false;
                Some((self.lives, 1, shape))
            }
            (Edit::Create | Edit::Delete | Edit::Replace, _) | (_, None) => return,
            (edit, Some((life, generation, mut shape))) => {
                change(&mut shape, edit);
                Some((life, generation + 1, shape))
            }
        };
        self.fault(kind, Peer::Sub(sub));
        self.wanted.send_modify(|wanted| wanted.subs[sub] = changed);
    }
}

fn change(shape: &mut Shape, edit: &Edit) {
    let policy = &mut shape.policy;
    match *edit {
        Edit::Pause => shape.paused = true,
        Edit::Resume => shape.paused = false,
        Edit::Types(types) => shape.types = types,
        Edit::Retry(retry) => policy.retry = retry,
        Edit::MaxInFlight(most) => policy.max_in_flight = most,
        Edit::Rate(rate) => policy.rate = rate,
        Edit::MaxUnsettled(most) => policy.max_unsettled = most,
        Edit::Sink => shape.sink = !shape.sink,
        Edit::Path => shape.path += 1,
        Edit::Delete | Edit::Create | Edit::Replace => {}
    }
}

fn host(peer: Peer) -> String {
    match peer {
        Peer::Sub(sub) => shape::name(sub),
        Peer::Sink => "sink".to_owned(),
        Peer::Replies => "replies".to_owned(),
        Peer::Sender => "sender".to_owned(),
    }
}

/// The dispatcher's host: a data plane that is started again after each drain.
async fn dispatch(
    seed: u64,
    starts: Arc<AtomicU64>,
    bus: Journal,
    wires: Wires,
    ledger: Ledger,
    mut wanted: watch::Receiver<Wanted>,
) -> turmoil::Result {
    loop {
        let start = starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ledger.note(Note::Started);
        let mut world = World::new(wires.network()).observed_by(Arc::new(ledger.clone()));
        world.clock = Arc::new(SimClock);
        world.entropy = Arc::new(Seeded(AtomicU64::new(hash(&[seed, 5, start]))));
        let listening = Listening(hosts::listen().await?);
        let listener = Box::new(move || Ok(Box::new(listening) as _));
        let dataplane = DataPlane::start_local(Some(listener), Settings::default(), world)?;
        let plane = dataplane.add(&BusRef::parse("bus")?, Arc::new(bus.clone()));
        let drains = wanted.borrow().drains;
        let mut served = Vec::new();
        while wanted.borrow_and_update().drains == drains {
            let now = wanted.borrow().clone();
            plane.publish(routes(&now, &mut served));
            let routes = now
                .subs
                .into_iter()
                .map(|sub| sub.map(|(life, _, shape)| (life, shape)));
            ledger.note(Note::Published {
                routes: routes.collect(),
            });
            wanted.changed().await?;
        }
        ledger.note(Note::Stopping);
        let drained = dataplane.drain(GRACE).await;
        ledger.note(Note::Drained { lost: drained.lost });
        drop((plane, dataplane));
        tokio::time::sleep(DOWN).await;
    }
}

type Served = Vec<(
    (usize, u64, i64),
    Arc<busway_core::routes::SubscriptionRoute>,
)>;

/// The routes of what is wanted; what did not change stays what it is.
fn routes(wanted: &Wanted, served: &mut Served) -> Arc<Routes> {
    let mut now = Served::new();
    for (sub, wanted) in wanted.subs.iter().enumerate() {
        let Some((life, generation, shape)) = wanted else {
            continue;
        };
        let key = (sub, *life, *generation);
        let known = served.iter().find(|(known, _)| *known == key);
        let route = known.map_or_else(
            || shape.route(sub, *life, *generation),
            |(_, route)| Arc::clone(route),
        );
        now.push((key, route));
    }
    *served = now;
    let channel = ChannelRoute {
        channel: shape::channel(),
        uid: Uid::new("c"),
        generation: 1,
        accepting: Accepting::Yes,
        subscriptions: served.iter().map(|(_, route)| Arc::clone(route)).collect(),
    };
    Arc::new(Routes {
        loaded: true,
        receiver: Arc::default(),
        egress: Arc::new(busway_core::egress::Egress::open()),
        channels: [(shape::channel(), Arc::new(channel))].into(),
    })
}
