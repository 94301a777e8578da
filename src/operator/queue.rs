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
    /// Those too that were taken out and whose look has not begun.
    depth: Mutex<HashSet<ObjectRef<K>>>,
    added: Notify,
}

impl<K: Lookup<DynamicType = ()>> Default for Queue<K> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            depth: Mutex::default(),
            added: Notify::new(),
        }
    }
}

impl<K: Lookup<DynamicType = ()> + 'static> Queue<K> {
    /// Has it looked at soon.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        self.depth().insert(object.clone());
        self.lock().insert(object);
        self.added.notify_one();
    }

    /// Its look begins, or there is nothing to look at.
    pub(crate) fn begun(&self, object: &ObjectRef<K>) {
        self.depth().remove(object);
    }

    /// How many wait for their look to begin.
    pub(crate) fn len(&self) -> usize {
        self.depth().len()
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

    fn depth(&self) -> MutexGuard<'_, HashSet<ObjectRef<K>>> {
        self.depth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use busway_api::Channel;
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_taken_out_waits_until_its_look_begins() {
        let queue = Arc::new(Queue::<Channel>::default());
        let object = |name: &str| ObjectRef::new(name).within("shop");
        for name in ["a", "b", "a"] {
            queue.add(object(name));
        }
        assert_eq!(queue.len(), 2);
        let mut stream = Box::pin(Arc::clone(&queue).stream());
        let first = stream.next().await;
        stream.next().await;
        assert_eq!(queue.len(), 2, "nobody looks at them yet");
        queue.begun(first.as_ref().unwrap_or(&object("?")));
        assert_eq!(queue.len(), 1);
    }
}
