//! An API server in memory: versions, finalizers, watches; and it can be away.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use busway_api::{Bus, Channel, ClusterBus, Subscription};
use busway_monitor::source::{FinalizerChange, Kind, Note, ObjectKey, Source, Watch, WriteError};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

#[derive(Clone, Debug)]
enum Told {
    Init,
    InitApply(Value),
    InitDone,
    Apply(Value),
    Delete(Value),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), Value>,
    namespaces: BTreeMap<String, Value>,
    version: u64,
    uids: u64,
    /// Whether an operator writes too.
    operator: bool,
    /// When objects are made.
    made: Option<&'static str>,
    watchers: Vec<(String, mpsc::UnboundedSender<Told>)>,
    writes: Vec<(ObjectKey, String, Value)>,
    notes: Vec<Note>,
    faults: HashMap<String, Vec<WriteError>>,
    conflicts: u32,
    answers_after: Duration,
    away: bool,
    /// What the watches have not told yet, while they lag.
    lagging: Option<Vec<(String, Told)>>,
}

/// The cluster; a clone is another client of it.
#[derive(Clone)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
    leads: watch::Sender<bool>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            leads: watch::Sender::new(true),
        }
    }
}

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Another replica, which does not hold the Lease.
    pub(crate) fn follower(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            leads: watch::Sender::new(false),
        }
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.leads.send_replace(leads);
    }

    /// Writes are taken, and watches tell of them when they have caught up.
    pub(crate) fn lag(&self) {
        self.lock().lagging.get_or_insert_default();
    }

    pub(crate) fn catch_up(&self) {
        let mut state = self.lock();
        for (kind, told) in state.lagging.take().unwrap_or_default() {
            tell(&mut state, &kind, &told);
        }
    }

    /// No watch tells anything, no write is taken.
    pub(crate) fn go_away(&self) {
        self.lock().away = true;
    }

    /// As `kubectl apply`.
    pub(crate) fn apply(&self, kind: &str, name: &str, spec: &Value) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let id = (kind.to_owned(), name.to_owned());
        let object = match state.objects.get(&id) {
            Some(old) => {
                let mut new = old.clone();
                if new["spec"] != *spec {
                    new["spec"] = spec.clone();
                    new["metadata"]["generation"] =
                        json!(old["metadata"]["generation"].as_i64().unwrap() + 1);
                }
                new
            }
            None => {
                state.uids += 1;
                let mut meta = json!({
                    "uid": format!("uid-{}", state.uids), "generation": 1,
                    "creationTimestamp": state.made.unwrap_or("2020-01-01T00:00:00Z"),
                });
                match name.split_once('/') {
                    Some((namespace, name)) => {
                        meta["namespace"] = json!(namespace);
                        meta["name"] = json!(name);
                    }
                    None => meta["name"] = json!(name),
                }
                json!({
                    "apiVersion": "channels.busway.dev/v1alpha1", "kind": kind,
                    "metadata": meta, "spec": spec,
                })
            }
        };
        put(&mut state, id, object, version);
    }

    /// There is an operator.
    pub(crate) fn has_operator(&self) {
        self.lock().operator = true;
    }

    /// Objects are made at that time from now on.
    pub(crate) fn makes_at(&self, time: &'static str) {
        self.lock().made = Some(time);
    }

    /// Somebody else takes the whole status away.
    pub(crate) fn wipe_status(&self, kind: &str, name: &str) {
        self.write_status(kind, name, Value::Null);
    }

    /// Somebody else writes the whole status.
    pub(crate) fn write_status(&self, kind: &str, name: &str, status: Value) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let id = (kind.to_owned(), name.to_owned());
        let mut object = state.objects.get(&id).unwrap().clone();
        object["status"] = status;
        put(&mut state, id, object, version);
    }

    /// Changes metadata, as `kubectl annotate` and `label` do.
    pub(crate) fn edit_meta(&self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let id = (kind.to_owned(), name.to_owned());
        let mut object = state.objects.get(&id).unwrap().clone();
        edit(&mut object["metadata"]);
        put(&mut state, id, object, version);
    }

    pub(crate) fn namespace(&self, name: &str, labels: &Value) {
        let mut state = self.lock();
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        state.namespaces.insert(name.to_owned(), object.clone());
        tell(&mut state, "Namespace", &Told::Apply(object));
    }

    /// As `kubectl delete --wait=false`.
    pub(crate) fn delete(&self, kind: &str, name: &str) {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let id = (kind.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.get(&id).cloned() else {
            return;
        };
        let held = object["metadata"]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty());
        if held {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            put(&mut state, id, object, version);
        } else {
            remove(&mut state, &id);
        }
    }

    /// Removes it, whatever holds it: as if it had happened while nobody watched.
    pub(crate) fn vanish_quietly(&self, kind: &str, name: &str) {
        let id = (kind.to_owned(), name.to_owned());
        self.lock().objects.remove(&id);
    }

    /// Ends and begins every watch anew, as when it expired.
    pub(crate) fn relist(&self) {
        let mut state = self.lock();
        let kinds: Vec<_> = state.watchers.iter().map(|w| w.0.clone()).collect();
        for kind in kinds {
            for told in list(&state, &kind) {
                tell(&mut state, &kind, &told);
            }
        }
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let id = (kind.to_owned(), name.to_owned());
        self.lock().objects.get(&id).cloned()
    }

    /// `status/reason` of a condition.
    pub(crate) fn condition(&self, kind: &str, name: &str, condition: &str) -> Option<String> {
        let c = self.raw_condition(kind, name, condition)?;
        Some(format!(
            "{}/{}",
            c["status"].as_str().unwrap(),
            c["reason"].as_str().unwrap()
        ))
    }

    pub(crate) fn raw_condition(&self, kind: &str, name: &str, condition: &str) -> Option<Value> {
        let object = self.get(kind, name)?;
        let all = object["status"]["conditions"].as_array()?;
        all.iter().find(|c| c["type"] == condition).cloned()
    }

    /// The statuses written for an object, oldest first.
    pub(crate) fn writes_of(&self, kind: Kind, name: &str) -> Vec<Value> {
        let state = self.lock();
        let of = |key: &ObjectKey| match &key.namespace {
            Some(namespace) => format!("{namespace}/{}", key.name),
            None => key.name.clone(),
        };
        let mine = state.writes.iter();
        mine.filter(|(key, _, _)| key.kind == kind && of(key) == name)
            .map(|(_, _, value)| value.clone())
            .collect()
    }

    pub(crate) fn write_count(&self) -> usize {
        self.lock().writes.len()
    }

    pub(crate) fn notes(&self) -> Vec<Note> {
        self.lock().notes.clone()
    }

    /// The next status writes of an object of this name fail so.
    pub(crate) fn fail_writes(&self, name: &str, errors: Vec<WriteError>) {
        self.lock().faults.insert(name.to_owned(), errors);
    }

    /// Writes of finalizers are answered so much later than watches tell of them.
    pub(crate) fn answer_after(&self, delay: Duration) {
        self.lock().answers_after = delay;
    }

    /// The next finalizer writes fail with a conflict.
    pub(crate) fn conflict(&self, times: u32) {
        self.lock().conflicts = times;
    }

    fn watch<K: DeserializeOwned + Send + 'static>(&self, kind: &str) -> Watch<K> {
        let mut state = self.lock();
        if state.away {
            return futures::stream::pending().boxed();
        }
        let (tx, rx) = mpsc::unbounded_channel();
        for told in list(&state, kind) {
            tx.send(told).unwrap();
        }
        state.watchers.push((kind.to_owned(), tx));
        futures::stream::unfold(rx, |mut rx| async move {
            let told = rx.recv().await?;
            Some((told, rx))
        })
        .map(|told| {
            let read = |value| serde_json::from_value(value).unwrap();
            Ok(match told {
                Told::Init => Event::Init,
                Told::InitApply(value) => Event::InitApply(read(value)),
                Told::InitDone => Event::InitDone,
                Told::Apply(value) => Event::Apply(read(value)),
                Told::Delete(value) => Event::Delete(read(value)),
            })
        })
        .boxed()
    }

    fn write(
        &self,
        key: &ObjectKey,
        change: impl FnOnce(&mut State, (String, String), Value, u64) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut state = self.lock();
        if state.away {
            return Err(WriteError::Unavailable("connection refused".to_owned()));
        }
        let name = match &key.namespace {
            Some(namespace) => format!("{namespace}/{}", key.name),
            None => key.name.clone(),
        };
        let id = (format!("{:?}", key.kind), name);
        let Some(object) = state.objects.get(&id).cloned() else {
            return Err(WriteError::Gone);
        };
        if object["metadata"]["uid"] != json!(key.uid) {
            return Err(WriteError::Gone);
        }
        state.version += 1;
        let version = state.version;
        change(&mut state, id, object, version)
    }
}

fn list(state: &State, kind: &str) -> Vec<Told> {
    let mut all = vec![Told::Init];
    if kind == "Namespace" {
        all.extend(state.namespaces.values().cloned().map(Told::InitApply));
    } else {
        let of_kind = state.objects.iter().filter(|((k, _), _)| k == kind);
        all.extend(of_kind.map(|(_, o)| Told::InitApply(o.clone())));
    }
    all.push(Told::InitDone);
    all
}

fn tell(state: &mut State, kind: &str, told: &Told) {
    if let Some(lagging) = &mut state.lagging {
        return lagging.push((kind.to_owned(), told.clone()));
    }
    state
        .watchers
        .retain(|(k, tx)| k != kind || tx.send(told.clone()).is_ok());
}

fn put(state: &mut State, id: (String, String), mut object: Value, version: u64) {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    state.objects.insert(id.clone(), object.clone());
    if !state.away {
        tell(state, &id.0, &Told::Apply(object));
    }
}

fn remove(state: &mut State, id: &(String, String)) {
    if let Some(object) = state.objects.remove(id) {
        tell(state, &id.0, &Told::Delete(object));
    }
}

#[async_trait]
impl Source for Cluster {
    fn buses(&self) -> Watch<DeserializeGuard<Bus>> {
        self.watch("Bus")
    }

    fn cluster_buses(&self) -> Watch<DeserializeGuard<ClusterBus>> {
        self.watch("ClusterBus")
    }

    fn channels(&self) -> Watch<DeserializeGuard<Channel>> {
        self.watch("Channel")
    }

    fn subscriptions(&self) -> Watch<DeserializeGuard<Subscription>> {
        self.watch("Subscription")
    }

    fn namespaces(&self) -> Watch<PartialObjectMeta<Namespace>> {
        self.watch("Namespace")
    }

    async fn apply_status(
        &self,
        object: &ObjectKey,
        manager: &str,
        status: Value,
    ) -> Result<(), WriteError> {
        self.write(object, |state, id, mut stored, version| {
            let fault = state.faults.get_mut(&id.1).and_then(Vec::pop);
            if let Some(fault) = fault {
                return Err(fault);
            }
            state
                .writes
                .push((object.clone(), manager.to_owned(), status.clone()));
            // Of one manager: what it does not say any more is gone; but for what only an operator writes.
            let mut status = status;
            if let (Some(ours), Some(theirs)) =
                (status.as_object_mut(), stored["status"].get("namespaces"))
                && state.operator
            {
                ours.entry("namespaces").or_insert_with(|| theirs.clone());
            }
            stored["status"] = status;
            put(state, id, stored, version);
            Ok(())
        })
    }

    async fn change_finalizer(
        &self,
        object: &ObjectKey,
        resource_version: &str,
        finalizer: &'static str,
        change: FinalizerChange,
    ) -> Result<(), WriteError> {
        let written = self.write(object, |state, id, mut stored, version| {
            if stored["metadata"]["resourceVersion"] != json!(resource_version)
                || state.conflicts > 0
            {
                state.conflicts = state.conflicts.saturating_sub(1);
                return Err(WriteError::Conflict);
            }
            let mut all: Vec<String> =
                serde_json::from_value(stored["metadata"]["finalizers"].clone())
                    .unwrap_or_default();
            all.retain(|f| f != finalizer);
            if change == FinalizerChange::Add {
                all.push(finalizer.to_owned());
            }
            let over = all.is_empty() && !stored["metadata"]["deletionTimestamp"].is_null();
            stored["metadata"]["finalizers"] = json!(all);
            if over {
                remove(state, &id);
            } else {
                put(state, id, stored, version);
            }
            Ok(())
        });
        let delay = self.lock().answers_after;
        tokio::time::sleep(delay).await;
        written
    }

    async fn set_cluster_bus(
        &self,
        channel: &ObjectKey,
        _: &str,
        cluster_bus: &str,
    ) -> Result<(), WriteError> {
        self.write(channel, |state, id, mut stored, version| {
            stored["spec"]["clusterBus"] = json!(cluster_bus);
            let generation = stored["metadata"]["generation"].as_i64().unwrap();
            stored["metadata"]["generation"] = json!(generation + 1);
            put(state, id, stored, version);
            Ok(())
        })
    }

    async fn record(&self, note: Note) {
        self.lock().notes.push(note);
    }

    fn leadership(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }
}
