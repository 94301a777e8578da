use std::{cell::Cell, rc::Rc, sync::Arc, time::SystemTime};

use busway_core::{
    budget::{MemoryBudget, Reservation},
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
    /// The room of its reply, from when there is one.
    pub(super) room: Option<ReplyRoom>,
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

/// Bytes of replies that a subscription may hold: as many as of messages.
const REPLY_BYTES: usize = super::driver::CREDIT_BYTES;

/// Bytes of replies that it may hold also where the process has no room: enough to go on with small
/// ones, beside subscriptions that fill the memory.
const REPLY_BYTES_FOR_SURE: usize = 64 * 1024;

/// How many messages a subscription holds unsettled, and how much of replies.
pub(super) struct Tally {
    count: Cell<usize>,
    counts: Arc<Counts>,
    reply_bytes: Cell<usize>,
    /// Replies that the memory of the process has no room for.
    roomless: Cell<usize>,
}

impl Tally {
    pub(super) fn new(counts: Arc<Counts>) -> Rc<Self> {
        Rc::new(Self {
            count: Cell::new(0),
            counts,
            reply_bytes: Cell::new(0),
            roomless: Cell::new(0),
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

impl Tally {
    /// Whether another reply may come.
    pub(super) fn has_room(&self) -> bool {
        let most = match self.roomless.get() {
            0 => REPLY_BYTES,
            _ => REPLY_BYTES_FOR_SURE,
        };
        self.reply_bytes.get() < most
    }

    /// Counts a reply of so many bytes; `room` is what was reserved for it already.
    pub(super) fn keep_reply(
        self: &Rc<Self>,
        bytes: usize,
        room: Option<Reservation>,
        budget: &MemoryBudget,
    ) -> ReplyRoom {
        self.reply_bytes.set(self.reply_bytes.get() + bytes);
        let reserved = room.filter(|room| room.bytes() > 0);
        let room = reserved.or_else(|| budget.reserve(bytes));
        if room.is_none() {
            self.roomless.set(self.roomless.get() + 1);
        }
        ReplyRoom {
            tally: Rc::clone(self),
            bytes,
            room,
        }
    }
}

/// The room of one reply.
pub(super) struct ReplyRoom {
    tally: Rc<Tally>,
    bytes: usize,
    room: Option<Reservation>,
}

impl Drop for ReplyRoom {
    fn drop(&mut self) {
        let tally = &self.tally;
        tally
            .reply_bytes
            .set(tally.reply_bytes.get().saturating_sub(self.bytes));
        if self.room.is_none() {
            tally.roomless.set(tally.roomless.get().saturating_sub(1));
        }
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
