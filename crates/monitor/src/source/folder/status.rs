//! Server-side apply of a status: who owns which field, and what becomes of the fields that nobody owns any more.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The way to a field; an element of `conditions` is named by its type.
type Path = Vec<String>;
/// One manager's fields.
type Fields = BTreeMap<Path, Value>;

/// A list that is merged by `type`, as the schema says.
const CONDITIONS: &str = "conditions";

/// Every manager's fields of one status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Owners(BTreeMap<String, Fields>);

impl Owners {
    /// Applies all that `manager` has to say, forced: what it said before and does not say now goes, and what others
    /// said of the same fields is overwritten.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn apply(&mut self, manager: &str, status: &Value) -> Result<(), String> {
        let fields = flatten(status)?;
        for (other, theirs) in &mut self.0 {
            if other != manager {
                theirs.retain(|path, value| {
                    !fields.contains_key(path)
                        && !fields
                            .iter()
                            .any(|(new, said)| clash(path, value, new, said))
                });
            }
        }
        self.0.insert(manager.to_owned(), fields);
        Ok(())
    }

    /// The status that comes of it; none when nobody says anything.
    pub(super) fn status(&self) -> Option<Value> {
        let mut merged = Fields::new();
        for fields in self.0.values() {
            merged.extend(
                fields
                    .iter()
                    .map(|(path, value)| (path.clone(), value.clone())),
            );
        }
        (!merged.is_empty()).then(|| unflatten(merged))
    }

    /// As it is kept in the state file: by manager, what it last applied.
    pub(super) fn saved(&self) -> BTreeMap<String, Value> {
        self.0
            .iter()
            .map(|(manager, fields)| (manager.clone(), unflatten(fields.clone())))
            .collect()
    }

    /// From the state file; what cannot be read any more will be applied again.
    pub(super) fn restored(saved: &BTreeMap<String, Value>) -> Self {
        let fields = |status| flatten(status).unwrap_or_default();
        Self(
            saved
                .iter()
                .map(|(manager, status)| (manager.clone(), fields(status)))
                .collect(),
        )
    }
}

/// Whether a field is in the way of another: one is a plain value where the other has fields below.
fn clash(path: &Path, value: &Value, new: &Path, said: &Value) -> bool {
    let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    (new.starts_with(path) && !empty(value)) || (path.starts_with(new) && !empty(said))
}

fn flatten(status: &Value) -> Result<Fields, String> {
    let Value::Object(fields) = status else {
        return Err("status: Invalid value: must be an object".to_owned());
    };
    let mut flat = Fields::new();
    for (name, value) in fields {
        match value {
            // As if it were not said.
            Value::Null => {}
            Value::Array(items) if name == CONDITIONS => {
                for (index, item) in items.iter().enumerate() {
                    let Some(kind) = item.get("type").and_then(Value::as_str) else {
                        return Err(format!("status.conditions[{index}].type: Required value"));
                    };
                    let path = vec![name.clone(), kind.to_owned()];
                    if flat.contains_key(&[path.clone(), vec!["type".to_owned()]].concat()) {
                        return Err(format!(
                            "status.conditions[{index}]: Duplicate value: {kind:?}"
                        ));
                    }
                    below(path, item, &mut flat);
                }
            }
            value => below(vec![name.clone()], value, &mut flat),
        }
    }
    Ok(flat)
}

/// Maps have an owner for each field; lists and plain values have one as a whole.
fn below(path: Path, value: &Value, flat: &mut Fields) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let mut path = path.clone();
                path.push(name.clone());
                below(path, value, flat);
            }
        }
        value => drop(flat.insert(path, value.clone())),
    }
}

fn unflatten(fields: Fields) -> Value {
    let mut root = Map::new();
    for (path, value) in fields {
        put(&mut root, &path, value);
    }
    if let Some(conditions) = root.get_mut(CONDITIONS)
        && let Value::Object(by_type) = conditions.take()
    {
        *conditions = by_type
            .into_iter()
            .map(|(_, condition)| condition)
            .collect();
    }
    Value::Object(root)
}

fn put(place: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => drop(place.insert(last.clone(), value)),
        [step, way @ ..] => {
            let next = place.entry(step.clone()).or_insert(Value::Null);
            if !next.is_object() {
                *next = Value::Object(Map::new());
            }
            if let Value::Object(next) = next {
                put(next, way, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn each_manager_keeps_its_conditions_and_loses_what_it_no_longer_says() {
        let mut owners = Owners::default();
        let ready = json!({ "type": "Ready", "status": "False", "reason": "Waits" });
        let accepted = json!({ "type": "Accepted", "status": "True" });
        owners
            .apply(
                "plane",
                &json!({ "conditions": [ready], "subscriptions": 3 }),
            )
            .unwrap();
        owners
            .apply("operator", &json!({ "conditions": [accepted] }))
            .unwrap();
        let now = json!({ "type": "Ready", "status": "True" });
        owners
            .apply("plane", &json!({ "conditions": [now] }))
            .unwrap();
        assert_eq!(
            owners.status(),
            Some(json!({ "conditions": [accepted, now] }))
        );
        assert_eq!(Owners::restored(&owners.saved()), owners);
    }

    #[test]
    fn a_forced_apply_takes_a_field_over() {
        let mut owners = Owners::default();
        owners
            .apply(
                "a",
                &json!({ "address": { "url": "http://a", "name": "n" } }),
            )
            .unwrap();
        owners
            .apply("b", &json!({ "address": { "url": "http://b" } }))
            .unwrap();
        assert_eq!(
            owners.status(),
            Some(json!({ "address": { "url": "http://b", "name": "n" } }))
        );
        owners.apply("b", &json!({})).unwrap();
        assert_eq!(
            owners.status(),
            Some(json!({ "address": { "name": "n" } })),
            "b took it, b gave it up"
        );
        owners.apply("b", &json!({ "address": "none" })).unwrap();
        assert_eq!(owners.status(), Some(json!({ "address": "none" })));
    }

    #[test]
    fn a_condition_needs_a_type_and_only_one_of_each() {
        let mut owners = Owners::default();
        assert!(
            owners
                .apply("a", &json!({ "conditions": [{ "status": "True" }] }))
                .is_err()
        );
        let twice = json!({ "conditions": [{ "type": "Ready" }, { "type": "Ready" }] });
        assert!(
            owners
                .apply("a", &twice)
                .unwrap_err()
                .contains("conditions[1]")
        );
        assert_eq!(owners.status(), None);
    }
}
