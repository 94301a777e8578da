//! The table itself. When a field starts to work, its row changes, and `docs/fields.md` with it.

use super::Field;
use super::Support::{self, Operator, Refused, Working};

const LATER_MIGRATION: &str = "comes with migration";
const LATER_SECURITY: &str = "comes with authentication";

const fn field(path: &'static str, support: Support) -> Field {
    Field { path, support }
}

pub(super) const BUS: &[Field] = &[
    field("spec.parameters.channel[].name", Working),
    field("spec.parameters.channel[].description", Working),
    field("spec.parameters.channel[].default", Working),
    field("spec.parameters.subscription[].name", Working),
    field("spec.parameters.subscription[].description", Working),
    field("spec.parameters.subscription[].default", Working),
    field("spec.memory.whenFull", Working),
    field("spec.memory.maxMessages", Working),
    field("spec.memory.maxBytes", Working),
    field("spec.dispatcher", Working),
    field("spec.provisioner", Operator),
    field("spec.volumes", Operator),
    field("spec.server.maxBody", Working),
    field("spec.server.headerTimeout", Working),
    field("spec.server.bodyTimeout", Working),
    field("spec.server.maxHops", Working),
    field("spec.server.keepHeaders[]", Working),
    field("spec.egress.allow[]", Working),
    field("spec.egress.caBundle.configMap", Working),
    field("spec.networkPolicy.enabled", Operator),
    field("spec.limits.connections", Working),
    field("spec.limits.memory", Working),
];

pub(super) const WORKLOAD: &[Field] = &[
    field("spec.replicas", Operator),
    field("spec.resources", Operator),
    field("spec.image", Operator),
    field("spec.imagePullSecrets", Operator),
    field("spec.podLabels", Operator),
    field("spec.podAnnotations", Operator),
    field("spec.priorityClassName", Operator),
    field("spec.nodeSelector", Operator),
    field("spec.affinity", Operator),
    field("spec.tolerations", Operator),
    field("spec.topologySpreadConstraints", Operator),
];

pub(super) const CLUSTER_BUS: &[Field] = &[
    field("spec.allowedNamespaces", Working),
    field("spec.revokeGrace", Working),
    field("spec.subscribers", Working),
];

pub(super) const CHANNEL: &[Field] = &[
    field("spec.bus", Working),
    field("spec.clusterBus", Working),
    field("spec.arguments[].name", Working),
    field("spec.arguments[].value", Working),
    field("spec.allowedSenders[]", Refused(LATER_SECURITY)),
    field("spec.deletionPolicy", Working),
    field("spec.migration", Refused(LATER_MIGRATION)),
];

pub(super) const SUBSCRIPTION: &[Field] = &[
    field("spec.channel", Working),
    field("spec.subscriber", Working),
    field("spec.replyTo", Working),
    field("spec.arguments[].name", Working),
    field("spec.arguments[].value", Working),
    field("spec.filters[]", Working),
    field("spec.ordering.key", Working),
    field("spec.paused", Working),
];

pub(super) const DELIVERY: &[Field] = &[
    field("spec.delivery.retry", Working),
    field("spec.delivery.backoffPolicy", Working),
    field("spec.delivery.backoffDelay", Working),
    field("spec.delivery.backoffMax", Working),
    field("spec.delivery.jitter", Working),
    field("spec.delivery.timeout", Working),
    field("spec.delivery.connectTimeout", Working),
    field("spec.delivery.maxAge", Working),
    field("spec.delivery.retryAfterMax", Working),
    field("spec.delivery.statusRules[].status", Working),
    field("spec.delivery.statusRules[].action", Working),
    field("spec.delivery.deadLetterSink", Working),
    field("spec.delivery.maxInFlight", Working),
    field("spec.delivery.maxUnsettled", Working),
    field("spec.delivery.rate.perSecond", Working),
    field("spec.delivery.rate.burst", Working),
    field("spec.delivery.onGone", Working),
    field("spec.delivery.redirects", Working),
    field("spec.delivery.protocol", Working),
];
