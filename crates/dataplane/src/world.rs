//! What a data plane has of the outside world, as parameters.

use std::sync::Arc;

use busway_core::world::{Clock, Entropy, SystemClock, SystemEntropy};
use busway_message::MessageId;

use crate::{
    connect::Network,
    observer::{Event, Observer},
};

/// Clock, randomness, network and who watches. Timers are tokio's.
#[derive(Clone)]
pub struct World {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter, message ids, span ids.
    pub entropy: Arc<dyn Entropy>,
    /// How names are looked up and connections opened.
    pub network: Network,
    /// Who is told of each step of each message; usually nobody.
    pub observer: Option<Arc<dyn Observer>>,
}

impl World {
    /// The machine's clock and randomness, this network, and no observer.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            network,
            observer: None,
        }
    }

    /// The same, watched.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Tells the observer, if there is one; only then the event is made.
    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.observer {
            observer.observe(&event());
        }
    }

    pub(crate) fn message_id(&self) -> MessageId {
        let since_epoch = self
            .clock
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        MessageId::new(millis, self.random128())
    }

    pub(crate) fn random128(&self) -> u128 {
        u128::from(self.entropy.next()) << 64 | u128::from(self.entropy.next())
    }
}
