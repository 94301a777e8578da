//! Filters on a subscription: CloudEvents Subscriptions API dialects, one a filter.

use std::collections::BTreeMap;

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema;

/// Attribute name → value.
pub type Attributes = BTreeMap<String, String>;

/// One filter: exactly one dialect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [one_dialect()]))]
pub struct Filter {
    /// Every named attribute equals its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub exact: Option<Attributes>,
    /// Every named attribute begins with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub prefix: Option<Attributes>,
    /// Every named attribute ends with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub suffix: Option<Attributes>,
    /// All of these hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub all: Option<Vec<NestedFilter>>,
    /// One of these holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub any: Option<Vec<NestedFilter>>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<NestedFilter>,
    /// This CloudEvents SQL v1 expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cesql: Option<String>,
}

/// A filter inside a filter: exactly one dialect. What nests deeper is checked by the Monitor: at most 5 levels and
/// 64 filters in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [one_dialect()]))]
pub struct NestedFilter {
    /// Every named attribute equals its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub exact: Option<Attributes>,
    /// Every named attribute begins with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub prefix: Option<Attributes>,
    /// Every named attribute ends with its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::attributes")]
    pub suffix: Option<Attributes>,
    /// All of these filters hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deeper_filters")]
    pub all: Option<Vec<Value>>,
    /// One of these filters holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deeper_filters")]
    pub any: Option<Vec<Value>>,
    /// This filter does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::deeper_filter")]
    pub not: Option<Value>,
    /// This CloudEvents SQL v1 expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cesql: Option<String>,
}

fn one_dialect() -> Rule {
    Rule::new(
        "[has(self.exact), has(self.prefix), has(self.suffix), has(self.all), has(self.any), has(self.not), has(self.cesql)].filter(x, x).size() == 1",
    )
    .message("a filter has exactly one of exact, prefix, suffix, all, any, not, cesql")
}
