//! Taking a message into every queue of its channel, or into none.

use std::sync::Arc;

use busway_core::{
    ChannelRef,
    budget::Reservation,
    bus::{MemorySettings, WhenFull},
};
use busway_message::Message;

use super::{
    MemoryBus, SharedQueue,
    config::{ENTRY_COST, MESSAGE_OVERHEAD},
    error::Refused,
    queue::{Entry, Stored},
};

/// The part of the budget that one message takes: itself, and its place in each queue.
struct Space {
    message: Reservation,
    places: Vec<Reservation>,
}

impl MemoryBus {
    pub(super) fn store(&self, channel: &ChannelRef, message: Message) -> Result<(), Refused> {
        let (queues, settings) = {
            let topology = self.read();
            let queues = topology
                .fan_out(channel)
                .ok_or_else(|| Refused::UnknownChannel(channel.clone()))?;
            (queues, topology.settings)
        };
        let size = message.size();
        if size > settings.max_bytes {
            return Err(Refused::TooLarge {
                limit: settings.max_bytes,
            });
        }
        if queues.is_empty() {
            return Ok(());
        }
        let space = self.space(size, queues.len(), settings.when_full)?;
        let stored = Arc::new(Stored {
            message,
            size,
            accepted_at: self.clock.now(),
            _space: space.message,
        });
        let entries = space
            .places
            .into_iter()
            .map(|place| Entry::new(Arc::clone(&stored), place));
        match settings.when_full {
            WhenFull::DropOldest => {
                for (queue, entry) in queues.iter().zip(entries) {
                    let (shed, wake) = queue.lock().push(entry, &settings);
                    self.queues.counters.add_shed(shed);
                    wake.wake();
                }
            }
            WhenFull::Reject => {
                reserve_all(&queues, size, &settings)?;
                for (queue, entry) in queues.iter().zip(entries) {
                    let wake = queue.lock().push_reserved(entry);
                    wake.wake();
                }
            }
        }
        Ok(())
    }

    fn space(&self, size: usize, places: usize, when_full: WhenFull) -> Result<Space, Refused> {
        let needed = size + MESSAGE_OVERHEAD + places * ENTRY_COST;
        let limit = self.budget.limit();
        if needed > limit {
            return Err(Refused::TooLarge {
                limit: limit.saturating_sub(needed - size),
            });
        }
        loop {
            if let Some(space) = self.try_space(size, places) {
                return Ok(space);
            }
            match when_full {
                WhenFull::DropOldest if self.queues.shed_from_largest(needed) => {}
                WhenFull::DropOldest | WhenFull::Reject => return Err(Refused::OutOfMemory),
            }
        }
    }

    fn try_space(&self, size: usize, places: usize) -> Option<Space> {
        Some(Space {
            message: self.budget.reserve(size + MESSAGE_OVERHEAD)?,
            places: (0..places)
                .map(|_| self.budget.reserve(ENTRY_COST))
                .collect::<Option<_>>()?,
        })
    }
}

/// Reserves room in all queues, or in none.
fn reserve_all(
    queues: &[Arc<SharedQueue>],
    size: usize,
    settings: &MemorySettings,
) -> Result<(), Refused> {
    for (n, queue) in queues.iter().enumerate() {
        if !queue.lock().reserve(size, settings) {
            for reserved in queues.iter().take(n) {
                reserved.lock().unreserve(size);
            }
            return Err(Refused::Full);
        }
    }
    Ok(())
}
