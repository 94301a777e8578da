//! What is done for a key outside the owner task: one hook, or one small write.

use std::{collections::HashMap, sync::Arc, time::Duration};

use busway_api::reason::Reason;
use busway_core::{
    Bus,
    bus::{BusSpec, ChannelSpec, HookError, SubscriptionSpec},
};
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::{
    source::{FinalizerChange, ObjectKey, Source, WriteError},
    world::Key,
};

/// One call of a hook.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Call {
    SyncBus(Arc<BusSpec>),
    Provision(Arc<ChannelSpec>),
    Unprovision(Arc<ChannelSpec>),
    Subscribe(Arc<SubscriptionSpec>),
    Unsubscribe(Arc<SubscriptionSpec>),
}

impl Call {
    /// The action of an event.
    pub(crate) const fn action(&self) -> &'static str {
        match self {
            Self::SyncBus(_) => "SyncBus",
            Self::Provision(_) => "Provision",
            Self::Unprovision(_) => "Unprovision",
            Self::Subscribe(_) => "Subscribe",
            Self::Unsubscribe(_) => "Unsubscribe",
        }
    }
}

/// What is done for a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Job {
    Hook(Call),
    Finalizer {
        object: ObjectKey,
        resource_version: String,
        finalizer: &'static str,
        change: FinalizerChange,
    },
    /// Puts a channel that names no bus on this one, the default.
    TakeUnassigned {
        object: ObjectKey,
        resource_version: String,
        cluster_bus: String,
    },
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Hook(Result<(), HookError>),
    Write(Result<(), WriteError>),
    /// The Lease was lost, or the process ends.
    Cancelled,
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    pub(crate) job: Job,
    pub(crate) generation: i64,
    pub(crate) outcome: Outcome,
}

/// The jobs that run.
pub(crate) struct Jobs {
    bus: Arc<dyn Bus>,
    source: Arc<dyn Source>,
    timeout: Duration,
    set: JoinSet<Outcome>,
    running: HashMap<Id, (Key, Job, i64, AbortHandle)>,
}

impl Jobs {
    pub(crate) fn new(bus: Arc<dyn Bus>, source: Arc<dyn Source>, timeout: Duration) -> Self {
        Self {
            bus,
            source,
            timeout,
            set: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    pub(crate) fn start(&mut self, key: Key, job: Job, generation: i64) {
        let bus = Arc::clone(&self.bus);
        let source = Arc::clone(&self.source);
        let timeout = self.timeout;
        let task = job.clone();
        let handle = self.set.spawn(async move {
            match task {
                Job::Hook(call) => Outcome::Hook(run_hook(&*bus, &call, timeout).await),
                Job::Finalizer {
                    object,
                    resource_version,
                    finalizer,
                    change,
                } => Outcome::Write(
                    source
                        .change_finalizer(&object, &resource_version, finalizer, change)
                        .await,
                ),
                Job::TakeUnassigned {
                    object,
                    resource_version,
                    cluster_bus,
                } => Outcome::Write(
                    source
                        .set_cluster_bus(&object, &resource_version, &cluster_bus)
                        .await,
                ),
            }
        });
        let id = handle.id();
        self.running.insert(id, (key, job, generation, handle));
    }

    /// The next that ended; waits for ever while none runs.
    pub(crate) async fn next(&mut self) -> Ended {
        loop {
            let Some(joined) = self.set.join_next_with_id().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let (id, outcome) = match joined {
                Ok((id, outcome)) => (id, outcome),
                Err(error) if error.is_cancelled() => (error.id(), Outcome::Cancelled),
                Err(error) => (error.id(), Outcome::Hook(Err(panicked()))),
            };
            if let Some((key, job, generation, _)) = self.running.remove(&id) {
                return Ended {
                    key,
                    job,
                    generation,
                    outcome,
                };
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Cancels them; each still ends through [`Jobs::next`].
    pub(crate) fn cancel(&self) {
        for (_, _, _, handle) in self.running.values() {
            handle.abort();
        }
    }
}

async fn run_hook(bus: &dyn Bus, call: &Call, timeout: Duration) -> Result<(), HookError> {
    let hook = async {
        match call {
            Call::SyncBus(spec) => bus.sync_bus(spec).await,
            Call::Provision(spec) => bus.provision(spec).await,
            Call::Unprovision(spec) => bus.unprovision(spec).await,
            Call::Subscribe(spec) => bus.subscribe(spec).await,
            Call::Unsubscribe(spec) => bus.unsubscribe(spec).await,
        }
    };
    tokio::time::timeout(timeout, hook)
        .await
        .unwrap_or_else(|_| {
            let seconds = timeout.as_secs_f32();
            let message = format!("the hook did not return within {seconds} s and was cancelled");
            Err(HookError::transient(Reason::HookTimedOut, message))
        })
}

fn panicked() -> HookError {
    HookError::transient(Reason::HookPanicked, "the hook panicked; the log has where")
}
