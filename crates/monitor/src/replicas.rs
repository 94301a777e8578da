//! What the Monitor asks of the other replicas of its bus.

use std::net::IpAddr;

use busway_core::Uid;
use tokio::sync::watch;

/// The other ready replicas of the bus, as far as this process knows them.
pub trait Replicas: Send + Sync + 'static {
    /// Those of them that do not serve an object at this generation or a later one, by name; empty
    /// when all do, or when there are none.
    fn without(&self, object: &Uid, generation: i64) -> Vec<String>;

    /// Whether any of them still serves an object, at whatever generation.
    fn any_serves(&self, object: &Uid) -> bool;

    /// How many there are; nothing while that is not known yet.
    fn ready(&self) -> Option<usize>;

    /// Where they are, also those that are not ready, sorted. Subscriptions may not dial what is not
    /// for messages there.
    fn addresses(&self) -> Vec<IpAddr>;

    /// Changes when an answer may have changed.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// No other replicas: a bus of one process.
#[derive(Debug)]
pub struct Alone(watch::Sender<u64>);

impl Default for Alone {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Replicas for Alone {
    fn without(&self, _: &Uid, _: i64) -> Vec<String> {
        Vec::new()
    }

    fn any_serves(&self, _: &Uid) -> bool {
        false
    }

    fn ready(&self) -> Option<usize> {
        Some(0)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}
