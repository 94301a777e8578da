//! What an API server asks of every object's metadata.

use serde_json::Value;

use super::{Cause, Refusal};
use crate::text::MAX_OBJECT_NAME;

const FIELDS: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
const MAX_NAMESPACE: usize = 63;

pub(super) fn unknown_fields(manifest: &Value) -> Vec<Refusal> {
    let fields = manifest.get("metadata").and_then(Value::as_object);
    fields
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter(|key| !FIELDS.contains(&key.as_str()))
        .map(|key| Refusal::new(&format!("metadata.{key}"), Cause::Unknown, ""))
        .collect()
}

pub(super) fn check(object: &Value, namespaced: bool) -> Vec<Refusal> {
    let text = |key| {
        object
            .pointer(&format!("/metadata/{key}"))
            .and_then(Value::as_str)
    };
    let mut wrong = Vec::new();
    match text("name") {
        None | Some("") => {
            wrong.push(Refusal::new(
                "metadata.name",
                Cause::Required,
                "name or generateName is required",
            ));
        }
        Some(name) if name.len() > MAX_OBJECT_NAME as usize => {
            let detail = format!("{name:?}: must be no more than {MAX_OBJECT_NAME} bytes");
            wrong.push(Refusal::new("metadata.name", Cause::Invalid, detail));
        }
        Some(name) if !name.split('.').all(is_label) => {
            let detail = format!(
                "{name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            );
            wrong.push(Refusal::new("metadata.name", Cause::Invalid, detail));
        }
        Some(_) => {}
    }
    match text("namespace") {
        Some(_) if !namespaced => {
            let detail = "not allowed on this type";
            wrong.push(Refusal::new("metadata.namespace", Cause::Invalid, detail));
        }
        Some(namespace) if namespace.len() > MAX_NAMESPACE || !is_label(namespace) => {
            let detail =
                format!("{namespace:?}: must be a DNS label of at most {MAX_NAMESPACE} characters");
            wrong.push(Refusal::new("metadata.namespace", Cause::Invalid, detail));
        }
        _ => {}
    }
    wrong
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
