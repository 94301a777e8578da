//! The store's changes as kube-runtime's watcher would tell them.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt as _, stream};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    Shared,
    store::{Change, What},
};
use crate::source::{Kind, Watch};

struct Following {
    shared: Arc<Shared>,
    kind: Option<Kind>,
    changes: Option<broadcast::Receiver<Change>>,
    waiting: VecDeque<Event<Arc<Value>>>,
}

/// Of one kind (none: Namespaces).
pub(super) fn follow<K>(shared: &Arc<Shared>, kind: Option<Kind>) -> Watch<K>
where
    K: DeserializeOwned + Send + 'static,
{
    let following = Following {
        shared: Arc::clone(shared),
        kind,
        changes: None,
        waiting: VecDeque::new(),
    };
    stream::unfold(following, |mut following| async {
        loop {
            let event = following.next().await;
            if let Some(event) = decoded(event) {
                return Some((Ok(event), following));
            }
        }
    })
    .boxed()
}

impl Following {
    async fn next(&mut self) -> Event<Arc<Value>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let Some(changes) = &mut self.changes else {
                self.list();
                continue;
            };
            match changes.recv().await {
                Ok(change) if change.kind == self.kind => {
                    return match change.what {
                        What::Applied => Event::Apply(change.object),
                        What::Deleted => Event::Delete(change.object),
                    };
                }
                Ok(_) => {}
                // Too far behind: from the list again, as an API server has it.
                Err(RecvError::Lagged(_)) => self.changes = None,
                // Cannot be: the store lives as long as this does. A watch never ends.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn list(&mut self) {
        let (objects, changes) = self.shared.store().follow(self.kind);
        self.changes = Some(changes);
        self.waiting.push_back(Event::Init);
        self.waiting
            .extend(objects.into_iter().map(Event::InitApply));
        self.waiting.push_back(Event::InitDone);
    }
}

fn decoded<K: DeserializeOwned>(event: Event<Arc<Value>>) -> Option<Event<K>> {
    let decode = |object: Arc<Value>| match serde_json::from_value(Value::clone(&object)) {
        Ok(object) => Some(object),
        // An object of ours is guarded; only its metadata could be at fault, and that was checked.
        Err(error) => {
            tracing::error!(%error, "an object could not be decoded");
            None
        }
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(decode(object)?),
        Event::Apply(object) => Event::Apply(decode(object)?),
        Event::Delete(object) => Event::Delete(decode(object)?),
    })
}
