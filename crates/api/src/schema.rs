//! Pieces of schema that no derive makes.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// A core/v1 type inside ours, without the descriptions below its first level: with them a CRD would outgrow the
/// annotation that client-side `kubectl apply` keeps.
pub(crate) fn embedded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.remove("description");
        let fields = object.get_mut("properties").and_then(Value::as_object_mut);
        for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
            for key in ["properties", "items", "additionalProperties"] {
                field.get_mut(key).into_iter().for_each(strip_descriptions);
            }
        }
    }
    schema
}

/// A list of such, with the name as its key where there is one.
pub(crate) fn embedded_list<T: JsonSchema>(
    generator: &mut SchemaGenerator,
    max: usize,
    key: Option<&str>,
) -> Schema {
    let items = embedded::<T>(generator);
    let mut schema = json_schema!({ "type": "array", "maxItems": max, "items": items });
    if let Some(key) = key {
        schema.insert("x-kubernetes-list-type".into(), "map".into());
        schema.insert("x-kubernetes-list-map-keys".into(), vec![key].into());
    }
    schema
}

fn strip_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // A property may itself be called description; then it is an object, not a text.
            if object.get("description").is_some_and(Value::is_string) {
                object.remove("description");
            }
            object.values_mut().for_each(strip_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_descriptions),
        _ => {}
    }
}

/// A map of short texts.
pub(crate) fn texts(entries: usize, length: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": entries,
        "additionalProperties": { "type": "string", "maxLength": length },
    })
}

/// Attribute → value, in a filter.
pub(crate) fn attributes(_: &mut SchemaGenerator) -> Schema {
    let mut schema = texts(32, 1024);
    schema.insert("minProperties".into(), 1.into());
    schema
}

/// Filters below the typed levels.
pub(crate) fn deeper_filters(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "maxItems": 64, "items": deeper_filter(generator) })
}

/// A filter below the typed levels.
pub(crate) fn deeper_filter(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// metav1.Condition, one a type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "minLength": 1, "maxLength": 316, "description": "What is said." },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds." },
                "reason": { "type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, as one stable word." },
                "message": { "type": "string", "maxLength": 32768, "description": "Why, for a person." },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When the status last changed." },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0, "description": "The generation that this was said of." },
            },
        },
    })
}
