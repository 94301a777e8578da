//! Which channels and subscriptions exist here.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use busway_core::{
    ChannelRef, SubscriptionRef, Uid,
    bus::{ChannelSpec, HookError, MemorySettings, SubscriptionSpec},
};

use super::{MemoryBus, SharedQueue, error};

/// Channels, subscriptions and their queues. Each change hands out the queues that it removed, to be
/// discarded after the lock.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) settings: MemorySettings,
    channels: HashMap<ChannelRef, Channel>,
    subscriptions: HashMap<SubscriptionRef, Subscription>,
}

/// Queues that are no longer anybody's.
pub(super) type Gone = Vec<Arc<SharedQueue>>;

#[derive(Debug)]
struct Channel {
    uid: Uid,
    /// Shared with publishers, who use it outside the lock.
    queues: Arc<Vec<Arc<SharedQueue>>>,
}

#[derive(Debug)]
struct Subscription {
    uid: Uid,
    channel: ChannelRef,
    channel_uid: Uid,
    queue: Arc<SharedQueue>,
}

impl Topology {
    pub(super) fn provision(&mut self, spec: &ChannelSpec) -> Gone {
        if self.is_provisioned(&spec.channel, &spec.uid) {
            return Gone::new();
        }
        let gone = self.remove_channel(&spec.channel);
        self.channels.insert(
            spec.channel.clone(),
            Channel {
                uid: spec.uid.clone(),
                queues: Arc::default(),
            },
        );
        gone
    }

    pub(super) fn unprovision(&mut self, spec: &ChannelSpec) -> Gone {
        if self.is_provisioned(&spec.channel, &spec.uid) {
            self.remove_channel(&spec.channel)
        } else {
            Gone::new()
        }
    }

    pub(super) fn subscribe(&mut self, spec: &SubscriptionSpec) -> Result<Gone, HookError> {
        if !self.is_provisioned(&spec.channel, &spec.channel_uid) {
            return Err(error::not_provisioned(&spec.channel));
        }
        if let Some(old) = self.subscriptions.get(&spec.subscription)
            && old.uid == spec.uid
            && old.channel_uid == spec.channel_uid
        {
            return Ok(Gone::new());
        }
        let gone = self.remove_subscription(&spec.subscription);
        let queue = Arc::<SharedQueue>::default();
        if let Some(channel) = self.channels.get_mut(&spec.channel) {
            Arc::make_mut(&mut channel.queues).push(Arc::clone(&queue));
        }
        self.subscriptions.insert(
            spec.subscription.clone(),
            Subscription {
                uid: spec.uid.clone(),
                channel: spec.channel.clone(),
                channel_uid: spec.channel_uid.clone(),
                queue,
            },
        );
        Ok(gone)
    }

    pub(super) fn unsubscribe(&mut self, spec: &SubscriptionSpec) -> Gone {
        match self.subscriptions.get(&spec.subscription) {
            Some(known) if known.uid == spec.uid => self.remove_subscription(&spec.subscription),
            _ => Gone::new(),
        }
    }

    /// What a message to this channel goes into.
    pub(super) fn fan_out(&self, channel: &ChannelRef) -> Option<Arc<Vec<Arc<SharedQueue>>>> {
        self.channels.get(channel).map(|c| Arc::clone(&c.queues))
    }

    pub(super) fn queue(&self, subscription: &SubscriptionRef) -> Option<&Arc<SharedQueue>> {
        self.subscriptions.get(subscription).map(|s| &s.queue)
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<SharedQueue>> {
        self.subscriptions.values().map(|s| &s.queue)
    }

    fn is_provisioned(&self, channel: &ChannelRef, uid: &Uid) -> bool {
        self.channels.get(channel).is_some_and(|c| c.uid == *uid)
    }

    /// A channel that goes takes along what is still subscribed to it.
    fn remove_channel(&mut self, channel: &ChannelRef) -> Gone {
        let Some(old) = self.channels.remove(channel) else {
            return Gone::new();
        };
        self.subscriptions
            .retain(|_, s| s.channel != *channel || s.channel_uid != old.uid);
        Arc::unwrap_or_clone(old.queues)
    }

    fn remove_subscription(&mut self, subscription: &SubscriptionRef) -> Gone {
        let Some(old) = self.subscriptions.remove(subscription) else {
            return Gone::new();
        };
        if let Entry::Occupied(mut channel) = self.channels.entry(old.channel) {
            Arc::make_mut(&mut channel.get_mut().queues)
                .retain(|queue| !Arc::ptr_eq(queue, &old.queue));
        }
        vec![old.queue]
    }
}

impl MemoryBus {
    /// Ends the streams of queues that are gone, and counts what was in them.
    pub(super) fn discard(&self, gone: Gone) {
        for queue in gone {
            let closed = queue.lock().close();
            self.queues.counters.add_discarded(closed.discarded);
            closed.wake.wake();
        }
    }
}
