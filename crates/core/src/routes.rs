//! The Routes snapshot: what one replica accepts and delivers, immutable once published.

use std::{collections::HashMap, sync::Arc, time::Duration};

use busway_message::AttributeName;
use http::HeaderName;

use crate::{
    ChannelRef, SubscriptionRef, Uid, address::Destination, egress::Egress, filter::Filter,
    policy::DeliveryPolicy,
};

/// Everything a data plane needs to know of one bus's resources.
///
/// One writer (the Monitor) publishes whole snapshots; channels and subscriptions that did not
/// change keep their `Arc`, so that a reader finds what did by comparing pointers.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Whether a first full load has happened; before it a receiver answers 503, never 404.
    pub loaded: bool,
    /// How the receiver of this bus behaves.
    pub receiver: Arc<ReceiverSettings>,
    /// Which addresses its subscriptions may dial.
    pub egress: Arc<Egress>,
    /// The channels that exist. What is deleted, or of another bus, is not here.
    pub channels: HashMap<ChannelRef, Arc<ChannelRoute>>,
}

/// One channel.
#[derive(Clone, Debug)]
pub struct ChannelRoute {
    /// Its name.
    pub channel: ChannelRef,
    /// Its identity.
    pub uid: Uid,
    /// The generation that this route was made of.
    pub generation: i64,
    /// Whether messages are taken.
    pub accepting: Accepting,
    /// What its messages are delivered to, in no particular order.
    pub subscriptions: Vec<Arc<SubscriptionRoute>>,
}

/// Whether a channel takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// It does.
    Yes,
    /// It is not provisioned yet: 503.
    NotProvisioned,
    /// Its namespace may no longer put channels on the bus: 403. What it took is delivered still.
    Revoked,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionRoute {
    /// Its name.
    pub subscription: SubscriptionRef,
    /// Its identity; another one is another subscription, and nothing of the old is left.
    pub uid: Uid,
    /// The generation that this route was made of.
    pub generation: i64,
    /// The channel it is of.
    pub channel: ChannelRef,
    /// Where messages go.
    pub subscriber: Destination,
    /// Where replies go.
    pub reply_to: Option<Destination>,
    /// Where dead letters go.
    pub dead_letter_sink: Option<Destination>,
    /// Which messages it gets.
    pub filter: Arc<Filter>,
    /// What its messages are ordered by: those of one value are delivered one after the other.
    pub ordering: Option<AttributeName>,
    /// How it is delivered.
    pub policy: DeliveryPolicy,
    /// Whether it is delivered at all now.
    pub flow: Flow,
}

/// Whether a subscription's messages are attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are.
    Running,
    /// `paused: true`: running attempts finish, then nothing is attempted.
    Paused,
    /// Its last edit made it invalid: as paused, until it is valid again.
    Held,
}

/// How the receiver of a bus behaves (`spec.server`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSettings {
    /// The largest body, in bytes.
    pub max_body: usize,
    /// How long the request line and headers may take.
    pub header_timeout: Duration,
    /// How long the body may take.
    pub body_timeout: Duration,
    /// How many channels one message may go through.
    pub max_hops: u32,
    /// Headers kept beside the built-in list.
    pub keep_headers: Vec<HeaderName>,
    /// Connections that this process keeps, both ways (`limits.connections`).
    pub max_connections: usize,
    /// Bytes of messages that this process holds (`limits.memory`).
    pub max_memory: usize,
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        Self {
            max_body: 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_hops: 32,
            keep_headers: Vec::new(),
            max_connections: 8192,
            max_memory: 256 * 1024 * 1024,
        }
    }
}

impl Routes {
    /// The route of a channel, by its reference or by its display form.
    #[must_use]
    pub fn channel(&self, channel: &str) -> Option<&Arc<ChannelRoute>> {
        self.channels.get(channel)
    }

    /// Every subscription.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Arc<SubscriptionRoute>> {
        self.channels.values().flat_map(|c| c.subscriptions.iter())
    }
}
