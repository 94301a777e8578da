//! Bus and ClusterBus: how channels are carried. One spec, but for who may use a ClusterBus.

mod settings;
mod workload;

use k8s_openapi::api::core::v1::{Container, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub use self::settings::{CaBundle, Egress, Limits, Memory, NetworkPolicy, Server, WhenFull};
pub use self::workload::Workload;
use crate::admitted::AdmittedNamespace;
use crate::channel::Address;
use crate::delivery::Delivery;
use crate::parameters::Parameters;
use crate::schema;
use crate::text::{self, DurationText};

/// How the channels of a namespace are carried.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "channels.busway.dev",
    version = "v1alpha1",
    kind = "Bus",
    plural = "buses",
    shortname = "bus",
    category = "busway",
    namespaced,
    status = "BusStatus",
    derive = "PartialEq",
    doc = "How the channels of a namespace are carried.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether channels on it are carried."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is or is not ready."
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.address.url",
        description = "Where its receiver is."
    ),
    printcolumn(
        name = "Durable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Durable\")].reason",
        description = "What a 202 means.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Why, in words.",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("[has(self.memory), has(self.dispatcher)].filter(x, x).size() == 1").message("exactly one of memory and dispatcher must be set: a built-in bus, or a third party's dispatcher container"),
    Rule::new("!has(self.provisioner) || has(self.dispatcher)").message("provisioner goes with dispatcher only: a built-in bus needs none").field_path(".provisioner"),
    Rule::new("!has(self.volumes) || size(self.volumes) == 0 || has(self.dispatcher)").message("volumes go with dispatcher only: a built-in bus takes none").field_path(".volumes"),
    Rule::new("!has(self.image) || !has(self.dispatcher)").message("image pins the image of a built-in bus: set dispatcher.image instead").field_path(".image"),
    Rule::new("!has(self.memory) || !has(self.parameters) || ((!has(self.parameters.channel) || size(self.parameters.channel) == 0) && (!has(self.parameters.subscription) || size(self.parameters.subscription) == 0))").message("the memory bus has no parameters: remove them, or use a bus that declares them").field_path(".parameters"),
]))]
pub struct BusSpec {
    /// What channels and subscriptions on this bus may set, or must set when there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Carry messages in the dispatcher's memory. Exactly one of `memory` and `dispatcher` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Carry messages with a third party's bus: the container that receives and delivers (core/v1 Container).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::embedded::<Container>")]
    pub dispatcher: Option<Container>,
    /// A container of its own that provisions (core/v1 Container). Only with `dispatcher`; without it the dispatcher
    /// provisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::embedded::<Container>")]
    pub provisioner: Option<Container>,
    /// Volumes that `dispatcher` and `provisioner` mount (core/v1 Volume). Only with `dispatcher`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "volumes")]
    pub volumes: Vec<Volume>,
    /// The pods that serve this bus.
    #[serde(flatten)]
    pub workload: Workload,
    /// How messages on this bus are delivered, where Channel and Subscription say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// What the receiver takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// Which subscribers may be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
    /// Whether a NetworkPolicy guards the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// What one process of this bus may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

fn volumes(generator: &mut SchemaGenerator) -> Schema {
    schema::embedded_list::<Volume>(generator, 64, Some("name"))
}

/// How the channels of many namespaces are carried.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "channels.busway.dev",
    version = "v1alpha1",
    kind = "ClusterBus",
    plural = "clusterbuses",
    shortname = "cbus",
    category = "busway",
    status = "BusStatus",
    derive = "PartialEq",
    doc = "How the channels of many namespaces are carried.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether channels on it are carried."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is or is not ready."
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".status.address.url",
        description = "Where its receiver is."
    ),
    printcolumn(
        name = "Durable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Durable\")].reason",
        description = "What a 202 means.",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "Why, in words.",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterBusSpec {
    /// What it shares with a Bus.
    #[serde(flatten)]
    pub bus: BusSpec,
    /// Labels of the namespaces that may put channels on it. Unset: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::embedded::<LabelSelector>")]
    pub allowed_namespaces: Option<LabelSelector>,
    /// How long the channels of a namespace that is no longer allowed go on accepting. Unset: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::duration("0s", "8760h")]))]
    pub revoke_grace: Option<DurationText>,
    /// Whether a Subscription may call names of `Any` namespace, or of the `SameNamespace` only.
    #[serde(default)]
    pub subscribers: Subscribers,
}

/// Whom the subscriptions on a ClusterBus may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described where they are used")]
pub enum Subscribers {
    Any,
    #[default]
    SameNamespace,
}

/// What is known of a Bus or ClusterBus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BusStatus {
    /// The generation that Ready was computed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Serviceable, Provisioning, Dispatching, Synced, Durable, DeletionBlocked, ReconcilePaused, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where its receiver is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// The name of its Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub service: Option<String>,
    /// Pods that serve it; for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Labels of these pods, as text; for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// ClusterBus only: the namespaces that it carries channels of, so that those of one that is no longer allowed are
    /// known from new ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub namespaces: Vec<AdmittedNamespace>,
}
