//! The receiver.
use crate::{
    handle::{Phase, Shared},
    listen::Accept,
};
use std::sync::Arc;

pub(crate) async fn run(_shard: usize, shared: Arc<Shared>, _accept: Box<dyn Accept>) {
    let mut phase = shared.phase.subscribe();
    let _closed = phase.wait_for(|p| *p >= Phase::Draining).await;
}
/// A receiver alone.
#[derive(Debug)]
pub struct MessageReceiver;
