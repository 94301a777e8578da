//! The structural schema: types, bounds, required and unknown fields. As much of OpenAPI v3 as our schemas use.

use serde_json::{Map, Value};

use super::{Cause, Refusal};

/// Fields that the schema does not have.
pub(super) fn unknown_fields(schema: &Value, value: &Value) -> Vec<Refusal> {
    let mut found = Vec::new();
    find_unknown(schema, value, "", &mut found);
    found
}

fn find_unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<Refusal>) {
    if flag(schema, "x-kubernetes-preserve-unknown-fields") {
        return;
    }
    match value {
        Value::Object(fields) => {
            // metadata is the server's own; an object without properties and values takes nothing.
            if path == "metadata" {
                return;
            }
            for (key, inner) in fields {
                let path = join(path, key);
                match field_schema(schema, key) {
                    Some(schema) => find_unknown(schema, inner, &path, found),
                    None if is_envelope(&path) => {}
                    None => found.push(Refusal::new(&path, Cause::Unknown, "")),
                }
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                if let Some(schema) = schema.get("items") {
                    find_unknown(schema, item, &format!("{path}[{place}]"), found);
                }
            }
        }
        _ => {}
    }
}

fn is_envelope(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata")
}

fn field_schema<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema
        .get("properties")
        .and_then(|properties| properties.get(key));
    named.or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|all| all.is_object())
    })
}

/// Without fields that are `null`: a server drops them where the schema does not say `nullable`, and ours never does.
pub(super) fn without_nulls(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter_map(|(key, inner)| match field_schema(schema, key) {
                    Some(_) if inner.is_null() => None,
                    Some(schema) => Some((key.clone(), without_nulls(schema, inner))),
                    None => Some((key.clone(), inner.clone())),
                });
            Value::Object(kept.collect())
        }
        Value::Array(items) => match schema.get("items") {
            Some(schema) => items
                .iter()
                .map(|item| without_nulls(schema, item))
                .collect(),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

/// Types, bounds, required fields, keys of lists.
pub(super) fn check(schema: &Value, object: &Value) -> Vec<Refusal> {
    let mut wrong = Vec::new();
    check_value(schema, object, "", &mut wrong);
    wrong
}

fn check_value(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Refusal>) {
    if let Some(refusal) = check_type(schema, value, path) {
        wrong.push(refusal);
        return;
    }
    check_enum(schema, value, path, wrong);
    match value {
        Value::String(text) => check_text(schema, text, path, wrong),
        Value::Number(_) => check_number(schema, value, path, wrong),
        Value::Array(items) => check_list(schema, items, path, wrong),
        Value::Object(fields) => check_object(schema, fields, path, wrong),
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_type(schema: &Value, value: &Value, path: &str) -> Option<Refusal> {
    let whole =
        value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0);
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if whole => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if flag(schema, "x-kubernetes-int-or-string") {
        if matches!(found, "integer" | "string") {
            return None;
        }
        "integer,string"
    } else {
        schema.get("type").and_then(Value::as_str)?
    };
    let fits = wanted == found || (wanted == "number" && found == "integer");
    (!fits).then(|| {
        Refusal::of_type(
            path,
            format!("{found:?}: {path} in body must be of type {wanted}: {found:?}"),
        )
    })
}

fn check_enum(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Refusal>) {
    let Some(values) = schema.get("enum").and_then(Value::as_array) else {
        return;
    };
    if !values.contains(value) {
        let all: Vec<_> = values.iter().map(Value::to_string).collect();
        let detail = format!("{value}: supported values: {}", all.join(", "));
        wrong.push(Refusal::new(path, Cause::Unsupported, detail));
    }
}

fn check_text(schema: &Value, text: &str, path: &str, wrong: &mut Vec<Refusal>) {
    let length = text.chars().count() as u64;
    if let Some(most) = bound(schema, "maxLength").filter(|&most| length > most) {
        let detail = format!("may not be more than {most} bytes");
        wrong.push(Refusal::new(path, Cause::TooLong, detail));
    }
    if let Some(least) = bound(schema, "minLength").filter(|&least| length < least) {
        let detail = format!("{text:?}: {path} in body should be at least {least} chars long");
        wrong.push(Refusal::new(path, Cause::Invalid, detail));
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, wrong: &mut Vec<Refusal>) {
    let number = value.as_f64().unwrap_or(f64::NAN);
    let limit = |key| schema.get(key).and_then(Value::as_f64);
    if let Some(most) = limit("maximum").filter(|&most| number > most) {
        let detail = format!("{value}: {path} in body should be less than or equal to {most}");
        wrong.push(Refusal::new(path, Cause::Invalid, detail));
    }
    if let Some(least) = limit("minimum").filter(|&least| number < least) {
        let detail = format!("{value}: {path} in body should be greater than or equal to {least}");
        wrong.push(Refusal::new(path, Cause::Invalid, detail));
    }
}

fn check_list(schema: &Value, items: &[Value], path: &str, wrong: &mut Vec<Refusal>) {
    let length = items.len() as u64;
    if let Some(most) = bound(schema, "maxItems").filter(|&most| length > most) {
        let detail = format!("{length}: must have at most {most} items");
        // No look at the items: their number is not bounded then.
        wrong.push(Refusal::new(path, Cause::TooMany, detail));
        return;
    }
    if let Some(least) = bound(schema, "minItems").filter(|&least| length < least) {
        let detail = format!("{length}: {path} in body should have at least {least} items");
        wrong.push(Refusal::new(path, Cause::Invalid, detail));
    }
    if let Some(inner) = schema.get("items") {
        for (place, item) in items.iter().enumerate() {
            check_value(inner, item, &format!("{path}[{place}]"), wrong);
        }
    }
    check_keys(schema, items, path, wrong);
}

fn check_keys(schema: &Value, items: &[Value], path: &str, wrong: &mut Vec<Refusal>) {
    let keys = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array);
    let key_of = |item: &Value| -> Option<Value> {
        match (schema.get("x-kubernetes-list-type")?.as_str()?, keys) {
            ("set", _) => Some(item.clone()),
            ("map", Some(keys)) => {
                let pairs = keys
                    .iter()
                    .filter_map(Value::as_str)
                    .filter_map(|key| Some((key.to_owned(), item.get(key)?.clone())));
                Some(Value::Object(pairs.collect()))
            }
            _ => None,
        }
    };
    let mut seen: Vec<Value> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Some(key) = key_of(item) else { return };
        if seen.contains(&key) {
            let path = format!("{path}[{place}]");
            wrong.push(Refusal::new(&path, Cause::Duplicate, key.to_string()));
        } else {
            seen.push(key);
        }
    }
}

fn check_object(schema: &Value, fields: &Map<String, Value>, path: &str, wrong: &mut Vec<Refusal>) {
    let required = schema.get("required").and_then(Value::as_array);
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(key) {
            wrong.push(Refusal::new(&join(path, key), Cause::Required, ""));
        }
    }
    let count = fields.len() as u64;
    if let Some(most) = bound(schema, "maxProperties").filter(|&most| count > most) {
        let detail = format!("{count}: must have at most {most} items");
        wrong.push(Refusal::new(path, Cause::TooMany, detail));
    }
    if let Some(least) = bound(schema, "minProperties").filter(|&least| count < least) {
        let detail = format!("{count}: {path} in body should have at least {least} properties");
        wrong.push(Refusal::new(path, Cause::Invalid, detail));
    }
    for (key, inner) in fields {
        if let Some(schema) = field_schema(schema, key) {
            check_value(schema, inner, &join(path, key), wrong);
        }
    }
}

fn bound(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
