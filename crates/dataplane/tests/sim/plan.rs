//! Everything that is drawn from a seed before a run begins.

use std::time::Duration;

use busway_core::gate::Rate;
use busway_dataplane::Stage;

use super::{
    chance::Chance,
    habit::{self, Answer, Habit, How},
    shape::{self, Shape},
};

/// When nothing more goes wrong, and every subscriber is well again.
pub(crate) const QUIET: Duration = Duration::from_secs(9);
/// Messages of a run.
const MESSAGES: u64 = 48;

pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) subs: Vec<SubPlan>,
    pub(crate) messages: Vec<Planned>,
    pub(crate) actions: Vec<(Duration, Action)>,
    /// How slow the bus is, and whether it can delay.
    pub(crate) bus: (u64, bool),
    /// Whether the dispatcher itself is crashed or told to leave.
    pub(crate) stops: bool,
}

pub(crate) struct SubPlan {
    pub(crate) habit: Habit,
    pub(crate) shape: Shape,
    /// Nothing goes wrong with it, and nobody edits it.
    pub(crate) calm: bool,
    /// Its own network and host are well, whatever it answers.
    pub(crate) wired: bool,
}

pub(crate) struct Planned {
    pub(crate) at: Duration,
    /// Its place in [`shape::TYPES`].
    pub(crate) kind: usize,
    pub(crate) key: u64,
    pub(crate) bytes: usize,
}

/// Who is at the other end of a link of the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Sub(usize),
    Sink,
    Replies,
    Sender,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Slow(Peer, Duration),
    Lossy(Peer),
    Partition(Peer),
    /// What the dispatcher sends is dropped.
    Deaf(Peer),
    /// What the other side sends is.
    Mute(Peer),
    Hold(Peer),
    /// The link is as it was.
    Mend(Peer),
    Reset(Peer),
    Crash(Peer),
    Restart(Peer),
    CrashDispatcher,
    RestartDispatcher,
    Drain,
    BreakStream(usize),
    LoseSettlement(usize),
    LoseCount(usize),
    FailOpen(usize),
    FailStore(usize),
    Edit(usize, Edit),
}

impl Action {
    /// Whose link or host it is done to.
    const fn peer(&self) -> Option<Peer> {
        match *self {
            Self::Slow(peer, _)
            | Self::Lossy(peer)
            | Self::Partition(peer)
            | Self::Deaf(peer)
            | Self::Mute(peer)
            | Self::Hold(peer)
            | Self::Mend(peer)
            | Self::Reset(peer)
            | Self::Crash(peer)
            | Self::Restart(peer) => Some(peer),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Pause,
    Resume,
    Types(u8),
    Retry(u32),
    MaxInFlight(busway_core::gate::MaxInFlight),
    Rate(Option<Rate>),
    MaxUnsettled(u32),
    Sink,
    Path,
    Delete,
    Create,
    /// Another one under the same name, at once.
    Replace,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let chance = &mut Chance::new(&[seed]);
        let subs: Vec<SubPlan> = (0..chance.between(3, 6))
            .map(|number| sub(&mut Chance::new(&[seed, 1, number]), number == 0))
            .collect();
        let mut messages: Vec<Planned> = (0..MESSAGES).map(|_| message(chance)).collect();
        messages.sort_by_key(|message| message.at);
        let mut plan = Self {
            seed,
            messages,
            actions: Vec::new(),
            bus: (chance.pick(&[0, 0, 4, 25]), chance.one_in(2)),
            stops: !chance.one_in(3),
            subs,
        };
        for sub in 0..plan.subs.len() {
            plan.trouble(sub, &mut Chance::new(&[seed, 2, sub as u64]));
        }
        for (place, peer) in (0..).zip([Peer::Sink, Peer::Replies, Peer::Sender]) {
            let chance = &mut Chance::new(&[seed, 3, place]);
            if chance.one_in(2) {
                plan.network(peer, chance);
            }
        }
        if plan.stops {
            plan.stop(&mut Chance::new(&[seed, 4]));
        }
        plan.actions.sort_by_key(|(at, _)| *at);
        plan
    }

    /// The same, where the sender has no trouble: two runs then have the same messages.
    pub(crate) fn well_sent(seed: u64) -> Self {
        let mut plan = Self::of(seed);
        plan.actions
            .retain(|(_, action)| action.peer() != Some(Peer::Sender));
        plan
    }

    /// As [`Plan::well_sent`], where everybody else is well too.
    pub(crate) fn with_others_well(seed: u64) -> Self {
        let mut plan = Self::of(seed);
        for sub in plan.subs.iter_mut().filter(|sub| !sub.calm) {
            sub.habit = Habit::Well;
        }
        plan.actions.clear();
        plan
    }

    /// How an attempt that comes now is answered.
    pub(crate) fn answer(
        &self,
        now: Duration,
        sub: usize,
        stage: Stage,
        number: u32,
        attempt: u32,
    ) -> Answer {
        if now >= QUIET {
            let status = if stage == Stage::Subscriber { 202 } else { 200 };
            return Answer {
                after: Duration::from_millis(5),
                how: How::Status(status),
            };
        }
        habit::answer(self.seed, sub, stage, self.subs[sub].habit, number, attempt)
    }

    pub(crate) fn message(&self, number: u32) -> &Planned {
        &self.messages[(number / super::hosts::TRIES) as usize]
    }

    fn at(&mut self, at: Duration, action: Action) {
        self.actions.push((at.min(QUIET), action));
    }

    fn trouble(&mut self, sub: usize, chance: &mut Chance) {
        if self.subs[sub].calm {
            return;
        }
        if !self.subs[sub].wired {
            self.network(Peer::Sub(sub), chance);
        }
        if chance.one_in(2) {
            self.edits(sub, chance);
        }
        if chance.one_in(3) {
            for _ in 0..chance.between(1, 3) {
                let at = chance.millis(500, 8500);
                let action = chance.pick(&[
                    Action::BreakStream as fn(usize) -> Action,
                    Action::LoseSettlement,
                    Action::LoseCount,
                ]);
                self.at(at, action(sub));
            }
        }
        if chance.one_in(5) {
            self.at(chance.millis(0, 8500), Action::FailOpen(sub));
        }
        if chance.one_in(2) {
            self.at(chance.millis(200, 4000), Action::FailStore(sub));
        }
    }

    /// One fault after the other on one link.
    fn network(&mut self, peer: Peer, chance: &mut Chance) {
        let mut at = chance.millis(300, 2500);
        while at < QUIET {
            let ends = at + chance.millis(100, 1800);
            match chance.below(9) {
                0 => self.at(at, Action::Slow(peer, chance.millis(50, 300))),
                1 => self.at(at, Action::Lossy(peer)),
                2 => self.at(at, Action::Partition(peer)),
                3 => self.at(at, Action::Deaf(peer)),
                4 => self.at(at, Action::Mute(peer)),
                5 => self.at(at, Action::Hold(peer)),
                6 if peer != Peer::Sender => {
                    self.at(at, Action::Crash(peer));
                    self.at(ends, Action::Restart(peer));
                }
                _ => self.at(at, Action::Reset(peer)),
            }
            self.at(ends, Action::Mend(peer));
            at = ends + chance.millis(200, 2000);
        }
    }

    fn edits(&mut self, sub: usize, chance: &mut Chance) {
        let mut at = chance.millis(500, 2500);
        while at < QUIET {
            let edit = match chance.below(10) {
                0 | 1 => {
                    self.at(at, Action::Edit(sub, Edit::Pause));
                    at += chance.millis(200, 1500);
                    Edit::Resume
                }
                2 | 3 => Edit::Types(shape::types(chance)),
                4 => Edit::Retry(u32::try_from(chance.below(5)).unwrap()),
                5 => Edit::MaxInFlight(shape::max_in_flight(chance)),
                6 if chance.one_in(2) => Edit::Rate(shape::rate(chance)),
                6 => Edit::MaxUnsettled(u32::try_from(chance.between(4, 64)).unwrap()),
                7 if chance.one_in(2) => Edit::Sink,
                7 => Edit::Path,
                8 => {
                    self.at(at, Action::Edit(sub, Edit::Delete));
                    at += chance.millis(100, 1000);
                    Edit::Create
                }
                _ => Edit::Replace,
            };
            self.at(at, Action::Edit(sub, edit));
            at += chance.millis(300, 2500);
        }
    }

    fn stop(&mut self, chance: &mut Chance) {
        let mut at = chance.millis(1000, 5000);
        while at < QUIET {
            if chance.one_in(2) {
                self.at(at, Action::Drain);
                at += Duration::from_secs(1);
            } else {
                self.at(at, Action::CrashDispatcher);
                at += chance.millis(50, 800);
                self.at(at, Action::RestartDispatcher);
            }
            at += chance.millis(1500, 5000);
        }
    }
}

fn sub(chance: &mut Chance, calm: bool) -> SubPlan {
    if calm {
        return SubPlan {
            habit: Habit::Well,
            shape: Shape::calm(chance),
            calm,
            wired: true,
        };
    }
    SubPlan {
        habit: chance.pick(&habit::SICK),
        shape: Shape::drawn(chance),
        calm,
        wired: chance.one_in(2),
    }
}

fn message(chance: &mut Chance) -> Planned {
    Planned {
        at: chance.millis(100, 7000),
        kind: usize::try_from(chance.below(3)).unwrap(),
        key: chance.below(4),
        bytes: usize::try_from(chance.between(0, 300)).unwrap(),
    }
}
