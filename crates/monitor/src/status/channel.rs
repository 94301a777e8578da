//! What is said of a channel.

use std::time::Duration;

use busway_api::{
    conditions::{ConditionType, Said, find},
    reason::Reason,
};
use busway_core::{BusRef, ChannelRef};
use serde_json::json;
use tokio::time::Instant;

use super::Words;
use crate::{
    convert::Problem,
    engine::{
        Engine,
        judge::{Blame, Standing, observed_of_channel},
    },
    options::Parts,
    world::{ChannelState, Made, Tracked as _},
};

/// A count of subscriptions is written when it has not changed for so long.
const COUNT_SETTLES: Duration = Duration::from_secs(2);
/// Parameters that are no longer the bus's: what is told first.
const BUS_CHANGED: &str =
    "the bus's parameters changed and these arguments do not fit; the last good values go on";

impl Engine {
    pub(crate) fn channel_words(&mut self, r: &ChannelRef, now: Instant) -> Option<Words> {
        self.settle_count(r, now);
        let s = self.world.channels.get(r)?;
        let generation = s.generation();
        let Some(object) = &s.object else {
            return self.undecodable_words(s.common.undecodable.as_ref());
        };
        let standing = self.standing_of_channel(object);
        if !self.is_ours_to_write(&standing) {
            return None;
        }
        let mut words = Words::new();
        if let Standing::Orphan(problem) = &standing {
            say_problem(&mut words, ConditionType::Accepted, problem, generation);
            return Some(words);
        }
        let admission = self.admission(object);
        words.say(
            match &admission {
                _ if s.is_deleting() => Said::no(
                    ConditionType::Accepted,
                    Reason::ChannelDeleted,
                    "the channel is being deleted",
                ),
                Some(problem) => Said::no(
                    ConditionType::Accepted,
                    problem.reason.clone(),
                    problem.message.clone(),
                ),
                None => Said::yes(ConditionType::Accepted, Reason::Accepted, ""),
            },
            generation,
        );
        words.say(
            Said::yes(ConditionType::Serviceable, Reason::Reachable, ""),
            generation,
        );
        let provisioned = self.provisioned_said(s, admission.as_ref(), &mut words);
        words.say(provisioned, generation);
        let routable = self.routable_said(s, &mut words);
        words.say(routable, generation);
        self.channel_fields(r, s, &mut words);
        Some(words)
    }

    fn provisioned_said(
        &self,
        s: &ChannelState,
        admission: Option<&Problem>,
        words: &mut Words,
    ) -> Said {
        let kind = ConditionType::Provisioned;
        if let Some(failure) = &s.common.failure {
            let reason = failure.error.reason().to_owned();
            return Said::no(kind, reason, failure.error.to_string());
        }
        if s.is_deleting() {
            return match s.common.removed.as_ref() == s.uid().as_ref() {
                true => Said::no(kind, Reason::Stopped, "what backed it is removed"),
                false => Said::no(
                    kind,
                    Reason::ChannelDeleted,
                    "what backs it is being removed",
                ),
            };
        }
        if admission.is_some() && !self.is_provisioned(s) {
            return Said::unknown(kind, Reason::Pending, "it is not accepted by the bus");
        }
        if let Some(failure) = &self.world.bus.failure
            && !self.bus_is_synced()
        {
            let message = format!("the bus has not synced: {}", failure.error);
            return Said::no(kind, Reason::WaitingForBus, message);
        }
        if let Some(problem) = self
            .world
            .bus
            .problem
            .as_ref()
            .filter(|_| !self.bus_is_synced())
        {
            let message = format!("the bus has not synced: {}", problem.message);
            return Said::no(kind, Reason::WaitingForBus, message);
        }
        if self.world.bus.view.is_some()
            && let Err(problem) = self.channel_parameters(s)
        {
            return match Self::blame_of_channel(s) {
                Blame::Bus => Said::no(
                    kind,
                    Reason::ParametersInvalid,
                    format!("{BUS_CHANGED}: {}", problem.message),
                ),
                Blame::Own | Blame::Never => Said::no(kind, problem.reason, problem.message),
            };
        }
        let uid = s.uid();
        match &s.common.backing {
            Some(b) if Some(&b.spec.uid) == uid.as_ref() && b.state == Made::Done => {
                let as_asked = self.working_parameters(s).as_ref() == Some(&b.spec.parameters);
                if as_asked {
                    return Said::yes(kind, Reason::Provisioned, "");
                }
                words.under_way();
                Said::unknown(kind, Reason::Pending, "it is being provisioned anew")
            }
            Some(_) | None => {
                words.under_way();
                let seen = s
                    .object
                    .as_ref()
                    .and_then(|o| find(observed_of_channel(o), kind));
                match seen.filter(|c| c.status == "True" && self.is_provisioned(s)) {
                    // Of a former life of this process: it holds while it is made sure.
                    Some(seen) => Said::yes(kind, seen.reason.clone(), seen.message.clone()),
                    None => Said::unknown(kind, Reason::Pending, "it is not provisioned yet"),
                }
            }
        }
    }

    fn routable_said(&self, s: &ChannelState, words: &mut Words) -> Said {
        let kind = ConditionType::Routable;
        let Some(uid) = s.uid() else {
            return Said::unknown(kind, Reason::Pending, "");
        };
        if s.is_deleting() {
            return if self.is_loaded_anywhere(&uid) {
                words.under_way();
                Said::no(kind, Reason::ChannelDeleted, "replicas are being told")
            } else {
                Said::no(kind, Reason::Stopped, "no replica takes messages any more")
            };
        }
        if !self.is_provisioned(s) {
            return Said::unknown(kind, Reason::Pending, "it is not provisioned yet");
        }
        if s.object
            .as_ref()
            .is_some_and(|object| self.is_revoked(object))
        {
            let message = "the time that its namespace was given is over: it takes no messages";
            return Said::no(kind, Reason::NamespaceNotAllowed, message);
        }
        let without = self.replicas_without(&uid, s.generation());
        if without.is_empty() {
            return Said::yes(kind, Reason::Routable, "");
        }
        words.under_way();
        Said::no(kind, Reason::WaitingForReplicas, waiting_for(&without))
    }

    fn channel_fields(&self, r: &ChannelRef, s: &ChannelState, words: &mut Words) {
        words.field("subscriptions", json!(s.shown_count.unwrap_or(0)));
        let present = s
            .common
            .backing
            .as_ref()
            .filter(|b| b.state != Made::Perhaps && Some(&b.spec.uid) == s.uid().as_ref());
        let status = s.object.as_ref().and_then(|o| o.status.as_ref());
        let seen = status.and_then(|s| s.resolved_parameters.as_ref());
        let removed = s.common.removed.is_some();
        if let Some(parameters) = present
            .map(|b| &b.spec.parameters)
            .or_else(|| seen.filter(|_| !removed && self.is_provisioned(s)))
        {
            words.field("resolvedParameters", json!(parameters));
        }
        if self.given.options.parts == Parts::Both && s.is_alive() {
            words.field("addresses", self.addresses(r));
        }
    }

    /// By path first where there is no Service: it works as it stands there.
    fn addresses(&self, r: &ChannelRef) -> serde_json::Value {
        let options = &self.given.options;
        let (namespace, name) = (r.namespace(), r.name());
        let host = json!({
            "name": "host",
            "url": format!("http://{name}-channel.{namespace}.svc.{}", options.cluster_domain),
        });
        let base = match (&options.receiver, &self.given.bus_ref) {
            (Some(receiver), _) => format!("http://{receiver}"),
            (None, BusRef::Namespaced { namespace, name }) => {
                format!(
                    "http://{name}-bus.{namespace}.svc.{}",
                    options.cluster_domain
                )
            }
            (None, BusRef::Cluster { .. }) => return json!([host]),
        };
        json!([{ "name": "path", "url": format!("{base}/{namespace}/{name}") }, host])
    }

    /// The count is shown at once the first time, and when it has settled after that.
    fn settle_count(&mut self, r: &ChannelRef, now: Instant) {
        let count = self
            .world
            .subscriptions_of(r)
            .filter(|(_, s)| s.is_alive())
            .count();
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let Some(s) = self.world.channels.get_mut(r) else {
            return;
        };
        let Some(shown) = s.shown_count else {
            let status = s.object.as_ref().and_then(|o| o.status.as_ref());
            let seen = status.and_then(|s| s.subscriptions);
            s.shown_count = Some(seen.unwrap_or(count));
            s.count_changed = seen.filter(|seen| *seen != count).map(|_| now);
            return;
        };
        if shown == count {
            s.count_changed = None;
            return;
        }
        let since = *s.count_changed.get_or_insert(now);
        if now >= since + COUNT_SETTLES {
            s.shown_count = Some(count);
            s.count_changed = None;
        }
    }

    /// What is said of an object whose form is not known, and never was.
    pub(super) fn undecodable_words(
        &self,
        undecodable: Option<&(Box<kube::core::ObjectMeta>, String)>,
    ) -> Option<Words> {
        let (meta, error) = undecodable.filter(|_| self.writes_orphans())?;
        let mut words = Words::new();
        let message = format!("this version does not know its form: {error}");
        let problem = Problem::new(Reason::Undecodable, message);
        let generation = meta.generation.unwrap_or(0);
        say_problem(&mut words, ConditionType::Accepted, &problem, generation);
        Some(words)
    }
}

pub(super) fn say_problem(
    words: &mut Words,
    kind: ConditionType,
    problem: &Problem,
    generation: i64,
) {
    let said = Said::no(kind, problem.reason.clone(), problem.message.clone());
    words.say(said, generation);
}

pub(super) fn waiting_for(replicas: &[String]) -> String {
    /// Names in one message: enough to know where to look.
    const NAMED: usize = 5;
    let named: Vec<_> = replicas.iter().take(NAMED).map(String::as_str).collect();
    let more = replicas.len().saturating_sub(NAMED);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("not loaded yet by {}{rest}", named.join(", "))
}
