//! Runs the reconciles of one kind: one at a time for an object, again with backoff after a failure. One object's
//! trouble never stops another's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::{FutureExt as _, StreamExt as _};
use kube::runtime::{
    controller::{self, Action},
    reflector::{ObjectRef, Store},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{context::Context, error::Error, object::Object, queue::Queue};

/// Reconciles of one kind at once: what hides an API server's latency, and what its fairness allows one client.
const CONCURRENCY: u16 = 16;

/// Objects whose failures are counted; past it, which takes many that were deleted while they failed, counts begin anew.
const MOST_FAILURES: usize = 100_000;

/// What became of a reconcile.
pub(crate) type Outcome = Result<Action, Error>;

/// Reconciles until the token is cancelled; what is under way then is ended first.
pub(crate) async fn run<K, Reconcile, Done>(
    ctx: Arc<Context>,
    store: Store<K>,
    queue: Arc<Queue<K>>,
    reconcile: Reconcile,
    shutdown: CancellationToken,
) where
    K: Object,
    Reconcile: Fn(Arc<K>, Arc<Context>) -> Done,
    Done: Future<Output = Outcome> + Send + 'static,
{
    for object in store.state() {
        queue.add(ObjectRef::from_obj(&*object));
    }
    let failures = Arc::new(Failures::default());
    let forget = Arc::clone(&failures);
    let (begun, nothing) = (Arc::clone(&queue), Arc::clone(&queue));
    let requests = queue
        .stream()
        .take_until(shutdown.cancelled_owned())
        .map(Ok::<_, std::convert::Infallible>);
    let start = |object: Arc<K>, ctx: Arc<Context>| {
        begun.begun(&ObjectRef::from_obj(&*object));
        let (work, failures) = (
            reconcile(Arc::clone(&object), Arc::clone(&ctx)),
            Arc::clone(&forget),
        );
        // A task, so that a panic ends this reconcile only.
        let task = AbortOnDropHandle::new(tokio::spawn(work));
        async move {
            let begun = Instant::now();
            let done = task.await.unwrap_or(Err(Error::Panicked));
            ctx.metrics.reconciled(K::KIND, begun.elapsed());
            if done.is_ok() {
                failures.forget(object.uid_or_empty());
            }
            done
        }
        .boxed()
    };
    let after = move |object: Arc<K>, error: &Error, ctx: Arc<Context>| {
        ctx.metrics.failed(K::KIND, error.reason());
        let object_told = object.told();
        if error.waits_for_change() {
            tracing::info!(object = object_told, %error, "waits for a change");
            return Action::await_change();
        }
        let pause = error.pause(failures.another(object.uid_or_empty()));
        tracing::warn!(object = object_told, reason = error.reason(), %error, ?pause, "will be tried again");
        Action::requeue(pause)
    };
    let config = controller::Config::default().concurrency(CONCURRENCY);
    controller::applier(start, after, ctx, store, requests, config)
        .for_each(|done| {
            if let Err(controller::Error::ObjectNotFound(object)) = done {
                nothing.begun(&object.into_kind_unchecked(()));
            }
            std::future::ready(())
        })
        .await;
}

/// How often each object failed in a row, by its UID.
#[derive(Debug, Default)]
struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    fn another(&self, uid: &str) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_FAILURES {
            all.clear();
        }
        let count = all.entry(uid.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    fn forget(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}
