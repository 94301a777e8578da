//! What waits to be sent to one destination, and who sends it.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    task::Waker,
};

use tokio::time::Instant;

use super::{job::Job, link::SharedLink};

/// The queue of one destination: due now, due later, being sent.
#[derive(Default)]
pub(super) struct Outlet {
    due: RefCell<VecDeque<Job>>,
    later: RefCell<BinaryHeap<Reverse<Later>>>,
    sequence: Cell<u64>,
    /// The jobs that lanes are sending, by lane.
    sending: RefCell<Vec<Option<Job>>>,
    /// Lanes without a job, the last to become idle on top: so that few stay warm.
    idle: RefCell<Vec<(usize, Waker)>>,
    /// Lanes that exist, by number.
    lanes: RefCell<Vec<bool>>,
    /// How many do.
    alive: Cell<usize>,
    /// What they share.
    pub(super) shared: SharedLink,
}

struct Later {
    at: Instant,
    sequence: u64,
    job: Job,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl Outlet {
    pub(super) fn push(&self, job: Job) {
        self.due.borrow_mut().push_back(job);
    }

    pub(super) fn push_later(&self, at: Instant, job: Job) {
        let sequence = self.sequence.get();
        self.sequence.set(sequence + 1);
        let later = Later { at, sequence, job };
        self.later.borrow_mut().push(Reverse(later));
    }

    pub(super) fn pop(&self) -> Option<Job> {
        self.due.borrow_mut().pop_front()
    }

    /// The next job that has an attempt left after this one; else the next.
    ///
    /// A message is not risked to find out whether a subscriber is back. Where each has but one
    /// attempt left (`retry: 0`), one has to be, or the subscription would stand still for ever.
    pub(super) fn pop_for_probe(&self, retry: u32) -> Option<Job> {
        let place = self.probe(retry)?;
        self.due.borrow_mut().remove(place)
    }

    /// Where [`Outlet::pop_for_probe`] finds one.
    pub(super) fn probe(&self, retry: u32) -> Option<usize> {
        let due = self.due.borrow();
        let spare = due.iter().position(|job| job.attempts < retry);
        let later = || {
            let later = self.later.borrow();
            later.iter().any(|later| later.0.job.attempts < retry)
        };
        if spare.is_some() || due.is_empty() || later() {
            // If it is one of those that come later, they are looked at when they do.
            return spare;
        }
        Some(0)
    }

    /// Lanes that are up and not idle.
    pub(super) fn busy(&self) -> usize {
        self.alive.get().saturating_sub(self.idle.borrow().len())
    }

    pub(super) fn next_later(&self) -> Option<Instant> {
        self.later.borrow().peek().map(|later| later.0.at)
    }

    /// Moves what is due by now to the queue; how many that were.
    pub(super) fn advance(&self, now: Instant) -> usize {
        let mut later = self.later.borrow_mut();
        let mut moved = 0;
        while later.peek().is_some_and(|next| next.0.at <= now) {
            if let Some(next) = later.pop() {
                self.due.borrow_mut().push_back(next.0.job);
                moved += 1;
            }
        }
        moved
    }

    /// Takes all that is not being sent: with its time, where it has one.
    pub(super) fn take_waiting(&self) -> Vec<(Option<Instant>, Job)> {
        let due = std::mem::take(&mut *self.due.borrow_mut());
        let later = std::mem::take(&mut *self.later.borrow_mut());
        let due = due.into_iter().map(|job| (None, job));
        due.chain(later.into_iter().map(|l| (Some(l.0.at), l.0.job)))
            .collect()
    }

    /// Calls `with` for every job.
    pub(super) fn each(&self, mut with: impl FnMut(&Job)) {
        self.due.borrow().iter().for_each(&mut with);
        self.later.borrow().iter().for_each(|l| with(&l.0.job));
        self.sending.borrow().iter().flatten().for_each(with);
    }

    /// Drops every job, which hands it back; lanes have ended.
    pub(super) fn clear(&self) {
        drop(self.take_waiting());
        let sending = std::mem::take(&mut *self.sending.borrow_mut());
        drop(sending);
    }

    /// When the next job is to be sent, unless it is due, and how often it was attempted.
    pub(super) fn next(&self) -> Option<(Option<Instant>, u32)> {
        if let Some(job) = self.due.borrow().front() {
            return Some((None, job.attempts));
        }
        let later = self.later.borrow();
        let next = later.peek()?;
        Some((Some(next.0.at), next.0.job.attempts))
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.borrow().is_empty()
    }

    pub(super) fn due(&self) -> usize {
        self.due.borrow().len()
    }

    pub(super) fn has_lanes_beside(&self) -> bool {
        self.alive.get() > 1
    }

    pub(super) fn has_lane(&self) -> bool {
        self.alive.get() > 0
    }

    pub(super) fn sending(&self) -> usize {
        self.sending.borrow().iter().flatten().count()
    }

    /// Puts a job into a lane's place while it is sent.
    pub(super) fn place(&self, lane: usize, job: Job) {
        if let Some(place) = self.sending.borrow_mut().get_mut(lane) {
            *place = Some(job);
        }
    }

    pub(super) fn take(&self, lane: usize) -> Option<Job> {
        self.sending.borrow_mut().get_mut(lane)?.take()
    }

    /// Wakes an idle lane, if there is one.
    pub(super) fn wake_one(&self) -> bool {
        let woken = self.idle.borrow_mut().pop();
        let is_some = woken.is_some();
        if let Some((_, waker)) = woken {
            waker.wake();
        }
        is_some
    }

    /// Registers an idle lane.
    pub(super) fn rest(&self, lane: usize, waker: &Waker) {
        let mut idle = self.idle.borrow_mut();
        if let Some(known) = idle.iter_mut().find(|(number, _)| *number == lane) {
            known.1.clone_from(waker);
        } else {
            idle.push((lane, waker.clone()));
        }
    }

    pub(super) fn unrest(&self, lane: usize) {
        self.idle.borrow_mut().retain(|(number, _)| *number != lane);
    }

    /// A number for a new lane, while there are fewer than `bound`.
    pub(super) fn new_lane(&self, bound: usize) -> Option<usize> {
        let mut lanes = self.lanes.borrow_mut();
        let free = lanes.iter().position(|lane| !lane).unwrap_or(lanes.len());
        if free >= bound {
            return None;
        }
        if free == lanes.len() {
            lanes.push(true);
            self.sending.borrow_mut().push(None);
        } else if let Some(lane) = lanes.get_mut(free) {
            *lane = true;
        }
        self.alive.set(self.alive.get() + 1);
        Some(free)
    }

    /// A lane ended.
    pub(super) fn end_lane(&self, lane: usize) {
        self.unrest(lane);
        let mut lanes = self.lanes.borrow_mut();
        if let Some(place) = lanes.get_mut(lane) {
            *place = false;
            self.alive.set(self.alive.get().saturating_sub(1));
        }
        drop(lanes);
        // Nobody is left to use it.
        if !self.has_lane() {
            self.shared.clear();
        }
    }
}
