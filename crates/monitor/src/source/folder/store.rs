//! The objects of a folder, as an API server would keep them. Knows no files and no time of its own.

mod complaints;
mod config_maps;
mod namespaces;
mod object;
mod writes;

use std::{collections::BTreeMap, sync::Arc};

use busway_api::validate::Schemas;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use self::{
    complaints::Complaints,
    object::{Stored, admit, message},
};
use super::{
    documents::Document,
    files::{Reading, covered},
    state::{Saved, SavedObject},
    status::Owners,
};
use crate::source::Kind;

/// Objects of one folder: what a laptop is asked to play.
const MAX_OBJECTS: usize = 10_000;
/// Changes that a slow watch may be behind before it starts again from the list, as with an API server.
const BEHIND: usize = 4096;
/// Kind, namespace, name.
pub(super) type Key = (Kind, Option<String>, String);

/// What changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The kind; none for a Namespace.
    pub(super) kind: Option<Kind>,
    pub(super) what: What,
    pub(super) object: Arc<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Applied,
    Deleted,
}

pub(super) struct Store {
    schemas: Schemas,
    objects: BTreeMap<Key, Stored>,
    namespaces: BTreeMap<String, Arc<Value>>,
    reading: Arc<Reading>,
    complaints: BTreeMap<String, String>,
    version: u64,
    changes: broadcast::Sender<Change>,
    ticks: watch::Sender<u64>,
}

/// A manifest, and where it is from.
#[derive(Clone, Copy)]
struct Manifest<'a> {
    file: &'a str,
    place: usize,
    value: &'a Value,
}

impl Store {
    pub(super) fn restored(saved: Saved) -> Self {
        let mut objects = BTreeMap::new();
        for SavedObject {
            file,
            object,
            managers,
            cluster_bus,
        } in saved.objects
        {
            if let Some(key) = object::key_of(&object) {
                let owners = Owners::restored(&managers);
                objects.insert(
                    key,
                    Stored {
                        file,
                        value: object,
                        owners,
                        cluster_bus,
                    },
                );
            }
        }
        let mut store = Self {
            schemas: Schemas::new(),
            objects,
            namespaces: BTreeMap::new(),
            reading: Arc::default(),
            complaints: BTreeMap::new(),
            version: saved.version,
            changes: broadcast::Sender::new(BEHIND),
            ticks: watch::Sender::new(saved.version),
        };
        store.name_spaces();
        store
    }

    pub(super) fn saved(&self) -> Saved {
        let objects = self.objects.values().map(|stored| SavedObject {
            file: stored.file.clone(),
            object: Arc::clone(&stored.value),
            managers: stored.owners.saved(),
            cluster_bus: stored.cluster_bus.clone(),
        });
        Saved {
            version: self.version,
            objects: objects.collect(),
        }
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    pub(super) fn complaints(&self) -> &BTreeMap<String, String> {
        &self.complaints
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.objects.values().map(|stored| &stored.value)
    }

    /// What there is of a kind (none: Namespaces), and what changes from now on.
    pub(super) fn follow(
        &self,
        kind: Option<Kind>,
    ) -> (Vec<Arc<Value>>, broadcast::Receiver<Change>) {
        let now = match kind {
            None => self.namespaces.values().cloned().collect(),
            Some(kind) => {
                let of_kind = self
                    .objects
                    .iter()
                    .filter(|((other, ..), _)| *other == kind);
                of_kind
                    .map(|(_, stored)| Arc::clone(&stored.value))
                    .collect()
            }
        };
        (now, self.changes.subscribe())
    }

    /// Makes the objects what the files say, as `kubectl apply --prune` would.
    pub(super) fn reconcile(&mut self, reading: Arc<Reading>) {
        self.take_config_maps(&reading);
        self.reading = Arc::clone(&reading);
        let mut complaints = Complaints::default();
        for (file, why) in &reading.trouble {
            let file = if file.is_empty() { "." } else { file };
            complaints.add(file, why.clone());
        }
        let wanted = self.wanted(&reading, &mut complaints);
        for (key, manifest) in &wanted {
            if let Err(why) = self.put(key, manifest) {
                complaints.add(manifest.file, format!("document {}: {why}", manifest.place));
            }
        }
        let unread: BTreeMap<String, String> = reading
            .files
            .iter()
            .filter(|(_, documents)| {
                documents
                    .iter()
                    .any(|(_, document)| matches!(document, Document::Broken(_)))
            })
            .map(|(file, _)| (file.clone(), String::new()))
            .collect();
        let gone: Vec<Key> = self
            .objects
            .iter()
            .filter(|(key, stored)| {
                !wanted.contains_key(*key)
                    && !covered(&reading.trouble, &stored.file)
                    && !covered(&unread, &stored.file)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.delete(&key);
        }
        self.name_spaces();
        self.complain(complaints);
    }

    /// One manifest an object: the one that it came from, else the first.
    fn wanted<'a>(
        &self,
        reading: &'a Reading,
        complaints: &mut Complaints,
    ) -> BTreeMap<Key, Manifest<'a>> {
        let mut wanted: BTreeMap<Key, Manifest<'a>> = BTreeMap::new();
        for (file, documents) in &reading.files {
            for (place, document) in documents.iter() {
                let (kind, value) = match document {
                    Document::Ours(kind, value) => (*kind, value),
                    Document::Broken(why) => {
                        complaints.add(file, format!("document {place}: {why}"));
                        continue;
                    }
                    Document::Namespace(_) | Document::ConfigMap(_) | Document::Foreign(_) => {
                        continue;
                    }
                };
                let new = Manifest {
                    file,
                    place: *place,
                    value,
                };
                let key = object::key(kind, value);
                let Some(first) = wanted.get(&key).copied() else {
                    wanted.insert(key, new);
                    continue;
                };
                let from = self.objects.get(&key).map(|stored| stored.file.as_str());
                let (kept, other) = if from == Some(new.file) && from != Some(first.file) {
                    (new, first)
                } else {
                    (first, new)
                };
                complaints.add(
                    other.file,
                    format!(
                        "document {}: {} is in {} (document {}) already: that one counts",
                        other.place,
                        object::title(&key),
                        kept.file,
                        kept.place
                    ),
                );
                wanted.insert(key, kept);
            }
        }
        wanted
    }

    fn put(&mut self, key: &Key, manifest: &Manifest<'_>) -> Result<(), String> {
        let old = self.objects.get(key);
        if old.is_some_and(Stored::deleting) {
            // Waits until that is gone, then is another object.
            return Ok(());
        }
        if old.is_none() && self.objects.len() >= MAX_OBJECTS {
            return Err(format!(
                "not taken: there are {MAX_OBJECTS} objects already"
            ));
        }
        let assigned = old.and_then(|old| old.cluster_bus.as_deref());
        let manifest_of = admit(manifest.value, assigned);
        let checked = self
            .schemas
            .check(&manifest_of, old.map(|old| &*old.value))
            .map_err(|refusals| message(key, &refusals))?;
        let next = match old {
            Some(old) => old.updated(checked),
            None => Some(object::created(checked)),
        };
        let (owners, cluster_bus) = match self.objects.get_mut(key) {
            Some(old) => {
                manifest.file.clone_into(&mut old.file);
                (old.owners.clone(), old.cluster_bus.clone())
            }
            None => (Owners::default(), None),
        };
        if let Some(value) = next {
            let stored = Stored {
                file: manifest.file.to_owned(),
                value: Arc::default(),
                owners,
                cluster_bus,
            };
            self.store(key.clone(), stored, value);
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        let Some(stored) = self.objects.get(key) else {
            return;
        };
        if stored.finalizers().is_empty() {
            let value = Value::clone(&stored.value);
            self.remove(key, value);
        } else if !stored.deleting() {
            let (value, stored) = (stored.marked_for_deletion(), stored.clone());
            self.store(key.clone(), stored, value);
        }
    }

    /// Writes an object at the next version, and tells.
    fn store(&mut self, key: Key, mut stored: Stored, mut value: Value) {
        self.version += 1;
        value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        stored.value = Arc::new(value);
        self.tell(Some(key.0), What::Applied, &stored.value);
        self.objects.insert(key, stored);
    }

    /// Takes an object out, as `last`, and tells.
    fn remove(&mut self, key: &Key, mut last: Value) {
        self.version += 1;
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.remove(key);
        self.tell(Some(key.0), What::Deleted, &Arc::new(last));
    }

    fn tell(&self, kind: Option<Kind>, what: What, object: &Arc<Value>) {
        // Nobody may be following.
        let _ = self.changes.send(Change {
            kind,
            what,
            object: Arc::clone(object),
        });
        self.ticks.send_replace(self.version);
    }
}
