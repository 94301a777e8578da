//! Judging the world: whose an object is, what it may, what is there for it. Changes nothing.

use std::time::Duration;

use busway_api::{
    Channel, Subscription,
    conditions::{ConditionType, Truth, find},
    reason::Reason,
};
use busway_core::{
    BusRef, ChannelRef, SubscriptionRef, Uid, bus::Scope, parameters::ResolvedParameters,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt, core::SelectorExt};

use super::Engine;
use crate::{
    convert::ordering::Order,
    convert::{
        Problem,
        addresses::Rules,
        bus::{Reach, declared},
        channel::{self, bus_of},
        delivery,
        subscription::{self, View},
    },
    options::{Orphans, Parts},
    world::{ChannelState, Made, SubscriptionState, Tracked},
};

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ours,
    /// Another bus's: never written to.
    Foreign,
    /// No bus's, for this reason.
    Orphan(Problem),
}

/// Who made a running object invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It never ran.
    Never,
    /// Its own edit.
    Own,
    /// An edit of the bus or the channel.
    Bus,
}

/// With what a subscription is subscribed.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) parameters: ResolvedParameters,
    pub(crate) timeout: Duration,
}

impl Engine {
    pub(crate) fn standing_of_channel(&self, channel: &Channel) -> Standing {
        match bus_of(channel) {
            Some(bus) if bus == self.given.bus_ref => Standing::Ours,
            Some(bus) if self.knows_bus(&bus) => Standing::Foreign,
            Some(bus) => {
                let kind = match bus {
                    BusRef::Cluster { .. } => "ClusterBus",
                    BusRef::Namespaced { .. } => "Bus",
                };
                let message = format!("there is no {kind} {bus}");
                Standing::Orphan(Problem::new(Reason::BusNotFound, message))
            }
            None if self.world.default_bus().is_some() || self.sees_no_cluster_buses() => {
                Standing::Foreign
            }
            None => Standing::Orphan(Problem::new(
                Reason::NoDefaultBus,
                "spec.bus and spec.clusterBus are unset, and no ClusterBus is the default",
            )),
        }
    }

    fn sees_no_cluster_buses(&self) -> bool {
        self.given.options.orphans == Orphans::MineButClusterBuses
    }

    fn knows_bus(&self, bus: &BusRef) -> bool {
        // With an operator only the own kind is followed; what is not known is somebody else's.
        self.given.options.parts == Parts::DataPlane
            || self.world.buses.contains_key(bus)
            || (self.sees_no_cluster_buses() && matches!(bus, BusRef::Cluster { .. }))
    }

    pub(crate) fn standing_of_subscription(
        &self,
        r: &SubscriptionRef,
        s: &Subscription,
    ) -> Standing {
        let name = ChannelRef::new(r.namespace(), &s.spec.channel);
        let channel = self.world.channels.get(&name);
        match channel.and_then(|c| c.object.as_ref()) {
            Some(channel) => self.standing_of_channel(channel),
            None if channel.is_some_and(|c| c.common.undecodable.is_some()) => {
                Standing::Orphan(Problem::new(
                    Reason::ChannelNotReady,
                    format!("channel {name} cannot be decoded"),
                ))
            }
            None => Standing::Orphan(Problem::new(
                Reason::ChannelNotFound,
                format!("there is no channel {name}"),
            )),
        }
    }

    /// Whether the status of an object of this standing is ours to write.
    pub(crate) fn is_ours_to_write(&self, standing: &Standing) -> bool {
        match standing {
            Standing::Ours => true,
            Standing::Foreign => false,
            Standing::Orphan(_) => self.writes_orphans(),
        }
    }

    pub(crate) fn writes_orphans(&self) -> bool {
        self.given.options.parts == Parts::Both && self.given.options.orphans != Orphans::NotMine
    }

    /// Why a channel of ours may not be on this bus.
    pub(crate) fn admission(&self, channel: &Channel) -> Option<Problem> {
        if self.world.bus.object.is_none() && self.world.bus.view.is_none() {
            let message = format!("there is no bus {}", self.given.bus_ref);
            return Some(Problem::new(Reason::BusNotFound, message));
        }
        self.not_allowed(channel)
    }

    /// Why the namespace of a channel may not have one on this bus.
    pub(super) fn not_allowed(&self, channel: &Channel) -> Option<Problem> {
        let allowed = self.world.bus.view.as_ref()?.allowed.as_ref()?;
        let namespace = channel.namespace().unwrap_or_default();
        let seen = self.world.namespaces.get(&namespace);
        if seen.is_some_and(|seen| allowed.matches(&seen.labels)) {
            return None;
        }
        let message = format!(
            "bus {} does not allow channels of namespace {namespace}: allowedNamespaces is {allowed}",
            self.given.bus_ref
        );
        Some(Problem::new(Reason::NamespaceNotAllowed, message))
    }

    /// Whether hooks of channels may run: this process's `sync_bus` has succeeded once.
    pub(crate) fn bus_is_synced(&self) -> bool {
        self.world.bus.synced.is_some()
    }

    /// The parameters that a channel has now, or why it has none.
    pub(crate) fn channel_parameters(
        &self,
        s: &ChannelState,
    ) -> Result<ResolvedParameters, Problem> {
        if let Some(problem) = &s.common.refused {
            return Err(problem.clone());
        }
        let pending = || Problem::new(Reason::Pending, "the bus is not known yet");
        let object = s.object.as_ref().ok_or_else(pending)?;
        let bus = self.world.bus.view.as_ref().ok_or_else(pending)?;
        let declared = declared(&self.profile.channel_parameters, &bus.channel_parameters);
        channel::parameters(object, &declared)
    }

    /// The parameters that a channel goes on with: its own, or the last ones that fitted.
    pub(crate) fn working_parameters(&self, s: &ChannelState) -> Option<ResolvedParameters> {
        self.channel_parameters(s)
            .ok()
            .or_else(|| last_parameters(s))
    }

    pub(crate) fn blame_of_channel(s: &ChannelState) -> Blame {
        let Some(object) = &s.object else {
            return Blame::Never;
        };
        if let Some((generation, arguments)) = &s.good {
            return if *generation == s.generation() || *arguments == object.spec.arguments {
                Blame::Bus
            } else {
                Blame::Own
            };
        }
        let status = object.status.as_ref();
        if status.is_none_or(|s| s.resolved_parameters.is_none()) {
            return Blame::Never;
        }
        let seen = find(observed_of_channel(object), ConditionType::Provisioned);
        let fitted = seen.is_some_and(|c| {
            c.observed_generation == Some(s.generation())
                && (Truth::of(c) == Truth::True || c.reason == Reason::ParametersInvalid.as_str())
        });
        if fitted { Blame::Bus } else { Blame::Own }
    }

    /// Whether messages for a channel would be stored, by what this process did or what the status
    /// says, and of which identity.
    pub(crate) fn is_provisioned(&self, s: &ChannelState) -> bool {
        if !s.is_alive() {
            return false;
        }
        if let (Some(b), Some(uid)) = (&s.common.backing, s.uid())
            && s.common.is_done()
            && b.spec.uid == uid
        {
            return true;
        }
        let (Scope::Shared, Some(object)) = (self.profile.scope, &s.object) else {
            return false;
        };
        // The people of its namespace may have written it.
        !self.is_refused(object)
            && object.status.as_ref().is_some_and(|status| {
                status.resolved_parameters.is_some()
                    || is_true(&status.conditions, ConditionType::Provisioned)
            })
    }

    /// The channel of a subscription, when it is alive and of this bus.
    pub(crate) fn channel_of(
        &self,
        r: &SubscriptionRef,
        s: &Subscription,
    ) -> Option<&ChannelState> {
        let name = ChannelRef::new(r.namespace(), &s.spec.channel);
        let channel = self.world.channels.get(&name)?;
        let object = channel.object.as_ref()?;
        (channel.is_alive() && self.standing_of_channel(object) == Standing::Ours)
            .then_some(channel)
    }

    /// Whether the bus keeps messages for a subscription, by what this process did or what the
    /// status says.
    pub(crate) fn is_subscribed(&self, s: &SubscriptionState, channel: &ChannelState) -> bool {
        if !s.is_alive() {
            return false;
        }
        if let Some(b) = &s.common.backing {
            return s.common.is_done()
                && Some(&b.spec.uid) == s.uid().as_ref()
                && Some(&b.spec.channel_uid) == channel.uid().as_ref();
        }
        self.profile.scope == Scope::Shared
            && s.common.removed.is_none()
            && s.object
                .as_ref()
                .and_then(|o| o.status.as_ref())
                .is_some_and(|status| {
                    status.resolved_parameters.is_some()
                        || is_true(&status.conditions, ConditionType::Subscribed)
                })
    }

    pub(crate) fn view_of(&self, r: &SubscriptionRef, s: &SubscriptionState) -> Option<View> {
        let object = s.object.as_ref()?;
        let bus = self.world.bus.view.as_ref()?;
        let channel = self.channel_of(r, object)?.object.as_ref()?;
        // What is wrong with the channel's own part is said of the channel.
        let below = delivery::overrides(channel.spec.delivery.as_ref()).unwrap_or_default();
        let rules = self.rules(r.namespace(), bus.reach);
        let declared = declared(
            &self.profile.subscription_parameters,
            &bus.subscription_parameters,
        );
        let below = below.over(bus.delivery.clone());
        let refused = s.common.refused.as_ref();
        Some(subscription::view(
            object,
            &declared,
            below,
            &rules.as_rules(self),
            Order {
                ordering: &self.profile.ordering,
                scope: self.profile.scope,
                replicas: bus.replicas,
            },
            refused,
        ))
    }

    fn rules<'a>(&self, namespace: &'a str, reach: Reach) -> RulesOf<'a> {
        let status = self.world.bus.object.as_ref().and_then(|b| b.status());
        let service = match &self.given.bus_ref {
            BusRef::Namespaced { namespace, name } => {
                // Long names and such with dots have another; without an operator there is none.
                let service = status.and_then(|s| s.service.clone());
                let service = service.unwrap_or_else(|| format!("{name}-bus"));
                let domain = &self.given.options.cluster_domain;
                format!("{service}.{namespace}.svc.{domain}")
            }
            // Where the operator runs is not known here; the bus's own status tells.
            BusRef::Cluster { .. } => {
                let url = status
                    .and_then(|s| s.address.as_ref())
                    .map(|a| a.url.as_str());
                let host = url.and_then(|u| u.split_once("://")).map(|(_, rest)| rest);
                let host = host
                    .and_then(|h| h.split(['/', ':']).next())
                    .unwrap_or_default();
                host.to_owned()
            }
        };
        RulesOf {
            namespace,
            reach,
            service,
        }
    }

    pub(crate) fn blame_of_subscription(s: &SubscriptionState, view: &View) -> Blame {
        let Some(object) = &s.object else {
            return Blame::Never;
        };
        if let Some(good) = &s.good {
            // An edit is to blame for what it touched.
            let touched_nothing_wrong = view.refused.is_none()
                && (view.parameters.is_ok() || good.arguments == object.spec.arguments)
                && view.targets.as_ref().is_ok_and(|targets| {
                    view.order.is_ok() || good.targets.ordering == targets.ordering
                });
            return if good.generation == s.generation() || touched_nothing_wrong {
                Blame::Bus
            } else {
                Blame::Own
            };
        }
        let Some(status) = object
            .status
            .as_ref()
            .filter(|s| s.resolved_parameters.is_some())
        else {
            return Blame::Never;
        };
        // What a process does not know is no edit of the bus. Whom it may call is for the bus to say, and
        // the people of its namespace may have written its status.
        if view.refused.is_some() || view.targets.is_err() {
            return Blame::Own;
        }
        let subscribed = find(&status.conditions, ConditionType::Subscribed);
        match subscribed.and_then(|c| c.observed_generation) {
            Some(generation) if generation == s.generation() => Blame::Bus,
            Some(_) | None => Blame::Own,
        }
    }

    /// Whether a subscription works as it is written: it is valid, or all that is wrong is that the bus
    /// came to deliver from more replicas than keep its order.
    pub(crate) fn works(s: &SubscriptionState, view: &View) -> bool {
        view.problem().is_none()
            || (view.only_order() && Self::blame_of_subscription(s, view) == Blame::Bus)
    }

    /// With what a subscription is to be subscribed; nothing when it never was valid.
    pub(crate) fn terms(s: &SubscriptionState, view: &View) -> Option<Terms> {
        if Self::works(s, view) {
            return Some(Terms {
                parameters: view.parameters.clone().ok()?,
                timeout: view.targets.as_ref().ok()?.policy.timeout,
            });
        }
        if let Some(good) = &s.good {
            return Some(Terms {
                parameters: good.parameters.clone(),
                timeout: good.targets.policy.timeout,
            });
        }
        // Of a former life of this process.
        let status = s.object.as_ref()?.status.as_ref()?;
        Some(Terms {
            parameters: status.resolved_parameters.clone()?,
            timeout: view.lenient.as_ref().map_or_else(
                || busway_core::policy::DeliveryPolicy::default().timeout,
                |t| t.policy.timeout,
            ),
        })
    }

    /// Whether a channel's subscriptions still have something on the bus that is of this identity.
    pub(crate) fn subscriptions_left(&self, r: &ChannelRef, uid: &Uid) -> usize {
        let channel_goes = self.world.channels.get(r).is_some_and(Tracked::is_deleting);
        self.world
            .subscriptions_of(r)
            .filter(|(_, s)| match &s.common.backing {
                Some(b) => b.spec.channel == *r && b.spec.channel_uid == *uid,
                None => channel_goes && s.has_finalizer(),
            })
            .count()
    }
}

/// The owned part of [`Rules`].
struct RulesOf<'a> {
    namespace: &'a str,
    reach: Reach,
    service: String,
}

impl RulesOf<'_> {
    fn as_rules<'b>(&'b self, engine: &'b Engine) -> Rules<'b> {
        Rules {
            namespace: self.namespace,
            cluster_domain: &engine.given.options.cluster_domain,
            reach: self.reach,
            loopback: engine.given.options.loopback,
            hosts: engine.given.options.hosts.as_ref(),
            channels: &engine.world.channels,
            receiver: engine.given.options.receiver,
            service: &self.service,
        }
    }
}

/// What a channel was last provisioned with.
fn last_parameters(s: &ChannelState) -> Option<ResolvedParameters> {
    if let Some(b) = &s.common.backing
        && b.state != Made::Perhaps
        && Some(&b.spec.uid) == s.uid().as_ref()
    {
        return Some(b.spec.parameters.clone());
    }
    s.object
        .as_ref()?
        .status
        .as_ref()?
        .resolved_parameters
        .clone()
}

pub(crate) fn is_true(conditions: &[Condition], kind: ConditionType) -> bool {
    find(conditions, kind).is_some_and(|c| Truth::of(c) == Truth::True)
}

pub(crate) fn observed_of_channel(channel: &Channel) -> &[Condition] {
    channel.status.as_ref().map_or(&[], |s| &s.conditions)
}

pub(crate) fn observed_of_subscription(subscription: &Subscription) -> &[Condition] {
    subscription.status.as_ref().map_or(&[], |s| &s.conditions)
}

#[cfg(test)]
mod tests;
