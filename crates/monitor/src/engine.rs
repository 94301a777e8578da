//! The one task that owns the world.

use std::sync::Arc;

use busway_core::{Bus, BusRef, SubscriptionRef, serving::DataPlane};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{monitor::Shown, options::Options, replicas::Replicas, source::Source};

/// What an engine is made of.
#[allow(dead_code, reason = "skeleton")]
pub(crate) struct Given {
    pub(crate) component: Arc<str>,
    pub(crate) bus_ref: BusRef,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) data_plane: Option<Arc<dyn DataPlane>>,
    pub(crate) replicas: Arc<dyn Replicas>,
    pub(crate) options: Arc<Options>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) concurrency: usize,
}

pub(crate) struct Engine {
    _given: Given,
}

impl Engine {
    pub(crate) fn new(given: Given, _: mpsc::Receiver<SubscriptionRef>) -> Self {
        Self { _given: given }
    }

    pub(crate) async fn run(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }
}
