//! A folder of manifests as the source: dev mode, without a cluster.
//!
//! Plays the API server for the files in it: checks them as it does, keeps UIDs, generations, finalizers and status, and
//! tells of changes as a watch. A file that turns wrong keeps its objects at their last good form; a file that is removed,
//! also while nobody looked, has its objects deleted in the proper order. The state folder is what makes the latter true.

pub(crate) mod documents;
mod files;
mod state;
mod status;
mod store;
mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use busway_api::{Bus, Channel, ClusterBus, Subscription};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch as latest},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use self::{
    files::{Files, Take},
    state::State,
    store::Store,
};
use super::{FinalizerChange, Kind, Note, ObjectKey, Severity, Source, Watch, WriteError};

/// How often the files are looked at; a change is taken at the second look that sees it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a write waits for the state to be on disk.
const SAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Events that are remembered: a screenful or a few.
const NOTES: usize = 256;

/// How a [`FolderSource`] works.
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// Where UIDs, finalizers and status are kept between two runs; made where it is not there.
    pub state_dir: PathBuf,
}

/// Why a folder cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such folder, or it cannot be read.
    #[error("{} cannot be read", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    /// The state cannot be read: removing the state folder forgets what was provisioned.
    #[error("the state in {} cannot be used", .0.display())]
    State(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error("the state in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The runtime is shutting down.
    #[error("the runtime ends")]
    Ending,
}

impl OpenError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Folder(..) => "FolderUnreadable",
            Self::State(..) => "StateUnusable",
            Self::InUse(_) => "StateInUse",
            Self::Ending => "Ending",
        }
    }
}

/// An event, and when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedNote {
    /// When.
    pub at: Timestamp,
    /// What.
    pub note: Note,
}

/// Resources from a folder.
pub struct FolderSource {
    shared: Arc<Shared>,
    leads: latest::Sender<bool>,
    notes: Mutex<VecDeque<RecordedNote>>,
    shutdown: CancellationToken,
    looking: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    store: Mutex<Store>,
    /// The version that is on disk.
    saved: latest::Sender<u64>,
    save: Notify,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FolderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderSource")
            .field("version", &self.shared.store().version())
            .finish_non_exhaustive()
    }
}

impl FolderSource {
    /// Reads the folder and what was kept of it, and goes on looking until closed or dropped.
    ///
    /// # Errors
    /// When the folder or the state cannot be read, or another process uses the state. Wrong manifests are no error but
    /// [`complaints`](Source::complaints).
    pub async fn open(dir: &Path, options: FolderOptions) -> Result<Self, OpenError> {
        let dir = dir.to_owned();
        let opening = tokio::task::spawn_blocking(move || open(dir, options));
        let (state, mut store, mut files) = opening.await.map_err(|_| OpenError::Ending)??;
        if let Some(reading) = files.look(Take::AtOnce) {
            log_foreign(&reading);
            store.reconcile(Arc::new(reading));
        }
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            saved: latest::Sender::new(0),
            save: Notify::new(),
        });
        let shutdown = CancellationToken::new();
        let looking = tokio::spawn(look(Arc::clone(&shared), state, files, shutdown.clone()));
        Ok(Self {
            shared,
            leads: latest::Sender::new(true),
            notes: Mutex::default(),
            shutdown,
            looking: Mutex::new(Some(looking)),
        })
    }

    /// All objects of our kinds, with their status, by kind, namespace and name.
    #[must_use]
    pub fn objects(&self) -> Vec<Arc<Value>> {
        self.shared.store().objects().cloned().collect()
    }

    /// What a ConfigMap of the folder holds, by its keys. Without a namespace it may be in any, if it is
    /// in one only. A file that cannot be read now has none.
    #[must_use]
    pub fn config_map(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<BTreeMap<String, String>> {
        self.shared.store().config_map(namespace, name)
    }

    /// Ticks when an object, its status, a ConfigMap or a complaint changes.
    #[must_use]
    pub fn changed(&self) -> latest::Receiver<u64> {
        self.shared.store().ticks()
    }

    /// The last events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<RecordedNote> {
        self.notes().iter().cloned().collect()
    }

    /// Stops looking, after the last state is on disk.
    pub async fn close(&self) {
        self.shutdown.cancel();
        let looking = self
            .looking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(looking) = looking
            && let Err(error) = looking.await
        {
            tracing::error!(%error, "the folder's task did not end by itself");
        }
    }

    fn notes(&self) -> MutexGuard<'_, VecDeque<RecordedNote>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until all that was written so far is on disk.
    async fn kept(&self) -> Result<(), WriteError> {
        let version = self.shared.store().version();
        let mut saved = self.shared.saved.subscribe();
        self.shared.save.notify_one();
        match tokio::time::timeout(SAVE_TIMEOUT, saved.wait_for(|saved| *saved >= version)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(WriteError::Unavailable(
                "the state folder could not be written".to_owned(),
            )),
        }
    }
}

impl Drop for FolderSource {
    fn drop(&mut self) {
        // The task saves once more and ends.
        self.shutdown.cancel();
    }
}

fn open(dir: PathBuf, options: FolderOptions) -> Result<(State, Store, Files), OpenError> {
    let unreadable = |error| OpenError::Folder(dir.clone(), error);
    let root = dir.canonicalize().map_err(unreadable)?;
    std::fs::read_dir(&root).map_err(unreadable)?;
    let FolderOptions { state_dir } = options;
    let unusable = |error| OpenError::State(state_dir.clone(), error);
    let (state, saved) = State::open(&state_dir)
        .map_err(unusable)?
        .ok_or_else(|| OpenError::InUse(state_dir.clone()))?;
    let state_dir = state_dir.canonicalize().map_err(unusable)?;
    Ok((state, Store::restored(saved), Files::new(root, state_dir)))
}

/// Looks at the files and keeps the state until shutdown, then keeps it once more.
async fn look(shared: Arc<Shared>, state: State, files: Files, shutdown: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = (state, files);
    loop {
        let ends = shutdown.is_cancelled();
        let step = tokio::select! {
            () = shutdown.cancelled(), if !ends => continue,
            () = std::future::ready(()), if ends => Step::Keep,
            () = shared.save.notified() => Step::Keep,
            _ = looks.tick() => Step::Look,
        };
        let done = tokio::task::spawn_blocking({
            let shared = Arc::clone(&shared);
            move || {
                let (state, mut files) = work;
                if step == Step::Look {
                    look_once(&shared, &mut files);
                }
                keep(&shared, &state);
                (state, files)
            }
        });
        match done.await {
            Ok(done) => work = done,
            // Only while the runtime ends.
            Err(error) => {
                tracing::error!(%error, "the folder is not looked at any more");
                return;
            }
        }
        if ends {
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Look,
    Keep,
}

fn look_once(shared: &Shared, files: &mut Files) {
    if let Some(reading) = files.look(Take::Settled) {
        log_foreign(&reading);
        shared.store().reconcile(Arc::new(reading));
    }
}

fn keep(shared: &Shared, state: &State) {
    let saved = {
        let store = shared.store();
        if store.version() == *shared.saved.borrow() {
            return;
        }
        store.saved()
    };
    match state.save(&saved) {
        Ok(()) => drop(shared.saved.send_replace(saved.version)),
        Err(error) => tracing::error!(%error, "the state could not be written; trying again"),
    }
}

fn log_foreign(reading: &files::Reading) {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, document) in reading
        .files
        .values()
        .flat_map(|documents| documents.iter())
    {
        if let documents::Document::Foreign(kind) = document {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    for (kind, count) in kinds {
        tracing::debug!(kind, count, "left out: not a kind of ours");
    }
}

#[async_trait]
impl Source for FolderSource {
    fn buses(&self) -> Watch<DeserializeGuard<Bus>> {
        watch::follow(&self.shared, Some(Kind::Bus))
    }

    fn cluster_buses(&self) -> Watch<DeserializeGuard<ClusterBus>> {
        watch::follow(&self.shared, Some(Kind::ClusterBus))
    }

    fn channels(&self) -> Watch<DeserializeGuard<Channel>> {
        watch::follow(&self.shared, Some(Kind::Channel))
    }

    fn subscriptions(&self) -> Watch<DeserializeGuard<Subscription>> {
        watch::follow(&self.shared, Some(Kind::Subscription))
    }

    fn namespaces(&self) -> Watch<PartialObjectMeta<Namespace>> {
        watch::follow(&self.shared, None)
    }

    async fn apply_status(
        &self,
        object: &ObjectKey,
        manager: &str,
        status: Value,
    ) -> Result<(), WriteError> {
        self.shared.store().apply_status(object, manager, &status)
    }

    async fn change_finalizer(
        &self,
        object: &ObjectKey,
        resource_version: &str,
        finalizer: &'static str,
        change: FinalizerChange,
    ) -> Result<(), WriteError> {
        self.shared
            .store()
            .change_finalizer(object, resource_version, finalizer, change)?;
        // Before the first hook: what it makes must be found again after a crash.
        self.kept().await
    }

    async fn set_cluster_bus(
        &self,
        channel: &ObjectKey,
        resource_version: &str,
        cluster_bus: &str,
    ) -> Result<(), WriteError> {
        self.shared
            .store()
            .set_cluster_bus(channel, resource_version, cluster_bus)?;
        self.kept().await
    }

    async fn record(&self, note: Note) {
        let Note {
            regarding,
            severity,
            reason,
            message,
            ..
        } = &note;
        match severity {
            Severity::Normal => tracing::info!(object = %regarding, reason, "{message}"),
            Severity::Warning => tracing::warn!(object = %regarding, reason, "{message}"),
        }
        let mut notes = self.notes();
        if notes.len() >= NOTES {
            notes.pop_front();
        }
        notes.push_back(RecordedNote {
            at: Timestamp::now(),
            note,
        });
    }

    fn leadership(&self) -> latest::Receiver<bool> {
        self.leads.subscribe()
    }

    fn complaints(&self) -> BTreeMap<String, String> {
        self.shared.store().complaints().clone()
    }
}

#[cfg(test)]
mod tests;
