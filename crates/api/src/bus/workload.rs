//! The pods that serve a bus: read by the operator only.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::schema;

/// The pods that serve a bus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// How many pods. Unset: left to an autoscaler, 1 at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// What a pod's container requests and is limited to (core/v1 ResourceRequirements).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::embedded::<ResourceRequirements>")]
    pub resources: Option<ResourceRequirements>,
    /// The image of a built-in bus, to pin it. Unset: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Secrets to pull images with (core/v1 LocalObjectReference).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels of the pods, beside ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the pods, beside ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub pod_annotations: BTreeMap<String, String>,
    /// The pods' priority class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Labels of the nodes that the pods may run on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Where the pods should run (core/v1 Affinity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::embedded::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// Taints that the pods tolerate (core/v1 Toleration).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "tolerations")]
    pub tolerations: Vec<Toleration>,
    /// How the pods are spread (core/v1 TopologySpreadConstraint).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "spread")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    schema::texts(64, 63)
}

fn annotations(_: &mut SchemaGenerator) -> Schema {
    schema::texts(64, 4096)
}

fn image_pull_secrets(generator: &mut SchemaGenerator) -> Schema {
    schema::embedded_list::<LocalObjectReference>(generator, 16, None)
}

fn tolerations(generator: &mut SchemaGenerator) -> Schema {
    schema::embedded_list::<Toleration>(generator, 64, None)
}

fn spread(generator: &mut SchemaGenerator) -> Schema {
    schema::embedded_list::<TopologySpreadConstraint>(generator, 16, None)
}
