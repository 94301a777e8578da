//! Where messages go: to the planes of a data plane, or to a function.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use busway_core::{
    ChannelRef,
    bus::PublishError,
    routes::{Accepting, ReceiverSettings},
};
use busway_message::{KeepHeaders, Message};

use crate::{
    handle::Shared,
    metrics::{Counts, Family},
    plane::Plane,
    problem::Problem,
};

/// What a connection is bound by, before its channel is known.
pub(crate) struct Limits {
    pub(crate) header_timeout: Duration,
    pub(crate) max_connections: usize,
}

/// Finds channels.
pub(crate) trait Inbox: Send + Sync {
    fn limits(&self) -> Limits;

    /// What takes a channel's messages now.
    fn find(&self, channel: &ChannelRef) -> Result<Slot, Problem>;
}

/// What takes the messages of one channel.
pub(crate) struct Slot {
    pub(crate) settings: Arc<ReceiverSettings>,
    pub(crate) keep: Arc<KeepHeaders>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) counts: Option<Arc<Counts>>,
}

impl Slot {
    pub(crate) fn count(&self, family: Family, by: usize) {
        if let Some(counts) = &self.counts {
            counts.add(family, 0, u64::try_from(by).unwrap_or(u64::MAX));
        }
    }
}

/// Takes messages.
#[async_trait]
pub(crate) trait Sink: Send + Sync {
    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError>;
}

#[async_trait]
impl Sink for Plane {
    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        self.bus.publish(channel, message).await
    }
}

/// The planes of a data plane: a channel is looked up in each.
pub(crate) struct Planes {
    shared: Arc<Shared>,
    shard: usize,
}

impl Planes {
    pub(crate) const fn new(shared: Arc<Shared>, shard: usize) -> Self {
        Self { shared, shard }
    }
}

impl Inbox for Planes {
    fn limits(&self) -> Limits {
        let planes = self.shared.planes.load();
        let settings = planes
            .iter()
            .map(|plane| Arc::clone(&plane.peek().receiver));
        let merged = settings.reduce(|a, b| {
            Arc::new(ReceiverSettings {
                header_timeout: a.header_timeout.max(b.header_timeout),
                max_connections: a.max_connections.min(b.max_connections),
                ..ReceiverSettings::clone(&a)
            })
        });
        let merged = merged.unwrap_or_default();
        Limits {
            header_timeout: merged.header_timeout,
            max_connections: merged.max_connections,
        }
    }

    fn find(&self, channel: &ChannelRef) -> Result<Slot, Problem> {
        let planes = self.shared.planes.load();
        let mut all_loaded = !planes.is_empty();
        for plane in planes.iter() {
            let routes = plane.peek();
            all_loaded &= routes.loaded;
            let Some(route) = routes.channels.get(channel) else {
                continue;
            };
            return match route.accepting {
                Accepting::NotProvisioned => Err(Problem::NotProvisioned),
                Accepting::Revoked => Err(Problem::Revoked),
                Accepting::Yes => Ok(Slot {
                    settings: Arc::clone(&routes.receiver),
                    keep: Arc::clone(&plane.keep()),
                    sink: Arc::clone(plane) as Arc<dyn Sink>,
                    counts: Some(plane.counts(self.shard)),
                }),
            };
        }
        Err(if all_loaded {
            Problem::UnknownChannel
        } else {
            Problem::NotLoaded
        })
    }
}
