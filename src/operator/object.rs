//! What our four kinds have in common.

use std::fmt::Debug;

use busway_api::{Bus, Channel, ClusterBus, Subscription};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// One of our kinds.
pub(crate) trait Object:
    Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// As manifests write it.
    const KIND: &'static str;

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

macro_rules! objects {
    ($($kind:ident),+) => {$(
        impl Object for $kind {
            const KIND: &'static str = stringify!($kind);

            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }

            fn status_value(&self) -> Value {
                serde_json::to_value(&self.status).unwrap_or_default()
            }
        }
    )+};
}

objects!(Bus, ClusterBus, Channel, Subscription);
