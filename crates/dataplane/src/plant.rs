//! Bugs to be found: each is one line at its place, behind `planted!`. Only a build with
//! `--cfg busway_plant` has them, which the simulation is tried with (`make plants`).

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use busway_core::bus::{BusError, Delivery, Settle, Settler};

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

/// Of so many messages one has the handle of another.
const OWN: u32 = 7;

type Handle = Arc<Mutex<Option<Settle>>>;

thread_local! {
    // A simulation runs on one thread: several are tried at once.
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    static TAKEN: Cell<u32> = const { Cell::new(0) };
    static LAST: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// Plants a bug on this thread, in place of any other.
pub fn set(plant: Option<Plant>) {
    PLANTED.set(plant);
    TAKEN.set(0);
    drop(LAST.take());
}

/// Whether it is planted.
#[must_use]
pub fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// What the bus gave: of [`Plant::SharedCursor`] its handle is, now and then, exchanged with that
/// of what was given before, which may be another subscription's.
pub(crate) fn taken(mut delivery: Delivery) -> Delivery {
    if is(Plant::SharedCursor) {
        delivery.settle = shared(delivery.settle);
    }
    delivery
}

fn shared(settle: Settle) -> Settle {
    TAKEN.set(TAKEN.get() + 1);
    let handle = Handle::new(Mutex::new(Some(settle)));
    let before = LAST.replace(Some(Arc::clone(&handle)));
    if let Some(before) = before.filter(|_| TAKEN.get().is_multiple_of(OWN)) {
        let (mut one, mut other) = (lock(&handle), lock(&before));
        // One that was settled is left alone.
        if other.is_some() {
            std::mem::swap(&mut *one, &mut *other);
        }
    }
    Settle::new(Arc::new(Shared(handle)), 0)
}

fn lock(handle: &Handle) -> MutexGuard<'_, Option<Settle>> {
    handle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle that another message may have got.
struct Shared(Handle);

impl Shared {
    fn take(&self) -> Result<Settle, BusError> {
        lock(&self.0).take().ok_or(BusError::NotHeld)
    }
}

#[async_trait]
impl Settler for Shared {
    async fn done(&self, _: u64) -> Result<(), BusError> {
        self.take()?.done().await
    }

    async fn retry_at(&self, _: u64, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        self.take()?.retry_at(at, attempts).await
    }

    fn release(&self, _: u64) {
        drop(self.take());
    }

    async fn extend(&self, _: u64, attempts: u32) -> Result<(), BusError> {
        let keeper = lock(&self.0).as_ref().map(Settle::keeper);
        keeper.ok_or(BusError::NotHeld)?.extend(attempts).await
    }
}
