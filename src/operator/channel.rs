//! Channel.

use std::sync::Arc;

use busway_api::Channel;
use kube::runtime::controller::Action;

use super::{
    context::Context,
    controller::Outcome,
    stores::{Change, Queues, Stores},
};

/// Has the channels looked at that a change is about.
pub(crate) fn touched(_change: &Change, _stores: &Stores, _queues: &Queues) {}

/// Makes the cluster as the channel wants it.
pub(crate) async fn reconcile(_channel: Arc<Channel>, _ctx: Arc<Context>) -> Outcome {
    Ok(Action::await_change())
}
