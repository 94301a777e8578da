//! What arrived at the sinks, each delivery once.

use serde::{Deserialize, Serialize};

use crate::{message::Ticket, stats::Quantiles};

/// A message number above this is not one of ours: memory for what was seen grows with it.
const MOST_MESSAGES: u64 = 100_000_000;
/// More sinks than any run has.
const MOST_SINKS: usize = 10_000;

/// What came of one run, as the sinks saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Deliveries, each message counted once a sink.
    pub(crate) unique: u64,
    /// Deliveries beyond the first of a message to a sink.
    pub(crate) duplicates: u64,
    /// Deliveries of another run: late ones.
    pub(crate) foreign: u64,
    /// Deliveries without a readable ticket, or whose data is not as long as what was sent.
    pub(crate) altered: u64,
    /// When the last delivery came, by [`crate::clock::now`].
    pub(crate) last: u64,
    /// From the time a message was due to its arrival.
    pub(crate) latency: Quantiles,
}

/// Deliveries as they come in.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    run: u32,
    tally: Tally,
    /// A bit a message, by sink.
    seen: Vec<Vec<u64>>,
    latencies: Vec<u32>,
}

impl Arrivals {
    /// Nothing yet of `run`.
    pub(crate) fn of_run(run: u32) -> Self {
        Self {
            run,
            ..Self::default()
        }
    }

    /// A delivery of `ticket` to `sink`, at `at`.
    pub(crate) fn add(&mut self, ticket: Ticket, sink: usize, at: u64) {
        if ticket.number > MOST_MESSAGES || sink > MOST_SINKS {
            return self.add_altered();
        }
        if ticket.run != self.run {
            self.tally.foreign += 1;
            return;
        }
        if self.first_time(ticket.number, sink) {
            self.tally.unique += 1;
            self.tally.last = at;
            let micros = at.saturating_sub(ticket.due) / 1000;
            self.latencies
                .push(u32::try_from(micros).unwrap_or(u32::MAX));
        } else {
            self.tally.duplicates += 1;
        }
    }

    /// A delivery that is not what was sent.
    pub(crate) fn add_altered(&mut self) {
        self.tally.altered += 1;
    }

    /// Deliveries so far, each once.
    pub(crate) fn unique(&self) -> u64 {
        self.tally.unique
    }

    /// All that is known so far.
    pub(crate) fn tally(&mut self) -> Tally {
        self.tally.latency = Quantiles::of(&mut self.latencies);
        self.tally.clone()
    }

    fn first_time(&mut self, number: u64, sink: usize) -> bool {
        if self.seen.len() <= sink {
            self.seen.resize_with(sink + 1, Vec::new);
        }
        let seen = &mut self.seen[sink];
        let (word, bit) = (number / 64, 1 << (number % 64));
        let Ok(word) = usize::try_from(word) else {
            return false;
        };
        if seen.len() <= word {
            seen.resize(word + 1, 0);
        }
        let first = seen[word] & bit == 0;
        seen[word] |= bit;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(run: u32, number: u64) -> Ticket {
        Ticket {
            run,
            number,
            due: 5_000,
        }
    }

    #[test]
    fn a_delivery_counts_once_a_sink_and_repeats_are_told() {
        let mut arrivals = Arrivals::of_run(2);
        for (number, sink) in [(0, 0), (0, 1), (64, 0), (0, 1), (64, 0)] {
            arrivals.add(ticket(2, number), sink, 12_000);
        }
        arrivals.add(ticket(1, 0), 0, 12_000);
        arrivals.add_altered();
        let tally = arrivals.tally();
        assert_eq!((tally.unique, tally.duplicates), (3, 2));
        assert_eq!((tally.foreign, tally.altered), (1, 1));
        assert_eq!(tally.latency.p50, 7);
        assert_eq!(tally.last, 12_000);
    }

    #[test]
    fn a_wild_number_takes_no_memory() {
        let mut arrivals = Arrivals::of_run(0);
        arrivals.add(ticket(0, u64::MAX), 0, 1);
        arrivals.add(ticket(0, 0), usize::MAX, 1);
        assert_eq!(arrivals.tally().altered, 2);
        assert!(arrivals.seen.is_empty());
    }
}
