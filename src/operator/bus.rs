//! Bus and ClusterBus.

use std::sync::Arc;

use kube::runtime::controller::Action;

use super::{
    context::Context,
    controller::Outcome,
    object::Object,
    stores::{Change, Queues, Stores},
};

/// Has the buses looked at that a change is about.
pub(crate) fn touched(_change: &Change, _stores: &Stores, _queues: &Queues) {}

/// Makes the cluster as the bus wants it.
pub(crate) async fn reconcile<K: Object>(_bus: Arc<K>, _ctx: Arc<Context>) -> Outcome {
    Ok(Action::await_change())
}
