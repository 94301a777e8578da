//! The Routes that are published: what did not change keeps its `Arc`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use busway_core::{
    ChannelRef, Routes, SubscriptionRef,
    egress::Egress,
    routes::{ChannelRoute, ReceiverSettings, SubscriptionRoute},
};

use crate::world::Key;

/// The parts of the next snapshot.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    subscriptions: HashMap<SubscriptionRef, Arc<SubscriptionRoute>>,
    channels: HashMap<ChannelRef, ChannelPart>,
    built: HashMap<ChannelRef, Arc<ChannelRoute>>,
    dirty: HashSet<ChannelRef>,
    /// Subscriptions of any snapshot so far, until they are forgotten.
    published: HashSet<SubscriptionRef>,
    receiver: Arc<ReceiverSettings>,
    egress: Arc<Egress>,
    loaded: bool,
    changed: bool,
}

#[derive(Debug, Default)]
struct ChannelPart {
    /// The channel without its subscriptions; none while it is not served.
    route: Option<ChannelRoute>,
    subscriptions: HashSet<SubscriptionRef>,
}

impl RouteTable {
    /// Sets or removes a channel. Whether anything differs.
    pub(crate) fn set_channel(&mut self, r: &ChannelRef, route: Option<ChannelRoute>) {
        let part = self.channels.entry(r.clone()).or_default();
        let same = match (&part.route, &route) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                a.uid == b.uid && a.generation == b.generation && a.accepting == b.accepting
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            part.route = route;
            self.dirty.insert(r.clone());
        } else if part.route.is_none() && part.subscriptions.is_empty() {
            self.channels.remove(r);
        }
    }

    /// Sets or removes a subscription.
    pub(crate) fn set_subscription(
        &mut self,
        r: &SubscriptionRef,
        route: Option<SubscriptionRoute>,
    ) {
        let old = self.subscriptions.get(r);
        match (old, route) {
            (None, None) => {}
            (Some(old), Some(new)) if **old == new => {}
            (Some(old), None) => {
                let channel = old.channel.clone();
                self.leave(r, channel);
                self.subscriptions.remove(r);
            }
            (old, Some(new)) => {
                if let Some(other) = old.map(|o| o.channel.clone()).filter(|c| *c != new.channel) {
                    self.leave(r, other);
                }
                let part = self.channels.entry(new.channel.clone()).or_default();
                part.subscriptions.insert(r.clone());
                self.dirty.insert(new.channel.clone());
                self.subscriptions.insert(r.clone(), Arc::new(new));
            }
        }
    }

    fn leave(&mut self, r: &SubscriptionRef, channel: ChannelRef) {
        if let Some(part) = self.channels.get_mut(&channel) {
            part.subscriptions.remove(r);
        }
        self.dirty.insert(channel);
    }

    pub(crate) fn set_receiver(&mut self, receiver: &Arc<ReceiverSettings>) {
        if *self.receiver != **receiver {
            self.receiver = Arc::clone(receiver);
            self.changed = true;
        }
    }

    pub(crate) fn set_egress(&mut self, egress: Egress) {
        if *self.egress != egress {
            self.egress = Arc::new(egress);
            self.changed = true;
        }
    }

    /// The first full load has happened.
    pub(crate) fn set_loaded(&mut self) {
        self.changed |= !self.loaded;
        self.loaded = true;
    }

    pub(crate) const fn is_loaded(&self) -> bool {
        self.loaded
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.changed || !self.dirty.is_empty()
    }

    /// Whether the last snapshot has it.
    pub(crate) fn was_published(&self, key: &Key) -> bool {
        match key {
            Key::Bus => false,
            Key::Channel(r) => self.built.contains_key(r) || self.dirty.contains(r),
            Key::Subscription(r) => self.published.contains(r),
        }
    }

    /// Nothing is left of it.
    pub(crate) fn forget(&mut self, key: &Key) {
        if let Key::Subscription(r) = key {
            self.published.remove(r);
        }
    }

    /// The next snapshot, made of what changed and what did not.
    pub(crate) fn snapshot(&mut self) -> Arc<Routes> {
        for r in self.dirty.drain() {
            let part = self.channels.get(&r);
            let Some(route) = part.and_then(|p| p.route.as_ref()) else {
                self.built.remove(&r);
                continue;
            };
            let members = part.into_iter().flat_map(|p| &p.subscriptions);
            let route = ChannelRoute {
                subscriptions: members
                    .filter_map(|s| self.subscriptions.get(s).cloned())
                    .collect(),
                ..route.clone()
            };
            self.published
                .extend(route.subscriptions.iter().map(|s| s.subscription.clone()));
            self.built.insert(r, Arc::new(route));
        }
        self.changed = false;
        Arc::new(Routes {
            loaded: self.loaded,
            receiver: Arc::clone(&self.receiver),
            egress: Arc::clone(&self.egress),
            channels: self.built.clone(),
        })
    }
}

#[cfg(test)]
#[path = "routes/tests.rs"]
mod tests;
