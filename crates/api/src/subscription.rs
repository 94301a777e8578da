//! Subscription: routes a channel's messages to a subscriber, and its replies on.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::channel::resolved_parameters;
use crate::delivery::Delivery;
use crate::filter::Filter;
use crate::parameters::Argument;
use crate::schema;
use crate::text::{self, AddressText};

/// Routes a channel's messages to a subscriber.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "channels.busway.dev",
    version = "v1alpha1",
    kind = "Subscription",
    shortname = "subs",
    category = "busway",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    doc = "Routes a channel's messages to a subscriber, and its replies on.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether messages are routed."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is or is not ready."
    ),
    printcolumn(
        name = "Channel",
        type_ = "string",
        json_path = ".spec.channel",
        description = "Whose messages it gets."
    ),
    printcolumn(
        name = "Subscriber",
        type_ = "string",
        json_path = ".spec.subscriber",
        description = "Where they go."
    ),
    printcolumn(
        name = "Delivering",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Delivering\")].reason",
        description = "How deliveries go."
    ),
    printcolumn(
        name = "Backlog",
        type_ = "integer",
        json_path = ".status.backlog",
        description = "Messages accepted and not settled, where the bus knows."
    ),
    printcolumn(
        name = "Oldest",
        type_ = "date",
        json_path = ".status.oldestAcceptedAt",
        description = "Age of the oldest of them.",
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
pub struct SubscriptionSpec {
    /// The Channel whose messages it gets, in the same namespace. Cannot be changed.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self == oldSelf").message("channel cannot be changed: make a new Subscription")]))]
    pub channel: String,
    /// Where messages are POSTed: a DNS name, `name:port/path`, or an http(s) URL. A single label is a Service in the
    /// same namespace.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-kubernetes-validations" = [text::address()]))]
    pub subscriber: AddressText,
    /// Where the subscriber's answers are POSTed, in the same forms. Unset: answers are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [text::address()]))]
    pub reply_to: Option<AddressText>,
    /// Values for what the bus declares in `parameters.subscription`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub arguments: Vec<Argument>,
    /// Which messages it gets: those for which all of these hold. Unset: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub filters: Vec<Filter>,
    /// In which order it gets them. Unset: in no promised order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// How messages are delivered; what is unset comes from the Channel, then the Bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<Delivery>>,
    /// Deliver nothing for now; the backlog is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// In which order messages are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ordering {
    /// A CloudEvents attribute: messages with the same value are delivered one after the other.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self.matches('^[a-z0-9]+$')").message("must be an attribute's name: lower-case letters and digits")]))]
    pub key: String,
}

/// What is known of a Subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// The generation that Ready was computed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, Resolved, Subscribed, Dispatching, Delivering, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Parameter → value that it was last subscribed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resolved_parameters")]
    pub resolved_parameters: Option<BTreeMap<String, String>>,
    /// The URL that messages are POSTed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub subscriber_url: Option<String>,
    /// The URL that answers are POSTed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub reply_url: Option<String>,
    /// The URL that dead letters are POSTed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub dead_letter_url: Option<String>,
    /// Messages accepted and not settled, where the bus knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub backlog: Option<i64>,
    /// When the oldest of them was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_accepted_at: Option<Time>,
}
