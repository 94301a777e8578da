//! What a Subscription refers to, looked up in what is watched.

use std::sync::Arc;

use busway_api::{Channel, Subscription};
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::operator::{
    channel::{
        carrier::Carrier,
        dereference::{self, Found as OfChannel},
    },
    context::Context,
};

/// What a Subscription refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) channel: Option<Arc<Channel>>,
    /// What that channel refers to.
    pub(super) below: OfChannel,
}

impl Found {
    /// The bus that carries it.
    pub(super) fn carrier(&self) -> Option<&Carrier> {
        self.below.carrier.as_ref()
    }
}

/// Looks it up.
pub(super) fn subscription(ctx: &Context, subscription: &Subscription) -> Found {
    let namespace = subscription.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&subscription.spec.channel).within(&namespace);
    let channel = ctx.stores.channels.get(&reference);
    Found {
        below: channel
            .as_deref()
            .map(|channel| dereference::channel(ctx, channel))
            .unwrap_or_default(),
        channel,
    }
}
