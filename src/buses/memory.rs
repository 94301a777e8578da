//! The memory bus: a bounded queue per subscription, in this process.
//!
//! A 202 means that the message is in this process's memory. One subscription's full queue changes
//! nothing for another, but where the admin chose `whenFull: reject`.

mod config;
mod consume;
mod error;
mod handout;
mod provision;
mod publish;
mod queue;
mod queues;
mod stats;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use busway_core::{
    Bus, ChannelRef, SubscriptionRef,
    budget::MemoryBudget,
    bus::{
        Backlog, BusError, BusSpec, ChannelSpec, Credit, Deliveries, HookError, Profile,
        PublishError, SubscriptionSpec,
    },
    world::Clock,
};
use busway_message::Message;

use handout::Handout;
use provision::Topology;
use queue::Queue;
use queues::Queues;
pub use stats::Stats;

/// Carries messages in bounded queues of this process.
pub struct MemoryBus {
    queues: Arc<Queues>,
    budget: MemoryBudget,
    handout: Handout,
    clock: Arc<dyn Clock>,
}

/// One subscription's queue, shared by publishers and its consumers. The lock is held for one step
/// of the queue, never across an await.
#[derive(Debug, Default)]
struct SharedQueue(Mutex<Queue>);

impl SharedQueue {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBus {
    /// A bus without channels. `budget` is the process's: who receives bodies should share it.
    #[must_use]
    pub fn new(budget: MemoryBudget, clock: Arc<dyn Clock>) -> Self {
        let queues = Arc::new(Queues::new(budget.clone()));
        let relief = Arc::downgrade(&queues);
        budget.relieved_by(relief);
        Self {
            queues,
            handout: Handout::new(budget.clone()),
            budget,
            clock,
        }
    }

    /// What it holds and what it ended by itself, for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.queues.stats()
    }

    fn read(&self) -> RwLockReadGuard<'_, Topology> {
        self.queues.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Topology> {
        self.queues.write()
    }

    fn queue(&self, subscription: &SubscriptionRef) -> Result<Arc<SharedQueue>, BusError> {
        self.read()
            .queue(subscription)
            .cloned()
            .ok_or(BusError::UnknownSubscription)
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn profile(&self) -> Profile {
        config::profile()
    }

    async fn sync_bus(&self, bus: &BusSpec) -> Result<(), HookError> {
        self.apply(bus);
        Ok(())
    }

    async fn provision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let gone = self.write().provision(channel);
        self.discard(gone);
        Ok(())
    }

    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let gone = self.write().unprovision(channel);
        self.discard(gone);
        Ok(())
    }

    async fn subscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        let gone = self.write().subscribe(subscription)?;
        self.discard(gone);
        Ok(())
    }

    async fn unsubscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        let gone = self.write().unsubscribe(subscription);
        self.discard(gone);
        Ok(())
    }

    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        self.store(channel, message).map_err(PublishError::from)
    }

    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> Result<Deliveries, BusError> {
        let queue = self.queue(subscription)?;
        Ok(consume::deliveries(
            queue,
            credit,
            self.handout.clone(),
            Arc::clone(&self.clock),
        ))
    }

    async fn backlog(&self, subscription: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        Ok(Some(self.queue(subscription)?.lock().backlog()))
    }
}

#[cfg(test)]
mod tests;
