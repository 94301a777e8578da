//! One object: how a manifest becomes it, and how it changes.

use std::sync::Arc;

use busway_api::validate::Refusal;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Key;
use crate::source::{Kind, folder::status::Owners};

/// Refusals of one manifest that are shown.
const MAX_REFUSALS: usize = 10;

/// What is kept of an object.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The file it came from.
    pub(super) file: String,
    /// As it is told.
    pub(super) value: Arc<Value>,
    /// Who owns what of its status.
    pub(super) owners: Owners,
    /// The ClusterBus it was put on, where its manifest names none.
    pub(super) cluster_bus: Option<String>,
}

impl Stored {
    fn metadata(&self, field: &str) -> Option<&Value> {
        self.value.get("metadata")?.get(field)
    }

    pub(super) fn text(&self, field: &str) -> &str {
        self.metadata(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn deleting(&self) -> bool {
        self.metadata("deletionTimestamp").is_some()
    }

    pub(super) fn finalizers(&self) -> Vec<String> {
        let list = self.metadata("finalizers").and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(Value::as_str);
        names.map(str::to_owned).collect()
    }

    /// With what a checked manifest says; none when that is what it is.
    pub(super) fn updated(&self, checked: Value) -> Option<Value> {
        let mut value = Value::clone(&self.value);
        let mut same = value.get("spec") == checked.get("spec");
        if !same {
            value["spec"] = checked.get("spec").cloned().unwrap_or_default();
            raise_generation(&mut value);
        }
        for field in ["labels", "annotations"] {
            let new = checked.pointer(&format!("/metadata/{field}"));
            if self.metadata(field) != new {
                same = false;
                set(&mut value["metadata"], field, new.cloned());
            }
        }
        (!same).then_some(value)
    }

    pub(super) fn marked_for_deletion(&self) -> Value {
        let mut value = Value::clone(&self.value);
        value["metadata"]["deletionTimestamp"] = json!(now());
        value["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        raise_generation(&mut value);
        value
    }
}

pub(super) fn raise_generation(value: &mut Value) {
    let generation = value
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    value["metadata"]["generation"] = json!(generation.saturating_add(1));
}

pub(super) fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => drop(object.insert(field.to_owned(), value)),
        None => drop(object.remove(field)),
    }
}

/// A manifest as it is sent: in a namespace, without what is an API server's to say, and on the ClusterBus that was
/// chosen for it (as kubectl leaves alone what it did not set).
pub(super) fn admit(manifest: &Value, cluster_bus: Option<&str>) -> Value {
    let mut value = manifest.clone();
    set(&mut value, "status", None);
    let cluster_wide = value.get("kind").and_then(Value::as_str) == Some("ClusterBus");
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generation",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        if !cluster_wide {
            let namespace = metadata.entry("namespace").or_insert(Value::Null);
            if namespace.is_null() || namespace == "" {
                *namespace = json!("default");
            }
        }
    }
    if let (Some(cluster_bus), Some(spec)) = (
        cluster_bus,
        value.get_mut("spec").and_then(Value::as_object_mut),
    ) && !spec.contains_key("bus")
        && !spec.contains_key("clusterBus")
    {
        spec.insert("clusterBus".to_owned(), json!(cluster_bus));
    }
    value
}

/// A new object of a checked manifest.
pub(super) fn created(mut checked: Value) -> Value {
    let metadata = &mut checked["metadata"];
    metadata["uid"] = json!(uid());
    metadata["generation"] = json!(1);
    metadata["creationTimestamp"] = json!(now());
    checked
}

/// A Namespace; none when it is as it was.
pub(super) fn namespace(name: &str, labels: Option<&Value>, old: Option<&Value>) -> Option<Value> {
    let mut all: Map<String, Value> = labels
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    all.retain(|_, value| value.is_string());
    all.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    let all = Value::Object(all);
    match old {
        Some(old) if old.pointer("/metadata/labels") == Some(&all) => None,
        Some(old) => {
            let mut value = old.clone();
            value["metadata"]["labels"] = all;
            Some(value)
        }
        None => Some(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "uid": uid(), "labels": all, "creationTimestamp": now() },
        })),
    }
}

pub(super) fn key(kind: Kind, manifest: &Value) -> Key {
    let text = |field| {
        let value = manifest
            .get("metadata")
            .and_then(|metadata| metadata.get(field));
        value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let namespace = match kind {
        Kind::ClusterBus => None,
        Kind::Bus | Kind::Channel | Kind::Subscription => {
            Some(text("namespace").unwrap_or("default").to_owned())
        }
    };
    (kind, namespace, text("name").unwrap_or_default().to_owned())
}

/// Of an object as it was kept.
pub(super) fn key_of(object: &Value) -> Option<Key> {
    let kind = match object.get("kind")?.as_str()? {
        "Bus" => Kind::Bus,
        "ClusterBus" => Kind::ClusterBus,
        "Channel" => Kind::Channel,
        "Subscription" => Kind::Subscription,
        _ => return None,
    };
    Some(key(kind, object))
}

pub(super) fn title((kind, namespace, name): &Key) -> String {
    match namespace {
        Some(namespace) => format!("{kind:?} {namespace}/{name}"),
        None => format!("{kind:?} {name}"),
    }
}

/// In the words of kubectl.
pub(super) fn message((kind, _, name): &Key, refusals: &[Refusal]) -> String {
    let mut all: Vec<String> = refusals
        .iter()
        .take(MAX_REFUSALS)
        .map(ToString::to_string)
        .collect();
    if refusals.len() > MAX_REFUSALS {
        all.push(format!("and {} more", refusals.len() - MAX_REFUSALS));
    }
    format!("The {kind:?} {name:?} is invalid: {}", all.join("; "))
}

fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
}

fn uid() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes())
        .into_uuid()
        .to_string()
}
