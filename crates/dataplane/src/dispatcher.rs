//! The dispatcher.
use crate::handle::{Phase, Shared};
use std::sync::Arc;

pub(crate) async fn run(_shard: usize, shared: Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    let _closed = phase.wait_for(|p| *p >= Phase::Draining).await;
}
/// A dispatcher alone.
#[derive(Debug)]
pub struct MessageDispatcher;
/// D.
#[derive(Debug)]
pub struct DispatchDefaults;
/// E.
#[derive(Debug)]
pub struct DispatchError;
