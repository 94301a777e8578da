//! Who is concerned by a change: kept up to date with every change, so that nothing is searched through.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use busway_api::{
    Channel, Subscription,
    conditions::{ConditionType, find},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{Resource as _, ResourceExt as _};

use super::carrier::{BusKey, Carrier};
use crate::operator::{labels, object::Object as _};

/// Namespace and name.
pub(crate) type At = (String, String);

/// Which channels are on a bus, and which subscriptions on a channel.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What each bus was like when it was last looked at.
    buses: HashMap<BusKey, BusPrint>,
    channels: HashMap<At, ChannelPrint>,
    subscriptions: HashMap<At, SubscriptionPrint>,
    /// Nothing: channels that name no bus.
    on_bus: HashMap<Option<BusKey>, HashSet<At>>,
    on_channel: HashMap<At, HashSet<At>>,
    in_namespace: HashMap<String, HashSet<At>>,
    namespaces: HashMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BusPrint {
    /// What channels see of it.
    outer: u64,
    /// What their subscriptions see of it too.
    inner: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ChannelPrint {
    bus: Option<BusKey>,
    own: u64,
    /// What its subscriptions see of it.
    inner: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SubscriptionPrint {
    channel: At,
    own: u64,
}

/// What a change of an object asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) channels: Vec<At>,
    pub(crate) subscriptions: Vec<At>,
}

impl Index {
    /// A bus was made, changed, or went (then nothing is given).
    pub(crate) fn bus(&self, key: &BusKey, carrier: Option<&Carrier>) -> Asked {
        let mut known = self.lock();
        let new = carrier.map(print_of_bus);
        let old = known.buses.get(key).copied();
        match new {
            Some(new) => known.buses.insert(key.clone(), new),
            None => known.buses.remove(key),
        };
        if new == old {
            return Asked::default();
        }
        let inner_same = new.map(|p| p.inner) == old.map(|p| p.inner);
        let channels = known.channels_on(Some(key));
        let subscriptions = match inner_same {
            true => Vec::new(),
            false => channels.iter().flat_map(|at| known.on(at)).collect(),
        };
        Asked {
            channels,
            subscriptions,
        }
    }

    /// The default bus may be another one.
    pub(crate) fn undecided(&self) -> Vec<At> {
        self.lock().channels_on(None)
    }

    /// A channel was made, changed, or went (then nothing is given).
    pub(crate) fn channel(&self, at: &At, channel: Option<&Channel>) -> Asked {
        let mut known = self.lock();
        let new = channel.map(print_of_channel);
        let old = match &new {
            Some(new) => known.channels.insert(at.clone(), new.clone()),
            None => known.channels.remove(at),
        };
        let bus = |print: &Option<ChannelPrint>| print.as_ref().map(|p| p.bus.clone());
        if bus(&old) != bus(&new) {
            if let Some(old) = bus(&old) {
                take_out(&mut known.on_bus, &old, at);
            }
            if let Some(new) = bus(&new) {
                known.on_bus.entry(new).or_default().insert(at.clone());
            }
        }
        match &new {
            Some(_) => {
                let within = known.in_namespace.entry(at.0.clone()).or_default();
                within.insert(at.clone());
            }
            None => take_out(&mut known.in_namespace, &at.0, at),
        }
        let own = |print: &Option<ChannelPrint>| print.as_ref().map(|p| p.own);
        let inner = |print: &Option<ChannelPrint>| print.as_ref().map(|p| (p.inner, p.bus.clone()));
        let subscriptions = match inner(&old) == inner(&new) {
            true => Vec::new(),
            false => known.on(at),
        };
        Asked {
            channels: (own(&old) != own(&new) && new.is_some())
                .then(|| at.clone())
                .into_iter()
                .collect(),
            subscriptions,
        }
    }

    /// A subscription was made, changed, or went (then nothing is given).
    pub(crate) fn subscription(&self, at: &At, subscription: Option<&Subscription>) -> Asked {
        let mut known = self.lock();
        let new = subscription.map(print_of_subscription);
        let old = match &new {
            Some(new) => known.subscriptions.insert(at.clone(), new.clone()),
            None => known.subscriptions.remove(at),
        };
        if old == new {
            return Asked::default();
        }
        let channel = |print: &Option<SubscriptionPrint>| print.as_ref().map(|p| p.channel.clone());
        if channel(&old) != channel(&new) {
            if let Some(old) = channel(&old) {
                take_out(&mut known.on_channel, &old, at);
            }
            if let Some(new) = channel(&new) {
                known.on_channel.entry(new).or_default().insert(at.clone());
            }
        }
        Asked {
            channels: Vec::new(),
            subscriptions: new.is_some().then(|| at.clone()).into_iter().collect(),
        }
    }

    /// A namespace was made, changed, or went (then nothing is given).
    pub(crate) fn namespace(&self, name: &str, metadata: Option<&ObjectMeta>) -> Asked {
        let mut known = self.lock();
        let new = metadata.map(|m| print((&m.labels, m.deletion_timestamp.is_some())));
        let old = match new {
            Some(new) => known.namespaces.insert(name.to_owned(), new),
            None => known.namespaces.remove(name),
        };
        if old == new {
            return Asked::default();
        }
        let channels: Vec<At> = known
            .in_namespace
            .get(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let subscriptions = channels.iter().flat_map(|at| known.on(at)).collect();
        Asked {
            channels,
            subscriptions,
        }
    }

    /// The subscriptions on a channel.
    pub(crate) fn subscriptions_on(&self, channel: &At) -> Vec<At> {
        self.lock().on(channel)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn channels_on(&self, bus: Option<&BusKey>) -> Vec<At> {
        let on = self.on_bus.get(&bus.cloned());
        on.into_iter().flatten().cloned().collect()
    }

    fn on(&self, channel: &At) -> Vec<At> {
        let on = self.on_channel.get(channel);
        on.into_iter().flatten().cloned().collect()
    }
}

fn take_out<K: Hash + Eq + Clone>(all: &mut HashMap<K, HashSet<At>>, from: &K, at: &At) {
    if let Entry::Occupied(mut entry) = all.entry(from.clone()) {
        entry.get_mut().remove(at);
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

fn print(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn print_of_bus(carrier: &Carrier) -> BusPrint {
    let said = |kind| find(&carrier.conditions, kind).map(words);
    let inner = print((&carrier.uid, carrier.pulse(), carrier.provisioner_stopped()));
    BusPrint {
        outer: print((
            inner,
            &carrier.service,
            said(ConditionType::Serviceable),
            format!("{:?}", carrier.allowed),
            carrier.revoke_grace,
            carrier.revoked,
        )),
        inner,
    }
}

fn print_of_channel(channel: &Channel) -> ChannelPrint {
    let status = channel.status.as_ref();
    let addresses = format!("{:?}", status.map_or(&[][..], |s| &s.addresses));
    let mut seen = vec![ConditionType::Accepted, ConditionType::Serviceable];
    if channel.is_going() {
        seen.push(ConditionType::Provisioned);
    }
    ChannelPrint {
        bus: BusKey::of_channel(channel),
        own: print((
            print_of_meta(channel.meta()),
            labels::is_paused(channel),
            conditions(channel.conditions(), &seen),
            addresses,
        )),
        inner: print((&channel.meta().uid, channel.is_going())),
    }
}

fn print_of_subscription(subscription: &Subscription) -> SubscriptionPrint {
    let mut seen = vec![ConditionType::Accepted];
    if subscription.is_going() {
        seen.push(ConditionType::Subscribed);
    }
    let namespace = subscription.namespace().unwrap_or_default();
    SubscriptionPrint {
        channel: (namespace, subscription.spec.channel.clone()),
        own: print((
            print_of_meta(subscription.meta()),
            labels::is_paused(subscription),
            conditions(subscription.conditions(), &seen),
        )),
    }
}

fn print_of_meta(meta: &ObjectMeta) -> u64 {
    let deleted = meta.deletion_timestamp.as_ref().map(|t| t.0);
    print((&meta.uid, meta.generation, deleted, &meta.finalizers))
}

/// The status of these, and why.
fn conditions(all: &[Condition], seen: &[ConditionType]) -> u64 {
    let seen: Vec<_> = seen
        .iter()
        .map(|kind| find(all, *kind).map(words))
        .collect();
    print(seen)
}

fn words(condition: &Condition) -> (&str, &str, &str, Option<i64>) {
    (
        &condition.status,
        &condition.reason,
        &condition.message,
        condition.observed_generation,
    )
}

#[cfg(test)]
#[path = "index/tests.rs"]
mod tests;
