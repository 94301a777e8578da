//! What every reconcile is given.

use std::{sync::Arc, time::Duration};

use kube::Client;

use super::{
    apply::Applied,
    args::Settings,
    bus::{Admitted, Turn},
    error::Error,
    events::Events,
    metrics::Metrics,
    stores::{Queues, Stores},
};

/// How long one call may take. The API server gives up on a write after 34 s at most; who retries need not wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What every reconcile is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) client: NoDebug<Client>,
    pub(crate) settings: Settings,
    pub(crate) stores: Arc<Stores>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) applied: Applied,
    pub(crate) turn: Turn,
    pub(crate) admitted: Admitted,
}

/// A client, which has no Debug of its own.
pub(crate) struct NoDebug<T>(pub(crate) T);

impl<T> std::fmt::Debug for NoDebug<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Context {
    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client.0
    }

    /// One call, within a bound. `what` is told in errors.
    pub(crate) async fn call<T>(
        &self,
        what: &str,
        work: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<T, Error> {
        match tokio::time::timeout(CALL_TIMEOUT, work).await {
            Ok(done) => done.map_err(|error| Error::of(what, &error)),
            Err(_) => Err(Error::Unavailable {
                what: what.to_owned(),
                message: format!("no answer within {CALL_TIMEOUT:?}"),
            }),
        }
    }
}
