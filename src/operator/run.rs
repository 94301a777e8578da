//! The operator from its Lease to its end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{
    apply::Applied,
    args::Settings,
    bus, channel,
    context::{Context, NoDebug},
    controller,
    events::Events,
    lead::{Candidate, Ended, LeaseOptions},
    metrics::Metrics,
    stores::{Change, Queues, Stores},
    subscription, sweep,
};

/// Why the operator cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another operator works, or may: this process ends, and is started again by its kubelet.
    #[error("the Lease was lost")]
    LeaseLost,
    /// A part that works for ever ended.
    #[error("{0} ended by itself")]
    Ended(&'static str),
}

/// An operator that may be started.
#[derive(Debug)]
pub struct Operator {
    client: NoDebug<Client>,
    settings: Settings,
    lease_name: String,
    identity: String,
    queues: Arc<Queues>,
    metrics: Metrics,
    readiness: Readiness,
}

/// Whether an operator does what it is there for: one that waits for the Lease can take over, one that has it works
/// only when it has listed everything once.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether it does.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }

    fn lists(&self, lists: bool) {
        self.0.store(lists, Ordering::Relaxed);
    }
}

impl Operator {
    /// An operator; `identity` is unique to this process.
    #[must_use]
    pub fn new(client: Client, settings: Settings, lease_name: String, identity: String) -> Self {
        let queues = Arc::new(Queues::default());
        Self {
            client: NoDebug(client),
            settings,
            lease_name,
            identity,
            metrics: Metrics::new(Arc::clone(&queues)),
            queues,
            readiness: Readiness::default(),
        }
    }

    /// Whether it does what it is there for.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Waits for the Lease and works until told to stop; then gives the Lease back.
    ///
    /// # Errors
    /// When the Lease was lost, or a part that works for ever ended.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let client = self.client.0.clone();
        let options = LeaseOptions {
            namespace: self.settings.namespace.clone(),
            name: self.lease_name.clone(),
            identity: self.identity.clone(),
        };
        let mut candidate = Candidate::new(client, options);
        let Some(since) = candidate.acquire(&shutdown).await else {
            return Ok(());
        };
        let (metrics, release) = (self.metrics.clone(), CancellationToken::new());
        metrics.leads(true);
        let work = async {
            let done = self.work(shutdown).await;
            // Only when nothing is written any more may another begin.
            release.cancel();
            done
        };
        let hold = candidate.hold(since, &release);
        let (mut work, mut hold) = (Box::pin(work), Box::pin(hold));
        let ended = tokio::select! {
            done = &mut work => {
                hold.await;
                done
            }
            // What was under way is dropped: somebody else may do it already.
            Ended::Lost = &mut hold => Err(RunError::LeaseLost),
        };
        metrics.leads(false);
        ended
    }

    async fn work(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let client = self.client.0;
        let (stores, mut feeds) = Stores::start(
            &client,
            &self.settings.scope,
            Arc::clone(&self.queues),
            route,
        );
        let ctx = Arc::new(Context {
            events: Events::start(client.clone(), &self.identity),
            client: NoDebug(client),
            settings: self.settings,
            stores,
            queues: self.queues,
            metrics: self.metrics,
            applied: Applied::default(),
            turn: bus::Turn::default(),
            admitted: bus::Admitted::default(),
        });
        let controllers = async {
            self.readiness.lists(true);
            let ready = shutdown.run_until_cancelled(ctx.stores.ready()).await;
            match ready {
                None => return Ok(()),
                Some(Err(_)) => return Err(RunError::Ended("a watch")),
                Some(Ok(())) => {}
            }
            self.readiness.lists(false);
            tracing::info!("everything was listed; works");
            reconcile_all(&ctx, &shutdown).await;
            if shutdown.is_cancelled() {
                Ok(())
            } else {
                Err(RunError::Ended("a controller"))
            }
        };
        tokio::select! {
            done = controllers => done,
            _ = feeds.join_next() => Err(RunError::Ended("a watch")),
        }
    }
}

async fn reconcile_all(ctx: &Arc<Context>, shutdown: &CancellationToken) {
    let given = || (Arc::clone(ctx), shutdown.child_token());
    let (stores, queues) = (&ctx.stores, &ctx.queues);
    let swept = sweep::run(Arc::clone(ctx), shutdown.child_token());
    let ((a, at), (b, bt), (c, ct), (d, dt)) = (given(), given(), given(), given());
    tokio::join!(
        swept,
        controller::run(
            a,
            stores.buses.clone(),
            Arc::clone(&queues.buses),
            bus::reconcile,
            at
        ),
        controller::run(
            b,
            stores.cluster_buses.clone(),
            Arc::clone(&queues.cluster_buses),
            bus::reconcile,
            bt
        ),
        controller::run(
            c,
            stores.channels.clone(),
            Arc::clone(&queues.channels),
            channel::reconcile,
            ct
        ),
        controller::run(
            d,
            stores.subscriptions.clone(),
            Arc::clone(&queues.subscriptions),
            subscription::reconcile,
            dt
        ),
    );
}

/// Who is reconciled because of a change.
fn route(change: &Change, stores: &Stores, queues: &Queues) {
    bus::touched(change, stores, queues);
    channel::touched(change, stores, queues);
    subscription::touched(change, stores, queues);
}
