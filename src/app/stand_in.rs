//! Buses that carry nothing, where dev mode needs one all the same.

use async_trait::async_trait;
use busway_core::{
    Bus, BusRef, ChannelRef, SubscriptionRef,
    bus::{
        BusError, BusSpec, Credit, Deliveries, Durability, HookError, Profile, PublishError, Scope,
    },
};
use busway_message::Message;

/// A bus that `busway dev` does not carry: a third party's, in whose place it says how to run it.
pub(crate) struct NotInDev(pub(crate) BusRef);

/// The bus of the Monitor that only tells of objects which no bus owns.
pub(crate) struct Nothing;

fn profile() -> Profile {
    Profile::plain(Scope::PerReplica, Durability::Memory)
}

#[async_trait]
impl Bus for NotInDev {
    fn profile(&self) -> Profile {
        profile()
    }

    async fn sync_bus(&self, bus: &BusSpec) -> Result<(), HookError> {
        let flag = match self.0 {
            BusRef::Namespaced { .. } => "--bus",
            BusRef::Cluster { .. } => "--cluster-bus",
        };
        Err(HookError::permanent(
            "NotInDev",
            format!(
                "busway dev does not run a third party's bus: run its own binary with {flag} {} --dir on this folder",
                bus.bus
            ),
        ))
    }

    async fn publish(&self, channel: &ChannelRef, _: Message) -> Result<(), PublishError> {
        Err(PublishError::UnknownChannel(channel.clone()))
    }

    async fn consume(&self, _: &SubscriptionRef, _: Credit) -> Result<Deliveries, BusError> {
        Err(BusError::UnknownSubscription)
    }
}

#[async_trait]
impl Bus for Nothing {
    fn profile(&self) -> Profile {
        profile()
    }

    async fn publish(&self, channel: &ChannelRef, _: Message) -> Result<(), PublishError> {
        Err(PublishError::UnknownChannel(channel.clone()))
    }

    async fn consume(&self, _: &SubscriptionRef, _: Credit) -> Result<Deliveries, BusError> {
        Err(BusError::UnknownSubscription)
    }
}
