//! Whether a Subscription may be: its channel and its channel's bus exist.

use busway_api::{
    Subscription,
    conditions::{ConditionType, Said},
    reason::Reason,
};
use kube::ResourceExt as _;

use super::dereference::Found;
use crate::operator::{
    channel::validate::{Named, named},
    object::Object as _,
};

/// Accepted.
pub(super) fn accepted(subscription: &Subscription, found: &Found) -> Said {
    let kind = ConditionType::Accepted;
    let namespace = subscription.namespace().unwrap_or_default();
    let name = format!("{namespace}/{}", subscription.spec.channel);
    let Some(channel) = &found.channel else {
        let message = format!("there is no channel {name}");
        return Said::no(kind, Reason::ChannelNotFound, message);
    };
    if channel.is_going() {
        let message = format!("channel {name} is being deleted");
        return Said::no(kind, Reason::ChannelDeleted, message);
    }
    match named(channel, &found.below) {
        Named::Found(_) => Said::yes(kind, Reason::Accepted, ""),
        Named::Missing(said) => said,
    }
}
