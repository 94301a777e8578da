//! A bound on bytes that many parts of one process share.

use std::sync::{
    Arc, PoisonError, RwLock, Weak,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes of messages one process may hold (`limits.memory`): bodies being received and
/// what an in-memory bus stores. Cloning shares the budget.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// Of those used, what [`MemoryBudget::make_room`] gave.
    coming: AtomicUsize,
    /// One for each bus of this process that keeps messages in memory.
    reliefs: RwLock<Vec<Weak<dyn Relief>>>,
}

/// What can give memory back when there is too little of it: a bus that keeps messages in memory.
pub trait Relief: Send + Sync {
    /// Gives up something so that `bytes` may fit; whether it did. It is asked again while they do
    /// not, so that it may do a part at a time.
    fn relieve(&self, bytes: usize) -> bool;
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the bytes back"]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
    coming: bool,
}

/// What comes in takes the place of what is kept only up to this part of the limit: senders that do
/// not finish their bodies would have everything shed.
const COMING: usize = 4;

impl MemoryBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                used: AtomicUsize::new(0),
                limit: AtomicUsize::new(limit),
                coming: AtomicUsize::new(0),
                reliefs: RwLock::default(),
            }),
        }
    }

    /// From now on `relief` is asked when [`MemoryBudget::make_room`] finds too little.
    pub fn relieved_by(&self, relief: Weak<dyn Relief>) {
        let reliefs = self.inner.reliefs.write();
        let mut reliefs = reliefs.unwrap_or_else(PoisonError::into_inner);
        reliefs.retain(|known| known.strong_count() > 0);
        reliefs.push(relief);
    }

    /// Takes `bytes` for what comes in, for which others may have to give up what they keep; nothing
    /// when they do not, or when a quarter of the limit is coming in already.
    #[must_use]
    pub fn make_room(&self, bytes: usize) -> Option<Reservation> {
        loop {
            if let Some(mut held) = self.reserve(bytes) {
                held.coming = true;
                self.inner.coming.fetch_add(bytes, Ordering::Relaxed);
                return Some(held);
            }
            let coming = self.inner.coming.load(Ordering::Relaxed);
            if coming.saturating_add(bytes) > self.limit() / COMING || !self.relieve(bytes) {
                return None;
            }
        }
    }

    /// The first that can gives something up: processes with more than one such bus are for
    /// development.
    fn relieve(&self, bytes: usize) -> bool {
        let reliefs = self.inner.reliefs.read();
        let reliefs = reliefs.unwrap_or_else(PoisonError::into_inner);
        let mut alive = reliefs.iter().filter_map(Weak::upgrade);
        alive.any(|relief| relief.relieve(bytes))
    }

    /// Takes `bytes`, or nothing when that would pass the limit.
    #[must_use]
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let limit = self.limit();
        self.inner
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .ok()?;
        Some(Reservation {
            budget: self.clone(),
            bytes,
            coming: false,
        })
    }

    /// Changes the limit; what is held already stays held.
    pub fn set_limit(&self, limit: usize) {
        self.inner.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.inner.limit.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Bytes that are held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more, or none when that would pass the limit.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let Some(mut more) = self.budget.reserve(bytes) else {
            return false;
        };
        let more = std::mem::take(&mut more.bytes);
        self.bytes += more;
        if self.coming {
            self.budget.inner.coming.fetch_add(more, Ordering::Relaxed);
        }
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.coming {
            let coming = &self.budget.inner.coming;
            coming.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.budget
            .inner
            .used
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps some, and gives one up at a time.
    #[derive(Default)]
    struct Keeper(Mutex<Vec<Reservation>>);

    impl Relief for Keeper {
        fn relieve(&self, _: usize) -> bool {
            self.0.lock().unwrap().pop().is_some()
        }
    }

    #[test]
    fn room_is_made_by_who_can_give_some_up_and_for_a_quarter_of_the_limit() {
        let budget = MemoryBudget::new(16);
        let keeper = Arc::new(Keeper::default());
        let gone: Weak<Keeper> = Weak::new();
        budget.relieved_by(gone);
        let relief = Arc::downgrade(&keeper);
        budget.relieved_by(relief);
        for _ in 0..8 {
            keeper.0.lock().unwrap().extend(budget.reserve(2));
        }
        assert!(budget.make_room(5).is_none());
        assert_eq!(budget.used(), 16, "for so much nothing is given up");
        let room = budget.make_room(3).unwrap();
        assert_eq!((room.bytes(), budget.used()), (3, 15));
        assert!(budget.make_room(2).is_none(), "five would be coming in");
        drop(room);
        let room = budget.make_room(4).unwrap();
        let last: Vec<_> = std::mem::take(&mut *keeper.0.lock().unwrap());
        assert!(budget.make_room(1).is_none(), "nobody keeps anything else");
        drop((room, last));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_budget_is_never_passed_and_comes_back() {
        let budget = MemoryBudget::new(10);
        let held = budget.reserve(7);
        assert!(held.is_some());
        assert!(budget.reserve(4).is_none());
        assert!(budget.reserve(usize::MAX).is_none());
        drop(held);
        let mut grown = budget.reserve(2).unwrap();
        assert!(grown.grow(8) && !grown.grow(1));
        assert_eq!(budget.used(), 10);
        drop(grown);
        assert!(budget.reserve(10).is_some());
        assert_eq!(budget.used(), 0);
    }
}
