//! From the world to Routes.

use std::{sync::Arc, time::Duration};

use busway_core::{
    ChannelRef, SubscriptionRef,
    address::Destination,
    bus::Scope,
    policy::DeliveryPolicy,
    routes::{Accepting, ChannelRoute, Flow, SubscriptionRoute},
};
use tokio::time::Instant;

use super::{
    Engine,
    judge::{Blame, Standing},
};
use crate::{
    convert::subscription::{Targets, View},
    options::Role,
    world::{Key, SubscriptionState, Tracked},
};

/// Changes that come together are published together; a person does not notice.
const DEBOUNCE: Duration = Duration::from_millis(15);

impl Engine {
    /// Brings the route of a key up to date.
    pub(super) fn route(&mut self, key: &Key, now: Instant) {
        if self.given.data_plane.is_none() {
            return;
        }
        match key {
            Key::Bus => {
                if let Some(view) = &self.world.bus.view {
                    self.routes.set_receiver(&view.receiver);
                }
                if let Some(egress) = self.egress() {
                    self.routes.set_egress(egress);
                }
            }
            Key::Channel(r) => {
                let route = self.channel_route(r);
                self.routes.set_channel(r, route);
            }
            Key::Subscription(r) => {
                let route = self.subscription_route(r);
                self.routes.set_subscription(r, route);
            }
        }
        if self.routes.is_dirty() {
            self.publish_at.get_or_insert(now + DEBOUNCE);
        }
    }

    fn channel_route(&self, r: &ChannelRef) -> Option<ChannelRoute> {
        let s = self.world.channels.get(r).filter(|s| s.is_alive())?;
        let object = s.object.as_ref()?;
        if self.standing_of_channel(object) != Standing::Ours {
            return None;
        }
        let uid = s.uid()?;
        // The old one of this name is not gone yet.
        let other = s.common.backing.as_ref().is_some_and(|b| b.spec.uid != uid);
        Some(ChannelRoute {
            channel: r.clone(),
            uid,
            generation: s.generation(),
            accepting: if other || !self.is_provisioned(s) {
                Accepting::NotProvisioned
            } else if self.is_revoked(object) {
                Accepting::Revoked
            } else {
                Accepting::Yes
            },
            subscriptions: Vec::new(),
        })
    }

    fn subscription_route(&self, r: &SubscriptionRef) -> Option<SubscriptionRoute> {
        let s = self.world.subscriptions.get(r)?;
        let object = s.object.as_ref()?;
        let channel = self.channel_of(r, object)?;
        if !self.is_provisioned(channel) || !self.is_subscribed(s, channel) {
            return None;
        }
        let view = s.view.as_ref()?;
        let blame = view.problem().map(|_| Self::blame_of_subscription(s, view));
        let targets = Arc::unwrap_or_clone(working_targets(s, view, r)?);
        Some(SubscriptionRoute {
            subscription: r.clone(),
            uid: s.uid()?,
            generation: s.generation(),
            channel: ChannelRef::new(r.namespace(), &object.spec.channel),
            subscriber: targets.subscriber,
            reply_to: targets.reply_to,
            dead_letter_sink: targets.dead_letter_sink,
            filter: targets.filter,
            ordering: targets.ordering,
            policy: targets.policy.share(self.share.among()),
            flow: flow(blame, object.spec.paused),
        })
    }

    /// Publishes when it is time. The first snapshot waits until what can be provisioned at once is.
    pub(super) fn publish(&mut self, now: Instant) {
        if !self.routes.is_loaded() && self.first_load_is_done() {
            self.routes.set_loaded();
            self.publish_at = Some(now);
        }
        if self.publish_at.is_none_or(|at| at > now) {
            return;
        }
        // Also without a data plane: a time that passed and stays would be due again at once, for ever.
        self.publish_at = None;
        if let Some(data_plane) = &self.given.data_plane
            && self.routes.is_dirty()
        {
            data_plane.publish(self.routes.snapshot());
        }
    }

    fn first_load_is_done(&self) -> bool {
        if !self.dirty.is_empty() {
            return false;
        }
        if self.profile.scope == Scope::Shared || self.given.options.role != Role::Whole {
            return true;
        }
        // Memory begins empty: each channel that can be provisioned was, or was tried.
        if self.world.bus.view.is_some() && self.world.bus.problem.is_none() {
            let tried = self.world.bus.synced.is_some() || self.world.bus.failure.is_some();
            if !tried {
                return false;
            }
        }
        !self.bus_is_synced() || self.nothing_is_due()
    }

    /// Whether no channel and no subscription waits for its first hook.
    fn nothing_is_due(&self) -> bool {
        self.jobs.is_empty() && self.queue.is_idle()
    }
}

pub(super) fn flow(blame: Option<Blame>, paused: Option<bool>) -> Flow {
    match (blame, paused) {
        (Some(Blame::Own | Blame::Never), _) => Flow::Held,
        (Some(Blame::Bus) | None, Some(true)) => Flow::Paused,
        (Some(Blame::Bus) | None, Some(false) | None) => Flow::Running,
    }
}

/// Where messages go: as the subscription says, or as it last said when it was valid.
fn working_targets(
    s: &SubscriptionState,
    view: &View,
    r: &SubscriptionRef,
) -> Option<Arc<Targets>> {
    if let Ok(targets) = &view.targets {
        return Some(Arc::clone(targets));
    }
    if let Some(good) = &s.good {
        return Some(Arc::clone(&good.targets));
    }
    if let Some(targets) = &view.lenient {
        return Some(Arc::clone(targets));
    }
    // Of a former life of this process; it is held, so nothing is sent there.
    let status = s.object.as_ref()?.status.as_ref()?;
    let read = |url: &Option<String>| {
        let url = url.as_deref()?;
        Destination::parse(url, r.namespace(), "").ok()
    };
    Some(Arc::new(Targets {
        subscriber: read(&status.subscriber_url)?,
        reply_to: read(&status.reply_url),
        dead_letter_sink: read(&status.dead_letter_url),
        filter: Arc::default(),
        ordering: None,
        policy: DeliveryPolicy::default(),
    }))
}
