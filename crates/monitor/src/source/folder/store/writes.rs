//! What the Monitor writes to a folder's objects.

use std::sync::Arc;

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    Key, Store,
    object::{self, Stored},
};
use crate::source::folder::documents::Document;
use crate::source::{FinalizerChange, Kind, ObjectKey, WriteError};

impl Store {
    pub(in crate::source::folder) fn apply_status(
        &mut self,
        object: &ObjectKey,
        manager: &str,
        status: &Value,
    ) -> Result<(), WriteError> {
        let (key, stored) = self.find(object)?;
        let mut owners = stored.owners.clone();
        owners.apply(manager, status).map_err(WriteError::Refused)?;
        let mut value = Value::clone(&stored.value);
        object::set(&mut value, "status", owners.status());
        decodes(key.0, &value)?;
        let next = Stored {
            owners,
            ..stored.clone()
        };
        if *stored.value == value {
            self.objects.insert(key, next);
        } else {
            self.store(key, next, value);
        }
        Ok(())
    }

    pub(in crate::source::folder) fn change_finalizer(
        &mut self,
        object: &ObjectKey,
        resource_version: &str,
        finalizer: &str,
        change: FinalizerChange,
    ) -> Result<(), WriteError> {
        let (key, stored) = self.find(object)?;
        let mut finalizers = stored.finalizers();
        let there = finalizers.iter().any(|name| name == finalizer);
        match change {
            FinalizerChange::Add if there => return Ok(()),
            FinalizerChange::Remove if !there => return Ok(()),
            FinalizerChange::Add if stored.deleting() => {
                let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
                return Err(WriteError::Refused(why.to_owned()));
            }
            FinalizerChange::Add => finalizers.push(finalizer.to_owned()),
            FinalizerChange::Remove => finalizers.retain(|name| name != finalizer),
        }
        if stored.text("resourceVersion") != resource_version {
            return Err(WriteError::Conflict);
        }
        let mut value = Value::clone(&stored.value);
        let last = finalizers.is_empty();
        object::set(
            &mut value["metadata"],
            "finalizers",
            (!last).then(|| json!(finalizers)),
        );
        if last && stored.deleting() {
            self.remove(&key, value);
            if self.waits(&key) {
                self.reconcile(Arc::clone(&self.reading));
            }
        } else {
            let stored = stored.clone();
            self.store(key, stored, value);
        }
        Ok(())
    }

    pub(in crate::source::folder) fn set_cluster_bus(
        &mut self,
        channel: &ObjectKey,
        resource_version: &str,
        cluster_bus: &str,
    ) -> Result<(), WriteError> {
        let (key, stored) = self.find(channel)?;
        if stored.text("resourceVersion") != resource_version {
            return Err(WriteError::Conflict);
        }
        let mut value = Value::clone(&stored.value);
        value["spec"]["clusterBus"] = json!(cluster_bus);
        let checked = self
            .schemas
            .check(&value, Some(&stored.value))
            .map_err(|refusals| WriteError::Refused(object::message(&key, &refusals)))?;
        let next = Stored {
            cluster_bus: Some(cluster_bus.to_owned()),
            ..stored.clone()
        };
        if let Some(value) = stored.updated(checked) {
            self.store(key, next, value);
        }
        Ok(())
    }

    /// Whether a manifest waits for the end of an object of that name.
    fn waits(&self, key: &Key) -> bool {
        let mut documents = self
            .reading
            .files
            .values()
            .flat_map(|documents| documents.iter());
        documents.any(|(_, document)| match document {
            Document::Ours(kind, value) => *kind == key.0 && object::key(*kind, value) == *key,
            Document::Namespace(_)
            | Document::ConfigMap(_)
            | Document::Foreign(_)
            | Document::Broken(_) => false,
        })
    }

    fn find(&self, object: &ObjectKey) -> Result<(Key, &Stored), WriteError> {
        let key = (object.kind, object.namespace.clone(), object.name.clone());
        match self.objects.get(&key) {
            Some(stored) if stored.text("uid") == object.uid => Ok((key, stored)),
            _ => Err(WriteError::Gone),
        }
    }
}

/// Whether its status is one: types and enums are.
fn decodes(kind: Kind, value: &Value) -> Result<(), WriteError> {
    let decoded = match kind {
        Kind::Bus => Bus::deserialize(value).map(drop),
        Kind::ClusterBus => ClusterBus::deserialize(value).map(drop),
        Kind::Channel => Channel::deserialize(value).map(drop),
        Kind::Subscription => Subscription::deserialize(value).map(drop),
    };
    decoded.map_err(|error| WriteError::Refused(format!("status: Invalid value: {error}")))
}
