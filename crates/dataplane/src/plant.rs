//! Bugs to be found: each is one line at its place, behind `planted!`. Only a build with
//! `--cfg busway_plant` has them, which the simulation is tried with (`make plants`).

use std::cell::{Cell, RefCell};

use busway_core::bus::Settle;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A message is acknowledged by the head of an answer, before the answer is whole.
    EarlyAck,
    /// Attempts that the bus has counted are not counted on when a message comes again.
    CountForgotten,
    /// A message is settled by the handle of another one, now and then.
    SharedCursor,
    /// The key of a message is free at its first failure.
    KeyReleased,
    /// What waits is not filtered anew after an edit.
    FilterKept,
    /// A dead letter is given up when its sink fails once.
    DeadLetterDropped,
    /// `maxInFlight` is passed by one.
    OneTooMany,
    /// `Retry-After` holds the message that it answered, and no other.
    RetryAfterForgotten,
    /// A pause begins when nothing is in flight any more, and until then more is taken.
    PauseLate,
    /// What a leaving dispatcher hands back is settled instead.
    LostAtDrain,
}

impl Plant {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::EarlyAck,
        Self::CountForgotten,
        Self::SharedCursor,
        Self::KeyReleased,
        Self::FilterKept,
        Self::DeadLetterDropped,
        Self::OneTooMany,
        Self::RetryAfterForgotten,
        Self::PauseLate,
        Self::LostAtDrain,
    ];
}

/// How many messages are settled by their own handle for each that is not.
const OWN: u32 = 7;

thread_local! {
    // A simulation runs on one thread: several are tried at once.
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    static SETTLED: Cell<u32> = const { Cell::new(0) };
    static OTHER: RefCell<Option<Settle>> = const { RefCell::new(None) };
}

/// Plants a bug on this thread, in place of any other.
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
    SETTLED.set(0);
    OTHER.with_borrow_mut(Option::take);
}

/// Whether it is planted.
#[must_use]
pub fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// The handle that settles a message: of [`Plant::SharedCursor`], that of another.
pub(crate) fn cursor(settle: Settle) -> Settle {
    SETTLED.set(SETTLED.get() + 1);
    if !is(Plant::SharedCursor) || SETTLED.get() % OWN != 0 {
        return settle;
    }
    OTHER
        .with_borrow_mut(|other| other.replace(settle))
        .unwrap_or_else(|| Settle::new(std::sync::Arc::new(Nobody), 0))
}

/// The first that is to be swapped settles nothing.
struct Nobody;

#[async_trait::async_trait]
impl busway_core::bus::Settler for Nobody {
    async fn done(&self, _: u64) -> Result<(), busway_core::bus::BusError> {
        Ok(())
    }

    async fn retry_at(
        &self,
        _: u64,
        _: std::time::SystemTime,
        _: u32,
    ) -> Result<(), busway_core::bus::BusError> {
        Ok(())
    }

    fn release(&self, _: u64) {}

    async fn extend(&self, _: u64, _: u32) -> Result<(), busway_core::bus::BusError> {
        Ok(())
    }
}
