//! Objects that are to be looked at, each once: bounded by the objects there are.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use kube::runtime::reflector::{Lookup, ObjectRef};
use tokio::sync::Notify;

/// Objects that are to be looked at.
#[derive(Debug)]
pub(crate) struct Queue<K: Lookup<DynamicType = ()>> {
    waiting: Mutex<HashSet<ObjectRef<K>>>,
    added: Notify,
}

impl<K: Lookup<DynamicType = ()>> Default for Queue<K> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            added: Notify::new(),
        }
    }
}

impl<K: Lookup<DynamicType = ()> + 'static> Queue<K> {
    /// Has it looked at soon.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        self.lock().insert(object);
        self.added.notify_one();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes them out one by one; never ends.
    pub(crate) fn stream(self: Arc<Self>) -> impl Stream<Item = ObjectRef<K>> + Send
    where
        K: Send + Sync,
    {
        stream::unfold((self, Vec::new()), async |(queue, mut taken)| {
            loop {
                if let Some(next) = taken.pop() {
                    return Some((next, (queue, taken)));
                }
                // A permit is kept for what is added between the look and the wait.
                taken.extend(queue.lock().drain());
                if taken.is_empty() {
                    queue.added.notified().await;
                }
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ObjectRef<K>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
