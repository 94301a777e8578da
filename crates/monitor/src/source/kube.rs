//! An API server as the source: watches, server-side apply, finalizers, events, and the Lease.

mod errors;
mod notes;

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use busway_api::{Bus, Channel, ClusterBus, Subscription, undeclared};
use futures::{StreamExt as _, stream};
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{
        ApiResource, ClusterResourceScope, DeserializeGuard, DynamicObject, NamespaceResourceScope,
        PartialObjectMeta,
    },
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{errors::write_error, notes::Notes};
use super::{
    FinalizerChange, Kind, Note, ObjectKey, Source, Watch, WriteError,
    lease::{self, LeaseOptions},
};

/// How long one call may take. The API server gives up on a write after 34 s at most; a caller that retries need not
/// wait for that.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a status is applied when others write to the object at that moment: the operator and a bus's leader are
/// all who do.
const STATUS_TRIES: usize = 4;
/// Objects a page of the first list: client-go's, small enough that a page is decoded without a pause.
const PAGE_SIZE: u32 = 500;
/// Seconds until a watch is asked for anew. A connection that died unnoticed, as at a load balancer that forgot it, says
/// nothing any more: 5 s later it is given up. client-go takes as long by its pings; kube's own 290 s are a long time
/// for an edit without effect, and a renewal is answered from the API server's memory.
pub(crate) const WATCH_SECONDS: u32 = 40;

/// Which objects are watched: what the process may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces: for a ClusterBus.
    Cluster,
    /// One namespace, for a Bus in it; ClusterBuses and Namespaces are told as none.
    Namespace(String),
}

/// How a [`KubeSource`] works.
#[derive(Clone, Debug)]
pub struct KubeOptions {
    /// Name of the component (`busway-dispatcher`): what reports events and owns finalizer patches.
    pub component: String,
    /// What is watched.
    pub scope: Scope,
    /// The Lease; its identity also names this process in events.
    pub lease: LeaseOptions,
}

/// Resources from an API server.
pub struct KubeSource {
    client: Client,
    options: KubeOptions,
    leads: watch::Receiver<bool>,
    notes: Notes,
    shutdown: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for KubeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeSource")
            .field("options", &self.options)
            .field("leads", &*self.leads.borrow())
            .finish_non_exhaustive()
    }
}

impl KubeSource {
    /// Starts the tasks for the Lease and for events; watches start when they are asked for. Needs a tokio runtime.
    #[must_use]
    pub fn new(client: Client, options: KubeOptions) -> Self {
        let shutdown = CancellationToken::new();
        let (leads, electing) =
            lease::elect(client.clone(), options.lease.clone(), shutdown.clone());
        let (notes, recording) = Notes::start(
            client.clone(),
            &options.component,
            &options.lease.identity,
            shutdown.clone(),
        );
        Self {
            client,
            options,
            leads,
            notes,
            shutdown,
            tasks: Mutex::new(vec![electing, recording]),
        }
    }

    /// Ends the tasks, after the Lease was given back, and waits for them. Watches handed out end with their owners.
    pub async fn close(&self) {
        self.shutdown.cancel();
        for task in self.take_tasks() {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the source did not end by itself");
            }
        }
    }

    fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Events that were dropped because the API server did not take them fast enough, or at all.
    #[must_use]
    pub fn notes_dropped(&self) -> u64 {
        self.notes.dropped()
    }

    fn namespaced<K>(&self) -> Watch<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api = match &self.options.scope {
            Scope::Cluster => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        };
        follow(api)
    }

    fn cluster_wide<K>(&self) -> Watch<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        match self.options.scope {
            Scope::Cluster => follow(Api::all(self.client.clone())),
            Scope::Namespace(_) => {
                stream::iter([Ok(watcher::Event::Init), Ok(watcher::Event::InitDone)])
                    .chain(stream::pending())
                    .boxed()
            }
        }
    }

    fn api(&self, object: &ObjectKey) -> Api<DynamicObject> {
        let resource = match object.kind {
            Kind::Bus => ApiResource::erase::<Bus>(&()),
            Kind::ClusterBus => ApiResource::erase::<ClusterBus>(&()),
            Kind::Channel => ApiResource::erase::<Channel>(&()),
            Kind::Subscription => ApiResource::erase::<Subscription>(&()),
        };
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn call<T>(
        &self,
        work: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<T, WriteError> {
        match tokio::time::timeout(CALL_TIMEOUT, work).await {
            Ok(done) => done.map_err(|error| write_error(&error)),
            Err(_) => Err(WriteError::Unavailable(format!(
                "no answer within {CALL_TIMEOUT:?}"
            ))),
        }
    }

    /// The metadata of the object of that UID.
    async fn metadata(&self, object: &ObjectKey) -> Result<ObjectMeta, WriteError> {
        let api = self.api(object);
        let found = self.call(api.get_metadata(&object.name)).await?;
        if found.metadata.uid.as_deref() == Some(&object.uid) {
            Ok(found.metadata)
        } else {
            Err(WriteError::Gone)
        }
    }

    async fn version(&self, object: &ObjectKey) -> Result<String, WriteError> {
        let found = self.metadata(object).await?.resource_version;
        found.ok_or_else(|| WriteError::Unavailable("an object without a version".to_owned()))
    }

    /// At a version, because an API server ignores the UID in an apply to the status of a custom resource.
    async fn apply_status_at(
        &self,
        object: &ObjectKey,
        manager: &str,
        status: &Value,
        version: Option<&str>,
    ) -> Result<(), WriteError> {
        let mut payload = json!({
            "apiVersion": busway_api::API_VERSION,
            "kind": format!("{:?}", object.kind),
            "metadata": { "name": object.name, "uid": object.uid },
            "status": status,
        });
        if let Some(version) = version {
            payload["metadata"]["resourceVersion"] = json!(version);
        }
        let params = PatchParams::apply(manager).force();
        let api = self.api(object);
        loop {
            let patch = Patch::Apply(&payload);
            let done = self.call(api.patch_status(&object.name, &params, &patch));
            match done.await {
                // The definitions are of an older version: what they have is said. Each time there is less to leave out.
                Err(WriteError::Refused(said) | WriteError::Unavailable(said))
                    if undeclared::leave_out(&mut payload["status"], &said) => {}
                done => return done.map(drop),
            }
        }
    }

    async fn merge(&self, object: &ObjectKey, patch: Value) -> Result<(), WriteError> {
        let params = PatchParams {
            field_manager: Some(self.options.component.clone()),
            ..PatchParams::default()
        };
        let api = self.api(object);
        self.call(api.patch(&object.name, &params, &Patch::Merge(patch)))
            .await
            .map(drop)
    }
}

impl Drop for KubeSource {
    fn drop(&mut self) {
        // The tasks end by themselves, within the bound for giving the Lease back.
        self.shutdown.cancel();
    }
}

fn follow<K>(api: Api<K>) -> Watch<K>
where
    K: Resource + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
{
    // Pages and not a streaming list: Kubernetes 1.33 has that switched off.
    let config = watcher::Config::default()
        .page_size(PAGE_SIZE)
        .timeout(WATCH_SECONDS);
    watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .boxed()
}

#[async_trait]
impl Source for KubeSource {
    fn buses(&self) -> Watch<DeserializeGuard<Bus>> {
        self.namespaced()
    }

    fn cluster_buses(&self) -> Watch<DeserializeGuard<ClusterBus>> {
        self.cluster_wide()
    }

    fn channels(&self) -> Watch<DeserializeGuard<Channel>> {
        self.namespaced()
    }

    fn subscriptions(&self) -> Watch<DeserializeGuard<Subscription>> {
        self.namespaced()
    }

    fn namespaces(&self) -> Watch<PartialObjectMeta<Namespace>> {
        self.cluster_wide()
    }

    async fn apply_status(
        &self,
        object: &ObjectKey,
        manager: &str,
        status: Value,
    ) -> Result<(), WriteError> {
        let mut tries = STATUS_TRIES;
        loop {
            let version = self.version(object).await?;
            // The last try names no version: whoever is written to all the time would never be told of.
            let version = (tries > 1).then_some(version.as_str());
            let written = self.apply_status_at(object, manager, &status, version);
            match written.await {
                // Another manager's status came in between; with the UID checked it is ours to apply again.
                Err(WriteError::Conflict) if tries > 1 => tries -= 1,
                done => return done,
            }
        }
    }

    async fn change_finalizer(
        &self,
        object: &ObjectKey,
        resource_version: &str,
        finalizer: &'static str,
        change: FinalizerChange,
    ) -> Result<(), WriteError> {
        // A merge patch replaces the whole list, so the list is read first.
        let mut finalizers = self.metadata(object).await?.finalizers.unwrap_or_default();
        let there = finalizers.iter().any(|name| name == finalizer);
        match change {
            FinalizerChange::Add if there => return Ok(()),
            FinalizerChange::Remove if !there => return Ok(()),
            FinalizerChange::Add => finalizers.push(finalizer.to_owned()),
            FinalizerChange::Remove => finalizers.retain(|name| name != finalizer),
        }
        self.merge(
            object,
            json!({ "metadata": {
                "uid": object.uid,
                "resourceVersion": resource_version,
                "finalizers": finalizers,
            }}),
        )
        .await
    }

    async fn set_cluster_bus(
        &self,
        channel: &ObjectKey,
        resource_version: &str,
        cluster_bus: &str,
    ) -> Result<(), WriteError> {
        self.merge(
            channel,
            json!({
                "metadata": { "uid": channel.uid, "resourceVersion": resource_version },
                "spec": { "clusterBus": cluster_bus },
            }),
        )
        .await
    }

    async fn record(&self, note: Note) {
        self.notes.push(note);
    }

    fn leadership(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }
}
