//! Writes statuses: several at once, one at a time for each object, the latest only.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use super::Text;
use crate::{
    queue::Queue,
    source::{ObjectKey, Source, WriteError},
    world::Key,
};

/// Writes at once: hides the latency of one API server, and is what its fairness allows anyway.
const CONCURRENCY: usize = 24;

/// A write that ended, and will not be tried again.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) key: Key,
    pub(crate) status: Text,
    pub(crate) result: Result<(), WriteError>,
}

type Attempt = (Key, ObjectKey, Text, Result<(), WriteError>);

pub(crate) struct Writer {
    source: Arc<dyn Source>,
    manager: Arc<str>,
    queue: Queue<Key>,
    waiting: HashMap<Key, (ObjectKey, Text)>,
    in_flight: FuturesUnordered<BoxFuture<'static, Attempt>>,
    /// Cleared while they were in flight: their end is nobody's business any more.
    forgotten: HashSet<Key>,
}

impl Writer {
    pub(crate) fn new(source: Arc<dyn Source>, manager: Arc<str>) -> Self {
        Self {
            source,
            manager,
            queue: Queue::new(CONCURRENCY),
            waiting: HashMap::new(),
            in_flight: FuturesUnordered::new(),
            forgotten: HashSet::new(),
        }
    }

    /// Takes a status to write; it replaces one of that object that was not begun yet.
    pub(crate) fn offer(&mut self, key: Key, object: ObjectKey, status: Text) {
        self.waiting.insert(key.clone(), (object, status));
        self.queue.add(&key);
    }

    /// Drops what was not begun.
    pub(crate) fn clear(&mut self) {
        self.forgotten
            .extend(self.waiting.drain().map(|(key, _)| key));
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    /// Begins what may begin.
    pub(crate) fn start(&mut self, now: Instant) {
        while let Some(key) = self.queue.take(now) {
            let Some((object, status)) = self.waiting.remove(&key) else {
                self.queue.done(&key);
                continue;
            };
            self.forgotten.remove(&key);
            let source = Arc::clone(&self.source);
            let manager = Arc::clone(&self.manager);
            let attempt = async move {
                let result = match status.value() {
                    Ok(value) => source.apply_status(&object, &manager, value).await,
                    Err(error) => Err(WriteError::Refused(error.to_string())),
                };
                (key, object, status, result)
            };
            self.in_flight.push(attempt.boxed());
        }
    }

    /// The next that ended; waits for ever while none is under way.
    pub(crate) async fn next(&mut self) -> Written {
        loop {
            let Some((key, object, status, result)) = self.in_flight.next().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let again = self.queue.done(&key);
            let transient = matches!(
                result,
                Err(WriteError::Conflict | WriteError::Unavailable(_))
            );
            if transient && !self.forgotten.remove(&key) {
                tracing::debug!(%object, ?result, "the status was not written and will be tried again");
                self.waiting.entry(key.clone()).or_insert((object, status));
                self.queue.retry(&key, Instant::now(), fastrand::u64(..));
                // The loop of the owner begins it when it is due.
                continue;
            }
            self.queue.reset(&key);
            if again {
                self.queue.add(&key);
            }
            return Written {
                key,
                status,
                result,
            };
        }
    }
}
