//! Where resources come from and where their status goes: an API server, or a folder.

pub mod folder;
pub mod kube;
pub mod lease;

use std::{collections::BTreeMap, fmt};

use ::kube::{
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher,
};
use async_trait::async_trait;
use busway_api::{Bus, Channel, ClusterBus, Subscription};
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;
use tokio::sync::watch;

/// One kind's objects, as kube-runtime's watcher tells them. Never ends; an error is told and the
/// stream goes on by itself, with backoff. An object that cannot be decoded is told as such and
/// stops nobody else.
pub type Watch<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// A kind of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A Bus.
    Bus,
    /// A ClusterBus.
    ClusterBus,
    /// A Channel.
    Channel,
    /// A Subscription.
    Subscription,
}

/// One object, at one identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; a ClusterBus has none.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its identity: a write to an object that was re-created since is refused as [`WriteError::Gone`].
    pub uid: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{:?} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{:?} {}", self.kind, self.name),
        }
    }
}

/// Whether a finalizer is put on or taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalizerChange {
    /// Put on; already there is success.
    Add,
    /// Taken off; not there is success.
    Remove,
}

/// An event about an object, for `kubectl describe` and `kubectl get events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub regarding: ObjectKey,
    /// Whether it is trouble.
    pub severity: Severity,
    /// The stable short name.
    pub reason: String,
    /// What was done: `Provision`, `Subscribe`, ….
    pub action: &'static str,
    /// In words, without secrets.
    pub message: String,
}

/// Whether an event tells of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// All is well.
    Normal,
    /// It is not.
    Warning,
}

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The object is gone, or another of that name is there: nothing is left to write to.
    #[error("the object is gone")]
    Gone,
    /// Somebody else wrote in between: look again.
    #[error("the object changed in between")]
    Conflict,
    /// The API server refused it for good: {0} says why.
    #[error("refused: {0}")]
    Refused(String),
    /// The API server is away, or busy: try again.
    #[error("not reached: {0}")]
    Unavailable(String),
}

/// Where resources come from and where their status goes.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Follows Buses.
    fn buses(&self) -> Watch<DeserializeGuard<Bus>>;
    /// Follows ClusterBuses.
    fn cluster_buses(&self) -> Watch<DeserializeGuard<ClusterBus>>;
    /// Follows Channels.
    fn channels(&self) -> Watch<DeserializeGuard<Channel>>;
    /// Follows Subscriptions.
    fn subscriptions(&self) -> Watch<DeserializeGuard<Subscription>>;
    /// Follows Namespaces (labels only), for `allowedNamespaces`.
    fn namespaces(&self) -> Watch<PartialObjectMeta<Namespace>>;

    /// Applies `status` server-side, forced, as `manager`: every field of the status that this
    /// manager owns, and nothing else. Conditions are merged by type.
    async fn apply_status(
        &self,
        object: &ObjectKey,
        manager: &str,
        status: Value,
    ) -> Result<(), WriteError>;

    /// Puts a finalizer on or takes it off, in one patch that fails with
    /// [`WriteError::Conflict`] when `resource_version` is not the object's any more.
    async fn change_finalizer(
        &self,
        object: &ObjectKey,
        resource_version: &str,
        finalizer: &'static str,
        change: FinalizerChange,
    ) -> Result<(), WriteError>;

    /// Writes `spec.clusterBus` of a Channel that names no bus (only with `--standalone` and in dev
    /// mode; else the operator does).
    async fn set_cluster_bus(
        &self,
        channel: &ObjectKey,
        resource_version: &str,
        cluster_bus: &str,
    ) -> Result<(), WriteError>;

    /// Records an event; best effort, bounded, never blocks on an absent API server for long.
    async fn record(&self, note: Note);

    /// Whether this process may run Shared hooks and write status: true while it holds the Lease.
    /// A folder's is true from the start.
    fn leadership(&self) -> watch::Receiver<bool>;

    /// Texts that the source itself has to say about objects (dev mode: a manifest refused), by
    /// file; empty for an API server.
    fn complaints(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}
