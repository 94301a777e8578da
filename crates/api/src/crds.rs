//! The CustomResourceDefinitions, as they are applied and as dev mode reads them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::{Bus, Channel, ClusterBus, Subscription};

/// All four, in the order in which they are written.
///
/// These and not the derived `crd()` are what a cluster gets: the derived ones say `nullable` of every optional
/// field, which would store a `null` that nobody reads.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [
        Bus::crd(),
        ClusterBus::crd(),
        Channel::crd(),
        Subscription::crd(),
    ]
    .into_iter()
    .map(tidied)
    .collect()
}

fn tidied(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let Ok(mut value) = serde_json::to_value(&crd) else {
        return crd;
    };
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
    }
    serde_json::from_value(value).unwrap_or(crd)
}

/// Takes out what a server warns of or what only Rust cares for.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("nullable");
    object.remove("title");
    if object
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint") || format == "double")
    {
        object.remove("format");
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(values) = object.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            tidy(inner);
        }
    }
}
