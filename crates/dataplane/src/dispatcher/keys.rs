//! Order per key: the next message of a key waits until the one before is settled.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use super::job::Job;

/// A key's value; the empty one is that of messages without the attribute.
pub(super) type Key = Rc<str>;

/// The messages that wait for an earlier one of their key, in the order in which the bus gave them.
///
/// A key is here as long as one of its messages is on its way; so there are no more than unsettled
/// messages.
#[derive(Default)]
pub(super) struct Keys {
    behind: RefCell<HashMap<Key, VecDeque<Job>>>,
}

impl Keys {
    /// Gives a job back that is the first of its key, or has none; keeps any other.
    pub(super) fn enter(&self, job: Job) -> Option<Job> {
        let Some(key) = &job.key else {
            return Some(job);
        };
        let mut behind = self.behind.borrow_mut();
        if let Some(queue) = behind.get_mut(key) {
            queue.push_back(job);
            return None;
        }
        behind.insert(Rc::clone(key), VecDeque::new());
        Some(job)
    }

    /// The first of a key is settled: the one that comes next.
    pub(super) fn leave(&self, key: &Key) -> Option<Job> {
        let mut behind = self.behind.borrow_mut();
        let next = behind.get_mut(key)?.pop_front();
        if next.is_none() {
            behind.remove(key);
        }
        next
    }

    /// The first of a key went back to the bus, unsettled.
    pub(super) fn forget(&self, key: &Key) {
        // What waits behind it goes back too, when nothing is borrowed.
        let behind = self.behind.borrow_mut().remove(key);
        drop(behind);
    }

    /// Takes all that wait; who is on its way keeps its key.
    pub(super) fn take_waiting(&self) -> Vec<Job> {
        let mut behind = self.behind.borrow_mut();
        behind.values_mut().flat_map(std::mem::take).collect()
    }

    /// Calls `with` for every job that waits.
    pub(super) fn each(&self, mut with: impl FnMut(&Job)) {
        let behind = self.behind.borrow();
        behind.values().flatten().for_each(&mut with);
    }

    /// Drops every job, which hands it back; nothing is on its way any more.
    pub(super) fn clear(&self) {
        let behind = std::mem::take(&mut *self.behind.borrow_mut());
        drop(behind);
    }
}
