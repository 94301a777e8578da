//! Choices that are the same for the same seed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use busway_core::world::Entropy;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Splitmix64.
const fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that depends on these and on nothing else: what is drawn so does not change with the
/// order in which things happen.
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum: u64, part| {
        mix(sum.wrapping_add(STEP) ^ mix(part.wrapping_add(STEP)))
    })
}

/// A row of choices.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(parts: &[u64]) -> Self {
        Self(hash(parts))
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// From 0 up to `below`.
    pub(crate) const fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// From `low` to `high`.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(crate) const fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    pub(crate) const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// What the data plane draws from.
pub(crate) struct Seeded(pub(crate) AtomicU64);

impl Entropy for Seeded {
    fn next(&self) -> u64 {
        let state = self.0.fetch_add(STEP, Ordering::Relaxed);
        mix(state.wrapping_add(STEP))
    }
}
