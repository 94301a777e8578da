//! The contract between Busway and whatever carries its messages.
//!
//! `docs/bus-contract.md` says it in full, for authors; the conformance suite runs it.

mod delivery;
mod error;
mod profile;
mod spec;

use std::time::SystemTime;

use async_trait::async_trait;
use busway_message::Message;
use futures::stream::BoxStream;

pub use delivery::{Credit, Deliveries, Delivery, Fate, Keeper, Settle, Settler};
pub use error::{BusError, HookError, PublishError, Retry};
pub use profile::{Capabilities, Durability, Ordering, Profile, Scope};
pub use spec::{BusSpec, ChannelSpec, MemorySettings, Retention, SubscriptionSpec, WhenFull};

use crate::{ChannelRef, SubscriptionRef, outcome::Cause};

/// The version of this contract. A change that breaks an author's bus raises it; what it replaces
/// stays for one minor version, marked deprecated.
pub const CONTRACT_VERSION: u32 = 1;

/// Accepted and not settled, of one subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages, those in flight included.
    pub count: u64,
    /// When the oldest was accepted.
    pub oldest: Option<SystemTime>,
    /// Taken by a consumer and not settled.
    pub in_flight: u64,
}

/// A message in a subscription's dead-letter store.
#[derive(Clone, Debug)]
pub struct StoredDeadLetter {
    /// Its place: what is given back to read on after it, or to remove it.
    pub cursor: String,
    /// When it was stored.
    pub stored_at: SystemTime,
    /// Why.
    pub cause: Cause,
    /// The message, marked with its last error.
    pub message: Message,
}

/// A message kept by a channel.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// The message.
    pub message: Message,
}

/// Something that carries messages from channels to subscriptions.
///
/// **Flow.** `sync_bus` comes first; then `provision` for each channel, `subscribe` for each
/// subscription of a provisioned channel; then `publish` and `consume`. `unsubscribe` comes before
/// `unprovision`.
///
/// **Guarantees (of the caller).** A hook is never run twice at once for one key in one process.
/// `unprovision` is called only when every subscription of the channel is unsubscribed.
///
/// **Assumptions (about the bus).** Every hook is idempotent, may be cancelled at any await, may be
/// repeated, and runs in parallel across keys. With [`Scope::Shared`], hooks of two processes may
/// overlap for the length of one lease.
///
/// **Caveats.** A hook that takes longer than 60 s, or panics, counts as failed and is repeated.
///
/// **Errors.** [`HookError`] says in words and a stable reason what is wrong, and whether trying
/// again can help.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// What this bus is and can do; constant after the first `sync_bus`.
    fn profile(&self) -> Profile;

    /// The bus's own settings were seen or have changed.
    ///
    /// **Flow.** First of all hooks; channels wait until it has succeeded once. **Caveats.** A later
    /// failure stops nothing that runs.
    async fn sync_bus(&self, bus: &BusSpec) -> Result<(), HookError> {
        let _ = bus;
        Ok(())
    }

    /// Creates what backs a channel.
    ///
    /// **Guarantees.** When it returns Ok, a `publish` would be stored. **Caveats.** It never adopts
    /// a store that carries another owner's mark.
    async fn provision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let _ = channel;
        Ok(())
    }

    /// Removes what backs a channel, unless [`ChannelSpec::retention`] is Retain.
    ///
    /// **Guarantees.** "Already gone" is success; it never deletes what `provision` did not create
    /// or adopt. **Caveats.** `parameters` may be those of an older generation.
    async fn unprovision(&self, channel: &ChannelSpec) -> Result<(), HookError> {
        let _ = channel;
        Ok(())
    }

    /// Creates what remembers how far a subscription is.
    ///
    /// **Guarantees.** When it returns Ok, messages published from then on will be consumed.
    async fn subscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        let _ = subscription;
        Ok(())
    }

    /// Removes what remembered how far a subscription is; its backlog is discarded.
    ///
    /// **Guarantees.** "Already gone" is success. **Assumptions.** Its consumers were dropped, or
    /// end by themselves when it is gone.
    async fn unsubscribe(&self, subscription: &SubscriptionSpec) -> Result<(), HookError> {
        let _ = subscription;
        Ok(())
    }

    /// Stores a message for every subscription of a channel.
    ///
    /// **Guarantees.** Ok only when it is as durable as [`Profile::durability`] says; a refused
    /// message is in no subscription. **Caveats.** Cancelled, it may or may not be stored.
    /// **Errors.** [`PublishError`], each with its HTTP status.
    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError>;

    /// Starts to deliver a subscription's messages.
    ///
    /// **Guarantees.** Never more unsettled than `credit`. Dropping the stream hands back whatever
    /// is not settled, without an attempt counted. **Caveats.** The stream ends, or yields an error
    /// and ends, when its consumer died: the dispatcher consumes again, with backoff.
    async fn consume(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> Result<Deliveries, BusError>;

    /// Stores a message, marked with its last error, in the subscription's dead-letter store.
    ///
    /// **Errors.** [`BusError::Unsupported`] where there is no such store (the default): the
    /// dispatcher then counts and logs the message.
    async fn dead_letter(
        &self,
        subscription: &SubscriptionRef,
        message: Message,
        cause: Cause,
    ) -> Result<(), BusError> {
        let _ = (subscription, message, cause);
        Err(BusError::Unsupported("dead_letter"))
    }

    /// Reads the dead-letter store after `cursor` (from the start without one), oldest first.
    async fn dead_letters(
        &self,
        subscription: &SubscriptionRef,
        cursor: Option<&str>,
    ) -> Result<BoxStream<'static, Result<StoredDeadLetter, BusError>>, BusError> {
        let _ = (subscription, cursor);
        Err(BusError::Unsupported("dead_letters"))
    }

    /// Removes one message from the dead-letter store, after it was redriven; "already gone" is
    /// success.
    async fn remove_dead_letter(
        &self,
        subscription: &SubscriptionRef,
        cursor: &str,
    ) -> Result<(), BusError> {
        let _ = (subscription, cursor);
        Err(BusError::Unsupported("dead_letters"))
    }

    /// What is accepted and not settled, where the bus knows it.
    async fn backlog(&self, subscription: &SubscriptionRef) -> Result<Option<Backlog>, BusError> {
        let _ = subscription;
        Ok(None)
    }

    /// The messages that a channel keeps, accepted from `from` up to `to`, oldest first.
    async fn history(
        &self,
        channel: &ChannelRef,
        from: SystemTime,
        to: SystemTime,
    ) -> Result<BoxStream<'static, Result<Recorded, BusError>>, BusError> {
        let _ = (channel, from, to);
        Err(BusError::Unsupported("history"))
    }

    /// Settles everything of a subscription accepted before `before`, or with [`Purge::DryRun`] only
    /// counts it.
    async fn purge(
        &self,
        subscription: &SubscriptionRef,
        before: SystemTime,
        mode: Purge,
    ) -> Result<u64, BusError> {
        let _ = (subscription, before, mode);
        Err(BusError::Unsupported("purge"))
    }
}

/// Whether a purge removes or counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Removes, and tells how many.
    Remove,
    /// Tells how many it would remove.
    DryRun,
}
