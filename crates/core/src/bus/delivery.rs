use std::{fmt, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use busway_message::Message;
use futures::stream::BoxStream;

use super::BusError;
use crate::outcome::Cause;

/// How much a consumer may hold that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Messages, at least 1.
    pub messages: usize,
    /// Bytes; one message may pass it, so that a large one is not stuck.
    pub bytes: usize,
}

/// A subscription's messages, as they become due. After an error it ends.
pub type Deliveries = BoxStream<'static, Result<Delivery, BusError>>;

/// One message of one subscription, held until it is settled.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// When a receiver accepted it.
    pub accepted_at: SystemTime,
    /// Attempts made before.
    pub attempts: u32,
    /// What is to be done with it.
    pub fate: Fate,
    /// How it is ended.
    pub settle: Settle,
}

/// What the bus wants done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is to be delivered.
    Deliver,
    /// The bus itself ended it (overflow, expiry): it goes to the dead-letter sink unattempted.
    /// Such messages are outside the credit; the bus bounds how many are out at once.
    DeadLetter(Cause),
}

/// What a bus implements once per consumer to end the deliveries that it gave out.
///
/// A token is the bus's own; each is ended once, by one of `done`, `retry_at` and `release`.
#[async_trait]
pub trait Settler: Send + Sync {
    /// The message is settled. Returns only when that is as durable as the bus; a settlement that
    /// is lost means redelivery, never loss.
    async fn done(&self, token: u64) -> Result<(), BusError>;

    /// Hands the message back, to be delivered again from `at` on, with this count of attempts
    /// stored. Called only where [`Profile::can_delay`](super::Profile) says so.
    async fn retry_at(&self, token: u64, at: SystemTime, attempts: u32) -> Result<(), BusError>;

    /// Hands the message back; not an attempt, and the stored count stays as it is. Must not block.
    fn release(&self, token: u64);

    /// The dispatcher still holds the message and has made so many attempts: stores the count, and
    /// keeps the engine from redelivering it. Called after each failed attempt of a message that is
    /// held for another, and at least every 20 s while one is held.
    async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError>;
}

/// Ends one delivery. Dropping it hands the message back, as [`Settle::release`] does.
pub struct Settle {
    settler: Option<Arc<dyn Settler>>,
    token: u64,
}

impl Settle {
    /// A handle for the delivery that `settler` knows by `token`.
    #[must_use]
    pub fn new(settler: Arc<dyn Settler>, token: u64) -> Self {
        Self {
            settler: Some(settler),
            token,
        }
    }

    /// Settles the message.
    ///
    /// # Errors
    /// When the settlement could not be stored: the message will be delivered again.
    pub async fn done(mut self) -> Result<(), BusError> {
        match self.settler.take() {
            Some(settler) => settler.done(self.token).await,
            None => Ok(()),
        }
    }

    /// Hands the message back until `at`, with `attempts` stored.
    ///
    /// # Errors
    /// When that could not be stored: the message will be delivered again, with a lower count.
    pub async fn retry_at(mut self, at: SystemTime, attempts: u32) -> Result<(), BusError> {
        match self.settler.take() {
            Some(settler) => settler.retry_at(self.token, at, attempts).await,
            None => Ok(()),
        }
    }

    /// Hands the message back; not an attempt.
    pub fn release(self) {
        drop(self);
    }

    /// A handle that keeps the message held, apart from this one that ends it.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        Keeper {
            settler: self.settler.clone(),
            token: self.token,
        }
    }

    /// Keeps the message, with `attempts` stored.
    ///
    /// # Errors
    /// When that could not be stored: after a crash the count may be lower.
    pub async fn extend(&self, attempts: u32) -> Result<(), BusError> {
        match &self.settler {
            Some(settler) => settler.extend(self.token, attempts).await,
            None => Ok(()),
        }
    }
}

/// Keeps a delivery held while another part of the dispatcher has its [`Settle`]; dropping it does
/// nothing.
#[derive(Clone)]
pub struct Keeper {
    settler: Option<Arc<dyn Settler>>,
    token: u64,
}

impl Keeper {
    /// As [`Settle::extend`].
    ///
    /// # Errors
    /// When the delivery has ended meanwhile ([`BusError::NotHeld`]), or as there.
    pub async fn extend(&self, attempts: u32) -> Result<(), BusError> {
        match &self.settler {
            Some(settler) => settler.extend(self.token, attempts).await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("token", &self.token)
            .finish()
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let Some(settler) = self.settler.take() {
            settler.release(self.token);
        }
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle")
            .field("token", &self.token)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::executor::block_on;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl Recorder {
        fn add(&self, what: String) {
            if let Ok(mut log) = self.0.lock() {
                log.push(what);
            }
        }
    }

    #[async_trait]
    impl Settler for Recorder {
        async fn done(&self, token: u64) -> Result<(), BusError> {
            self.add(format!("done {token}"));
            Ok(())
        }

        async fn retry_at(&self, token: u64, _: SystemTime, attempts: u32) -> Result<(), BusError> {
            self.add(format!("retry {token} {attempts}"));
            Ok(())
        }

        fn release(&self, token: u64) {
            self.add(format!("release {token}"));
        }

        async fn extend(&self, token: u64, attempts: u32) -> Result<(), BusError> {
            self.add(format!("extend {token} {attempts}"));
            Ok(())
        }
    }

    #[test]
    fn a_delivery_is_ended_once_and_dropping_hands_it_back() {
        let recorder = Arc::new(Recorder::default());
        let settle = |token| Settle::new(Arc::clone(&recorder) as Arc<dyn Settler>, token);
        block_on(async {
            let kept = settle(1);
            assert_eq!(kept.extend(1).await, Ok(()));
            assert_eq!(kept.done().await, Ok(()));
            assert_eq!(settle(2).retry_at(SystemTime::UNIX_EPOCH, 4).await, Ok(()));
            settle(3).release();
            drop(settle(4));
            // A future that is dropped before it ran has not settled anything.
            drop(settle(5).done());
        });
        let log = recorder.0.lock().map(|l| l.join(", ")).unwrap_or_default();
        assert_eq!(
            log,
            "extend 1 1, done 1, retry 2 4, release 3, release 4, release 5"
        );
    }
}
