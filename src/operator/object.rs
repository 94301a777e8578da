//! What our four kinds have in common.

use std::fmt::Debug;

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::feed::Unread;

/// One of our kinds.
pub(crate) trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// As manifests write it.
    const KIND: &'static str;
    /// Fields of its spec that matter to others, also where the rest of it cannot be read.
    const OUTWARD: &'static [&'static str];

    /// What its status says.
    fn conditions(&self) -> &[Condition];

    /// Its status; null without one.
    fn status_value(&self) -> Value;

    /// Its UID; empty for what no API server has seen.
    fn uid_or_empty(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// Its generation.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }

    /// Whether it was asked to go.
    fn is_going(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// `Kind namespace/name`, for people.
    fn told(&self) -> String {
        told(
            Self::KIND,
            self.meta().namespace.as_deref(),
            &self.name_any(),
        )
    }

    /// What an Event is about.
    fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(busway_api::API_VERSION.to_owned()),
            kind: Some(Self::KIND.to_owned()),
            namespace: self.meta().namespace.clone(),
            name: self.meta().name.clone(),
            uid: self.meta().uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// `Kind namespace/name`, for people.
pub(crate) fn told(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// On an object in our memory only: why its spec could not be read.
const UNDECODABLE: &str = "channels.busway.dev/undecodable";

/// Why its spec is not the one that the API server has: this version cannot read that one.
pub(crate) fn undecodable<K: Object>(object: &K) -> Option<&str> {
    object.annotations().get(UNDECODABLE).map(String::as_str)
}

/// An object of which only what others see of it could be read, and its status.
pub(crate) fn salvage<K: Object>(unread: &Unread) -> Option<K> {
    let fields = K::OUTWARD.iter().filter_map(|field| {
        let value = unread.raw.get("spec")?.get(field)?;
        Some(((*field).to_owned(), value.clone()))
    });
    let mut raw = json!({
        "apiVersion": busway_api::API_VERSION,
        "kind": K::KIND,
        "metadata": unread.metadata,
        "spec": fields.collect::<Map<_, _>>(),
    });
    let without_status = raw.clone();
    if let Some(status) = unread.raw.get("status") {
        raw["status"] = status.clone();
    }
    let object = serde_json::from_value::<K>(raw);
    let mut object = object
        .or_else(|_| serde_json::from_value::<K>(without_status))
        .ok()?;
    let annotations = object.annotations_mut();
    annotations.insert(UNDECODABLE.to_owned(), unread.error.clone());
    Some(object)
}

/// What is kept of an object: nobody can call it undecodable from outside.
pub(crate) fn trim<K: Object>(object: &mut K) {
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove(UNDECODABLE);
    }
}

macro_rules! objects {
    ($($kind:ident: $outward:expr),+ $(,)?) => {$(
        impl Object for $kind {
            const KIND: &'static str = stringify!($kind);
            const OUTWARD: &'static [&'static str] = $outward;

            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn status_value(&self) -> Value {
                serde_json::to_value(&self.status).unwrap_or_default()
            }
        }
    )+};
}

objects!(
    Bus: &[],
    ClusterBus: &["allowedNamespaces", "revokeGrace"],
    Channel: &["bus", "clusterBus"],
    Subscription: &["channel", "subscriber"],
);

#[cfg(test)]
#[path = "object/tests.rs"]
mod tests;
