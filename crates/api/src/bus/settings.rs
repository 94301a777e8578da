//! Settings of the built-in memory bus, of the receiver, of egress and of one process.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{self, DurationText, SizeText};

/// The built-in memory bus: bounded queues, one per subscription and process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// A full queue gives up its oldest message to the dead letter (`dropOldest`), or makes the sender hear 429
    /// (`reject`).
    pub when_full: WhenFull,
    /// Most messages in one subscription's queue, over all replicas.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_messages: u32,
    /// Most bytes in one subscription's queue, over all replicas.
    #[schemars(extend("x-kubernetes-validations" = [text::size("1Ki", "64Gi")]))]
    pub max_bytes: SizeText,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            when_full: WhenFull::DropOldest,
            max_messages: 10_000,
            max_bytes: "64Mi".into(),
        }
    }
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "described where they are used")]
pub enum WhenFull {
    #[default]
    DropOldest,
    Reject,
}

/// What the receiver takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Largest message body; a larger one is answered 413.
    #[schemars(extend("x-kubernetes-validations" = [text::size("1Ki", "256Mi")]))]
    pub max_body: SizeText,
    /// Longest time for a request's headers; then 408.
    #[schemars(extend("x-kubernetes-validations" = [text::duration("100ms", "10m")]))]
    pub header_timeout: DurationText,
    /// Longest time for a request's body; then 408.
    #[schemars(extend("x-kubernetes-validations" = [text::duration("100ms", "1h")]))]
    pub body_timeout: DurationText,
    /// Most replies and dead letters in a row that one message may cause; then 508.
    #[schemars(range(min = 1, max = 1000))]
    pub max_hops: u32,
    /// Headers kept beside the built-in ones, in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = kept_headers()))]
    pub keep_headers: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            max_body: "1Mi".into(),
            header_timeout: "10s".into(),
            body_timeout: "30s".into(),
            max_hops: 32,
            keep_headers: Vec::new(),
        }
    }
}

fn kept_headers() -> [Rule; 2] {
    [
        Rule::new("self.all(h, h.matches('^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$'))").message("must be header names in lower case"),
        Rule::new("self.all(h, !(h in ['authorization', 'cookie', 'set-cookie', 'connection', 'host', 'content-length', 'transfer-encoding', 'keep-alive', 'upgrade', 'te', 'trailer', 'proxy-authorization', 'proxy-authenticate', 'proxy-connection', 'expect', 'busway-namespace', 'busway-subscription', 'busway-attempt', 'busway-probe', 'busway-id', 'busway-replay', 'busway-redrive']))").message("credentials, hop-by-hop headers and Busway's own are never kept: remove them"),
    ]
}

/// Which subscribers may be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Address ranges (CIDR) that are opened beside what is open anyway, e.g. loopback or link-local ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 49)), extend("x-kubernetes-list-type" = "set"))]
    #[schemars(extend("x-kubernetes-validations" = [Rule::new("self.all(c, isCIDR(c))").message("must be address ranges in CIDR form, like 10.0.0.0/8")]))]
    pub allow: Vec<String>,
    /// Certificate authorities that are trusted beside the Mozilla roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Where certificate authorities are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// A ConfigMap in the namespace of the bus's pods; every key holds certificates in PEM form.
    #[schemars(length(min = 1, max = 253))]
    pub config_map: String,
}

/// Whether a NetworkPolicy guards the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicy {
    /// Make one.
    pub enabled: bool,
}

/// What one process of the bus may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Most connections to subscribers; at most 80 % of what the system allows the process.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Most memory for messages: a share of the container's limit (of 512Mi where there is none), or a size.
    #[schemars(extend("x-kubernetes-validations" = [text::share_or_size("1Mi", "1Ti")]))]
    pub memory: SizeText,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            memory: "50%".into(),
        }
    }
}
