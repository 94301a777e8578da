//! What a bus that keeps messages in an engine needs again and again.

use std::{
    fmt::Display,
    io,
    pin::pin,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use busway_core::bus::{BusError, Deliveries, Delivery, HookError, PublishError};
use busway_message::Message;
use futures::{StreamExt as _, stream::unfold};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{Notify, mpsc, oneshot};

/// Calls that wait for a [`Blocking`] value; more wait at their own caller.
const MAX_WAITING: usize = 1024;

/// What a sender is told to wait while the engine is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The engine is away, or failed: worth another try, whatever was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl Failed {
    /// A failure with the words of an engine's own error; they must hold no secret.
    pub fn new(error: impl Display) -> Self {
        Self(error.to_string())
    }
}

impl From<Failed> for HookError {
    fn from(Failed(why): Failed) -> Self {
        Self::transient("EngineFailed", why)
    }
}

impl From<Failed> for BusError {
    fn from(Failed(why): Failed) -> Self {
        Self::Failed(why)
    }
}

impl From<Failed> for PublishError {
    fn from(Failed(why): Failed) -> Self {
        Self::Unavailable {
            after: RETRY_AFTER,
            why,
        }
    }
}

type Work<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A value whose calls block, owned by a thread of its own, since a bus must not block. Cloning
/// shares it; the thread ends with the last clone.
#[derive(Debug)]
pub struct Blocking<T>(mpsc::Sender<Work<T>>);

impl<T> Clone for Blocking<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Blocking<T> {
    /// Gives `value` to a thread of this name.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, mut value: T) -> io::Result<Self> {
        let (sender, mut waiting) = mpsc::channel::<Work<T>>(MAX_WAITING);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(work) = waiting.blocking_recv() {
                    work(&mut value);
                }
            })?;
        Ok(Self(sender))
    }

    /// Does `work` on the value. Cancelled, it may or may not be done.
    ///
    /// # Errors
    /// When the thread is gone, because earlier work panicked.
    pub async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Failed> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |value: &mut T| drop(reply.send(work(value))));
        let gone = || Failed::new("the thread of the engine is gone");
        self.0.send(work).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Has `work` done some time later; for `release` and `drop`, which must not wait. Left undone
    /// when very much is waiting, or the thread is gone.
    pub fn call_later(&self, work: impl FnOnce(&mut T) + Send + 'static) {
        drop(self.0.try_send(Box::new(work)));
    }
}

/// One consumer of an engine that does not push: it is asked again and again.
#[async_trait]
pub trait Taker: Send + Sync + 'static {
    /// The next message that is due, held from now on; nothing while there is none, or the credit
    /// is used up. [`BusError::UnknownSubscription`] ends the stream without an error.
    async fn take(self: Arc<Self>) -> Result<Option<Delivery>, BusError>;

    /// The stream was dropped: what it gave out is to be handed back. Must not block.
    fn stop(&self);
}

/// What a [`Taker`] takes, as a stream. When there was nothing it is asked again as soon as its
/// `changed` is notified, and after `every`, for what other processes did and what became due.
pub fn taken<T: Taker>(taker: Arc<T>, changed: fn(&T) -> &Notify, every: Duration) -> Deliveries {
    unfold(Stopping(taker), move |taker| async move {
        let asked = Arc::clone(&taker.0);
        loop {
            // Before the look, so that no change between look and wait is missed.
            let mut change = pin!(changed(&asked).notified());
            change.as_mut().enable();
            match Arc::clone(&asked).take().await {
                Ok(None) => drop(tokio::time::timeout(every, change).await),
                Err(BusError::UnknownSubscription) => return None,
                taken => return Some((taken.transpose()?, taker)),
            }
        }
    })
    .boxed()
}

/// Stops a taker when its stream is dropped.
struct Stopping<T: Taker>(Arc<T>);

impl<T: Taker> Drop for Stopping<T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A message as bytes: one `name:value` line a header, an empty line, the body.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.size() + 4 * message.headers().len() + 1);
    for (name, value) in message.headers() {
        // Neither a name nor a value has a line feed in it, and a name no colon.
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.push(b'\n');
    bytes.extend_from_slice(message.body());
    bytes
}

/// Reads what [`encode`] wrote; nothing when it is something else.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Message> {
    let mut headers = HeaderMap::new();
    let mut rest = bytes;
    loop {
        let (line, after) = rest.split_at_checked(rest.iter().position(|b| *b == b'\n')?)?;
        rest = after.get(1..)?;
        if line.is_empty() {
            return Some(Message::new(headers, rest.to_vec().into()));
        }
        let (name, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
        let name = HeaderName::from_bytes(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.get(1..)?).ok()?);
    }
}

/// A time in whole microseconds since 1970; what is earlier is 0.
#[must_use]
pub fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time of [`micros`].
#[must_use]
pub fn from_micros(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    };

    use busway_core::bus::{Fate, Settle, Settler};

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        for body in ["", "\n", "a:b\n\nc"] {
            let mut headers = HeaderMap::new();
            for value in ["", ": ", "a:b"] {
                headers.append("x-a", value.parse().unwrap());
            }
            headers.insert("x-b", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
            for headers in [HeaderMap::new(), headers] {
                let message = Message::new(headers, body.into());
                assert_eq!(decode(&encode(&message)), Some(message));
            }
        }
        for broken in ["", "a:b", "a:b\n", "a\n\n", ":\n\n"] {
            assert_eq!(decode(broken.as_bytes()), None, "{broken:?}");
        }
    }

    #[test]
    fn a_time_is_read_as_it_was_written_to_the_microsecond() {
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        assert_eq!(from_micros(micros(time)), time);
        assert_eq!(micros(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }

    /// Gives out numbers as messages, and says when it is stopped.
    #[derive(Default)]
    struct Numbers {
        given: Mutex<Vec<Option<u8>>>,
        looks: AtomicUsize,
        stopped: AtomicBool,
        changed: Notify,
    }

    #[async_trait]
    impl Taker for Numbers {
        async fn take(self: Arc<Self>) -> Result<Option<Delivery>, BusError> {
            self.looks.fetch_add(1, Relaxed);
            let next = self.given.lock().unwrap().pop();
            let number = match next {
                Some(Some(number)) => number,
                Some(None) => return Err(BusError::UnknownSubscription),
                None => return Ok(None),
            };
            Ok(Some(Delivery {
                message: Message::default().with_body(vec![number].into()),
                accepted_at: UNIX_EPOCH,
                attempts: 0,
                fate: Fate::Deliver,
                settle: Settle::new(Arc::new(Nobody), 0),
            }))
        }

        fn stop(&self) {
            self.stopped.store(true, Relaxed);
        }
    }

    struct Nobody;

    #[async_trait]
    impl Settler for Nobody {
        async fn done(&self, _: u64) -> Result<(), BusError> {
            Ok(())
        }
        async fn retry_at(&self, _: u64, _: SystemTime, _: u32) -> Result<(), BusError> {
            Ok(())
        }
        fn release(&self, _: u64) {}
        async fn extend(&self, _: u64, _: u32) -> Result<(), BusError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_taker_is_asked_again_after_a_change_and_after_a_while_and_is_told_of_the_end() {
        let every = Duration::from_secs(3600);
        let numbers = Arc::new(Numbers::default());
        let mut stream = taken(Arc::clone(&numbers), |numbers| &numbers.changed, every);
        let begin = tokio::time::Instant::now();
        let give = async {
            while numbers.looks.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            numbers.given.lock().unwrap().push(Some(7));
            numbers.changed.notify_waiters();
        };
        let (first, ()) = futures::join!(stream.next(), give);
        assert_eq!(first.unwrap().unwrap().message.body().as_ref(), [7]);
        assert!(begin.elapsed() < every, "nobody looked after the change");

        // Nobody tells of this one.
        let tell_nobody = async {
            while numbers.looks.load(Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
            numbers.given.lock().unwrap().push(Some(8));
        };
        let (second, ()) = futures::join!(stream.next(), tell_nobody);
        assert_eq!(second.unwrap().unwrap().message.body().as_ref(), [8]);
        assert!(begin.elapsed() >= every);

        numbers.given.lock().unwrap().push(None);
        assert!(
            stream.next().await.is_none(),
            "an unknown subscription ends the stream"
        );
        drop(stream);
        assert!(numbers.stopped.load(Relaxed));
    }

    #[tokio::test]
    async fn work_is_done_in_order_and_a_panic_is_an_error() {
        let log = Blocking::start("log", Vec::new()).unwrap();
        log.call_later(|log| log.push(1));
        assert_eq!(log.clone().call(|log| log.len()).await, Ok(1));
        let panicked = log.call(|_| panic!("broken")).await;
        assert!(panicked.is_err_and(|error| error.to_string().contains("gone")));
        assert!(log.call(|log| log.len()).await.is_err());
    }
}
