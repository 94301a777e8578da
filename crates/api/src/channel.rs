//! Channel: a named address that takes messages.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::delivery::Delivery;
use crate::parameters::Argument;
use crate::schema;

/// A named address that takes messages.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "channels.busway.dev",
    version = "v1alpha1",
    kind = "Channel",
    shortname = "chan",
    category = "busway",
    namespaced,
    status = "ChannelStatus",
    derive = "PartialEq",
    doc = "A named address that takes messages; every Subscription of it gets them.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,53}[a-z0-9])?$')").message("metadata.name must be at most 55 lower-case letters, digits and '-', begin with a letter and not end with '-': it becomes a DNS label"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether it takes messages."),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is or is not ready."),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0].url", description = "Where to POST to."),
    printcolumn(name = "Subscriptions", type_ = "integer", json_path = ".status.subscriptions", description = "How many subscriptions it has."),
    printcolumn(name = "Bus", type_ = "string", json_path = ".spec.bus", description = "The Bus that carries it.", priority = 1),
    printcolumn(name = "ClusterBus", type_ = "string", json_path = ".spec.clusterBus", description = "The ClusterBus that carries it.", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "Why, in words.", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("!(has(self.bus) && has(self.clusterBus))").message("at most one of bus and clusterBus may be set"),
    Rule::new("!has(oldSelf.bus) || (has(self.bus) && self.bus == oldSelf.bus) || (has(self.migration) && !has(oldSelf.migration))").message("bus cannot be changed or removed: set migration: Drain in the same update to move the channel (remove an earlier one first), or make a new channel").field_path(".bus"),
    Rule::new("!has(oldSelf.clusterBus) || (has(self.clusterBus) && self.clusterBus == oldSelf.clusterBus) || (has(self.migration) && !has(oldSelf.migration))").message("clusterBus cannot be changed or removed: set migration: Drain in the same update to move the channel (remove an earlier one first), or make a new channel").field_path(".clusterBus"),
]))]
pub struct ChannelSpec {
    /// The Bus that carries it, in the same namespace. Without `bus` and `clusterBus` the default ClusterBus is
    /// written here once. Cannot be changed, but with `migration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub bus: Option<String>,
    /// The ClusterBus that carries it. Cannot be changed, but with `migration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_bus: Option<String>,
    /// Values for what the bus declares in `parameters.channel`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub arguments: Vec<Argument>,
    /// How its messages are delivered, where the Subscription says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Subjects that may send to it (`system:serviceaccount:<namespace>:<name>`, or a token's subject). Unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_senders: Option<Vec<String>>,
    /// Whether what backs it on the broker goes with it (`Delete`), or stays (`Retain`).
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Set to `Drain` in the update that changes `bus` or `clusterBus`: the channel moves to the new bus, and the old
    /// one is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// What becomes of what backs a deleted channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

/// How a channel moves to another bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum Migration {
    Drain,
}

/// What is known of a Channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// The generation that Ready was computed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Serviceable, Routable, Provisioned, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where to POST messages to: by host, and by path on the bus's Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub addresses: Vec<Address>,
    /// How many subscriptions it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub subscriptions: Option<i32>,
    /// Parameter → value that it was last provisioned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resolved_parameters")]
    pub resolved_parameters: Option<BTreeMap<String, String>>,
    /// How far its move to another bus is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationStatus>,
}

/// Where something is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Which form of address it is, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub name: Option<String>,
    /// The URL.
    #[schemars(length(max = 2048))]
    pub url: String,
}

/// How far a channel's move to another bus is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// The bus it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub from: Option<String>,
    /// The bus it moves to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub to: Option<String>,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// Messages left on the old bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<i64>,
}

pub(crate) fn resolved_parameters(_: &mut SchemaGenerator) -> Schema {
    schema::texts(64, 1024)
}
