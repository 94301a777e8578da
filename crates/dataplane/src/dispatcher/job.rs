use std::{cell::Cell, rc::Rc, sync::Arc, time::SystemTime};

use busway_core::{
    bus::Settle,
    filter::Filter,
    outcome::{Cause, Outcome},
};
use busway_message::{Message, dead_letter::MAX_ERROR_DATA, names::BUSWAY_ID};
use bytes::Bytes;

use super::{door::Passage, keys::Key};
use crate::{
    metrics::{Counts, Family},
    observer::Stage,
};

/// One message on its way through a subscription, until it is settled. Dropping it hands the
/// message back to the bus.
pub(super) struct Job {
    /// While it is attempted at the subscriber.
    pub(super) passage: Option<Passage>,
    /// The filters that let it through.
    pub(super) passed: Arc<Filter>,
    /// What it is ordered by.
    pub(super) key: Option<Key>,
    /// Where it goes now.
    pub(super) stage: Stage,
    /// What is sent there.
    pub(super) message: Message,
    /// Attempts made in this stage.
    pub(super) attempts: u32,
    /// Attempts at the subscriber: the count that the bus keeps.
    pub(super) stored: u32,
    pub(super) accepted_at: SystemTime,
    /// Why it is a dead letter, once it is one.
    pub(super) cause: Option<Cause>,
    /// How the last attempt failed.
    pub(super) last: Option<Failed>,
    pub(super) settle: Settle,
    pub(super) held: Held,
}

impl Job {
    /// The message's id, for people.
    pub(super) fn id(&self) -> &str {
        self.message.header(BUSWAY_ID.as_str()).unwrap_or("-")
    }
}

/// How an attempt failed, as a dead letter tells it.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) body: Bytes,
}

impl Failed {
    /// Copies what a dead letter repeats: a slice would hold the whole answer for as long as the
    /// message waits.
    pub(super) fn new(outcome: Outcome, body: &[u8]) -> Self {
        let told = body.get(..MAX_ERROR_DATA).unwrap_or(body);
        Self {
            outcome,
            body: Bytes::copy_from_slice(told),
        }
    }
}

/// How many messages a subscription holds unsettled.
pub(super) struct Tally {
    count: Cell<usize>,
    counts: Arc<Counts>,
}

impl Tally {
    pub(super) fn new(counts: Arc<Counts>) -> Rc<Self> {
        Rc::new(Self {
            count: Cell::new(0),
            counts,
        })
    }

    pub(super) fn get(&self) -> usize {
        self.count.get()
    }

    pub(super) fn hold(self: &Rc<Self>) -> Held {
        self.count.set(self.count.get() + 1);
        self.counts.one(Family::Unsettled);
        Held(Rc::clone(self))
    }
}

/// One message counted as unsettled.
pub(super) struct Held(Rc<Tally>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
        self.0.counts.sub(Family::Unsettled, 0, 1);
    }
}
