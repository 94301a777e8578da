//! `docs/fields.md`: every field with its type, default, bound and meaning, and whether it works yet.

use std::fmt::Write as _;

use serde_json::Value;

use crate::crds::crds;
use crate::support::{Kind, Support};

/// One leaf of a spec's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// As `spec.delivery.statusRules[].status`.
    pub path: String,
    /// Its type, for a person.
    pub kind: String,
    /// Its default in the schema; empty when there is none.
    pub default: String,
    /// Its bounds, for a person; empty when there are none.
    pub bounds: String,
    /// What it means.
    pub meaning: String,
}

/// Fields that are a core/v1 or meta/v1 type, or that nest without end: one leaf each.
const WHOLE: &[&str] = &[
    "spec.dispatcher",
    "spec.provisioner",
    "spec.volumes",
    "spec.resources",
    "spec.imagePullSecrets",
    "spec.affinity",
    "spec.tolerations",
    "spec.topologySpreadConstraints",
    "spec.allowedNamespaces",
    "spec.filters[]",
];

/// Every leaf of that kind's spec, in the schema's order.
#[must_use]
pub fn leaves(kind: Kind) -> Vec<Leaf> {
    let mut found = Vec::new();
    for crd in crds() {
        let value = serde_json::to_value(&crd).unwrap_or_default();
        if crd.spec.names.kind == kind.as_str() {
            let spec = value.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
            spec.into_iter()
                .for_each(|spec| walk(spec, "spec", "", &mut found));
        }
    }
    found
}

fn walk(schema: &Value, path: &str, above: &str, found: &mut Vec<Leaf>) {
    let meaning = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or(above);
    let properties = schema.get("properties").and_then(Value::as_object);
    if WHOLE.contains(&path) {
        found.push(leaf(schema, path, meaning));
    } else if let Some(properties) = properties {
        for (key, inner) in properties {
            walk(inner, &format!("{path}.{key}"), meaning, found);
        }
    } else if let Some(items) = schema.get("items") {
        let before = found.len();
        walk(items, &format!("{path}[]"), meaning, found);
        // The list's own bound and meaning, where its items are plain.
        if let [only] = found.get_mut(before..).unwrap_or_default()
            && only.path == format!("{path}[]")
        {
            meaning.clone_into(&mut only.meaning);
            only.bounds = joined(&[bounds(schema), only.bounds.clone()]);
        }
    } else {
        found.push(leaf(schema, path, meaning));
    }
}

fn leaf(schema: &Value, path: &str, meaning: &str) -> Leaf {
    let kind = match schema.get("type").and_then(Value::as_str) {
        _ if schema.get("x-kubernetes-int-or-string").is_some() => "integer or string",
        Some("object") if schema.get("additionalProperties").is_some() => "map",
        Some(kind) => kind,
        None => "any",
    };
    Leaf {
        path: path.to_owned(),
        kind: kind.to_owned(),
        default: schema
            .get("default")
            .map(Value::to_string)
            .unwrap_or_default(),
        bounds: bounds(schema),
        meaning: meaning.to_owned(),
    }
}

fn bounds(schema: &Value) -> String {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let mut all = Vec::new();
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<_> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|v| format!("`{v}`"))
            .collect();
        all.push(values.join(", "));
    }
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => all.push(format!("{least} to {most}")),
        (Some(least), None) => all.push(format!("at least {least}")),
        (None, Some(most)) => all.push(format!("at most {most}")),
        (None, None) => {}
    }
    for (key, unit) in [
        ("maxItems", "items"),
        ("maxProperties", "entries"),
        ("maxLength", "characters"),
    ] {
        all.extend(number(key).map(|most| format!("at most {most} {unit}")));
    }
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let messages = rules
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.get("message")?.as_str());
    all.extend(messages.map(ToOwned::to_owned));
    joined(&all)
}

fn joined(parts: &[String]) -> String {
    let parts: Vec<_> = parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(String::as_str)
        .collect();
    parts.join("; ")
}

/// `docs/fields.md`.
#[must_use]
pub fn fields_markdown() -> String {
    let mut page = String::from(
        "# Fields\n\n\
         <!-- Generated from crates/api; `UPDATE=1 cargo test -p busway-api` writes it. -->\n\n\
         Every field of every kind's `spec`. A field that is *refused* makes its object not Ready with reason \
         `NotYetSupported`, naming it; it is never silently ignored. *Operator*: the operator reads it; in dev mode \
         and with `--standalone` there is no workload to apply it to. Defaults of `delivery` are in its fields' \
         meaning, because it is merged field by field.\n",
    );
    for kind in Kind::ALL {
        let _ = write!(
            page,
            "\n## {}\n\n| Field | Type | Default | Bounds | Meaning | State |\n|---|---|---|---|---|---|\n",
            kind.as_str()
        );
        let table = kind.fields();
        for leaf in leaves(kind) {
            let support = table.iter().find(|field| field.path == leaf.path);
            let state = support.map_or_else(String::new, |field| state(field.support));
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | {} |",
                leaf.path,
                leaf.kind,
                if leaf.default.is_empty() {
                    String::new()
                } else {
                    format!("`{}`", leaf.default)
                },
                leaf.bounds.replace('|', "\\|"),
                leaf.meaning.replace('|', "\\|"),
                state
            );
        }
    }
    page
}

fn state(support: Support) -> String {
    match support {
        Support::Working => "working".to_owned(),
        Support::Operator => "operator".to_owned(),
        Support::Refused(why) => format!("refused: {why}"),
    }
}
