//! A bound on bytes that many parts of one process share.

use std::sync::{
    Arc,
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
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the bytes back"]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                used: AtomicUsize::new(0),
                limit: AtomicUsize::new(limit),
            }),
        }
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
        self.bytes += std::mem::take(&mut more.bytes);
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget
            .inner
            .used
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

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
