//! Checks a manifest as an API server does, without one: unknown fields, the structural schema, defaults, CEL.
//!
//! What is refused here is refused there, at the same path and in much the same words; a table of manifests
//! (`testdata/`) is run against both.

mod metadata;
mod structural;

use std::collections::BTreeMap;
use std::fmt;

use kube::core::cel::{
    CompiledSchema, ErrorKind, apply_defaults, compile_schema, validate_compiled,
};
use serde_json::Value;

use crate::API_VERSION;
use crate::crds::crds;

/// Why a field is refused; the words are the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The schema has no such field.
    Unknown,
    /// It must be set.
    Required,
    /// Its type, form or value is wrong.
    Invalid,
    /// It is none of the values that there are.
    Unsupported,
    /// It is too long a string.
    TooLong,
    /// It is too long a list or too large a map.
    TooMany,
    /// It is in the list already.
    Duplicate,
}

impl Cause {
    /// Whether the API server runs no rule (CEL) on an object refused so.
    const fn blocks_rules(self, type_is_wrong: bool) -> bool {
        match self {
            Self::Unknown | Self::Required | Self::Unsupported | Self::TooLong | Self::TooMany => {
                true
            }
            Self::Invalid => type_is_wrong,
            Self::Duplicate => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown field",
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::Unsupported => "Unsupported value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Duplicate => "Duplicate value",
        })
    }
}

/// One field that is refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {cause}{}{detail}", if path.is_empty() { "<nil>" } else { path.as_str() }, if detail.is_empty() { "" } else { ": " })]
pub struct Refusal {
    /// The field, as `spec.delivery.statusRules[0].status`; empty for the object as a whole.
    pub path: String,
    /// Why.
    pub cause: Cause,
    /// Why, in words.
    pub detail: String,
    type_is_wrong: bool,
}

impl Refusal {
    fn new(path: &str, cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            cause,
            detail: detail.into(),
            type_is_wrong: false,
        }
    }

    fn of_type(path: &str, detail: String) -> Self {
        Self {
            type_is_wrong: true,
            ..Self::new(path, Cause::Invalid, detail)
        }
    }
}

/// The schemas of our kinds, compiled once.
pub struct Schemas {
    kinds: BTreeMap<String, Schema>,
}

struct Schema {
    namespaced: bool,
    plain: Value,
    rules: CompiledSchema,
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}

impl Default for Schemas {
    fn default() -> Self {
        Self::new()
    }
}

impl Schemas {
    /// Compiles the rules of all kinds; some milliseconds.
    #[must_use]
    pub fn new() -> Self {
        let kinds = crds().into_iter().filter_map(|crd| {
            let namespaced = crd.spec.scope == "Namespaced";
            let schema = crd
                .spec
                .versions
                .into_iter()
                .next()?
                .schema?
                .open_api_v3_schema?;
            let plain = serde_json::to_value(schema).ok()?;
            let rules = compile_schema(&plain);
            let schema = Schema {
                namespaced,
                plain,
                rules,
            };
            Some((crd.spec.names.kind, schema))
        });
        Self {
            kinds: kinds.collect(),
        }
    }

    /// Whether this is an object of ours at all, by apiVersion and kind.
    #[must_use]
    pub fn knows(&self, manifest: &Value) -> bool {
        self.of(manifest).is_some()
    }

    fn of(&self, manifest: &Value) -> Option<&Schema> {
        let text = |key| manifest.get(key).and_then(Value::as_str);
        (text("apiVersion") == Some(API_VERSION))
            .then(|| text("kind").and_then(|kind| self.kinds.get(kind)))
            .flatten()
    }

    /// The object as an API server would store it, with defaults. With `old`, as an update of that stored object.
    ///
    /// # Errors
    /// All that is wrong with it; never empty.
    pub fn check(&self, manifest: &Value, old: Option<&Value>) -> Result<Value, Vec<Refusal>> {
        let Some(schema) = self.of(manifest) else {
            let detail = format!(
                "must be a kind of {API_VERSION}: Bus, ClusterBus, Channel or Subscription"
            );
            return Err(vec![Refusal::new("kind", Cause::Unsupported, detail)]);
        };
        let mut wrong = structural::unknown_fields(&schema.plain, manifest);
        wrong.extend(metadata::unknown_fields(manifest));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let object = structural::without_nulls(&schema.plain, manifest);
        let object = apply_defaults(&schema.plain, &object);
        wrong.extend(metadata::check(&object, schema.namespaced));
        wrong.extend(structural::check(&schema.plain, &object));
        if !wrong
            .iter()
            .any(|refusal| refusal.cause.blocks_rules(refusal.type_is_wrong))
        {
            wrong.extend(check_rules(&schema.rules, &object, old));
        }
        if wrong.is_empty() {
            Ok(object)
        } else {
            Err(wrong)
        }
    }
}

fn check_rules(rules: &CompiledSchema, object: &Value, old: Option<&Value>) -> Vec<Refusal> {
    let Err(errors) = validate_compiled(rules, object, old) else {
        return Vec::new();
    };
    let refusals = errors.into_vec().into_iter().map(|error| {
        let detail = match error.kind {
            ErrorKind::ValidationFailure => error.message,
            // Never seen, because each rule of ours is tried here and on a server; refused rather than let through.
            _ => format!("rule {} could not be run: {}", error.rule, error.message),
        };
        Refusal::new(&error.field_path, Cause::Invalid, detail)
    });
    refusals.collect()
}
