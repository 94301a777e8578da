//! What is said of a subscription.

use busway_api::{
    Subscription,
    conditions::{ConditionType, Said, find},
    reason::Reason,
};
use busway_core::{ChannelRef, SubscriptionRef, routes::Flow};
use serde_json::json;

use super::{
    Words,
    channel::{say_problem, waiting_for},
};
use crate::{
    convert::subscription::View,
    engine::{
        Engine,
        judge::{Blame, Standing, observed_of_subscription},
    },
    health::Delivering,
    world::{ChannelState, Made, SubscriptionState, Tracked as _},
};

impl Engine {
    pub(crate) fn subscription_words(&self, r: &SubscriptionRef) -> Option<Words> {
        let s = self.world.subscriptions.get(r)?;
        let generation = s.generation();
        let Some(object) = &s.object else {
            return self.undecodable_words(s.common.undecodable.as_ref());
        };
        let standing = self.standing_of_subscription(r, object);
        if !self.is_ours_to_write(&standing) {
            return None;
        }
        let mut words = Words::new();
        if let Standing::Orphan(problem) = &standing {
            say_problem(&mut words, ConditionType::Accepted, problem, generation);
            say_problem(&mut words, ConditionType::Subscribed, problem, generation);
            words.say(
                Said::no(
                    ConditionType::Dispatching,
                    Reason::Stopped,
                    problem.message.clone(),
                ),
                generation,
            );
            return Some(words);
        }
        let name = ChannelRef::new(r.namespace(), &object.spec.channel);
        let channel = self.world.channels.get(&name)?;
        words.say(
            if channel.is_deleting() {
                let message = format!("channel {name} is being deleted");
                Said::no(ConditionType::Accepted, Reason::ChannelDeleted, message)
            } else {
                Said::yes(ConditionType::Accepted, Reason::Accepted, "")
            },
            generation,
        );
        words.say(Self::resolved_said(s), generation);
        let (subscribed, at) = self.subscribed_said(s, object, channel, &mut words);
        words.say(subscribed, at);
        let flow = self.flow_of(r);
        let dispatching = self.dispatching_said(s, channel, flow, &mut words);
        words.say(dispatching, generation);
        words.say(delivering_said(&s.delivering, flow), generation);
        Self::subscription_fields(s, object, &mut words);
        Some(words)
    }

    fn resolved_said(s: &SubscriptionState) -> Said {
        let kind = ConditionType::Resolved;
        if let Some((_, error)) = &s.common.undecodable {
            let message =
                format!("the present form is not known, the last good one goes on: {error}");
            return Said::no(kind, Reason::Undecodable, message);
        }
        let Some(view) = &s.view else {
            return Said::unknown(
                kind,
                Reason::Pending,
                "the channel or the bus is not known yet",
            );
        };
        let Some(problem) = view.problem() else {
            return Said::yes(kind, Reason::Resolved, "");
        };
        let by_bus = view.only_parameters() && Self::blame_of_subscription(s, view) == Blame::Bus;
        if by_bus {
            let message = format!(
                "the bus's parameters changed and these arguments do not fit; the last good values go on: {}",
                problem.message
            );
            return Said::no(kind, Reason::ParametersInvalid, message);
        }
        Said::no(kind, problem.reason.clone(), problem.message.clone())
    }

    fn subscribed_said(
        &self,
        s: &SubscriptionState,
        object: &Subscription,
        channel: &ChannelState,
        words: &mut Words,
    ) -> (Said, i64) {
        let kind = ConditionType::Subscribed;
        let generation = s.generation();
        if let Some(failure) = &s.common.failure {
            let reason = failure.error.reason().to_owned();
            return (
                Said::no(kind, reason, failure.error.to_string()),
                generation,
            );
        }
        if s.is_deleting() || channel.is_deleting() {
            let removed = s.common.backing.is_none() && s.common.removed == s.uid();
            let message = if removed {
                "it is removed from the bus"
            } else {
                "it is being removed"
            };
            return (Said::no(kind, Reason::Stopped, message), generation);
        }
        if !self.is_provisioned(channel) {
            if channel.common.failure.is_none()
                && self.channel_parameters(channel).is_ok()
                && self.world.bus.failure.is_none()
            {
                words.under_way();
            }
            let message = format!("channel {} is not provisioned", object.spec.channel);
            return (Said::no(kind, Reason::ChannelNotReady, message), generation);
        }
        let never = s.view.as_ref().is_some_and(|v| {
            v.problem().is_some() && Self::blame_of_subscription(s, v) == Blame::Never
        });
        if never {
            return (
                Said::unknown(kind, Reason::Pending, "it is not resolved"),
                generation,
            );
        }
        match &s.common.backing {
            Some(b) if b.state == Made::Done && Self::is_as_asked(s) => {
                (Said::yes(kind, Reason::Subscribed, ""), b.generation)
            }
            Some(_) | None => {
                words.under_way();
                let seen = find(observed_of_subscription(object), kind);
                match seen.filter(|c| c.status == "True" && self.is_subscribed(s, channel)) {
                    // Of a former life of this process: it holds while it is made sure.
                    Some(seen) => (
                        Said::yes(kind, seen.reason.clone(), seen.message.clone()),
                        seen.observed_generation.unwrap_or(generation),
                    ),
                    None => (
                        Said::unknown(kind, Reason::Pending, "it is not subscribed yet"),
                        generation,
                    ),
                }
            }
        }
    }

    fn is_as_asked(s: &SubscriptionState) -> bool {
        let (Some(b), Some(view)) = (&s.common.backing, &s.view) else {
            return false;
        };
        Self::terms(s, view).is_none_or(|terms| {
            terms.parameters == b.spec.parameters
                && terms.timeout == b.spec.timeout
                && (!Self::works(s, view) || b.generation == s.generation())
        })
    }

    fn dispatching_said(
        &self,
        s: &SubscriptionState,
        channel: &ChannelState,
        flow: Option<Flow>,
        words: &mut Words,
    ) -> Said {
        let kind = ConditionType::Dispatching;
        let Some(uid) = s.uid() else {
            return Said::unknown(kind, Reason::Pending, "");
        };
        if s.is_deleting() || channel.is_deleting() {
            return if self.is_loaded_anywhere(&uid) {
                words.under_way();
                Said::no(kind, Reason::Stopped, "replicas are being told")
            } else {
                Said::no(kind, Reason::Stopped, "no replica delivers any more")
            };
        }
        if !self.is_subscribed(s, channel) || !self.is_provisioned(channel) {
            return Said::unknown(kind, Reason::Pending, "it is not subscribed yet");
        }
        if flow == Some(Flow::Held) {
            let message = "an edit made it invalid: the backlog is kept, and nothing is delivered";
            return Said::no(kind, Reason::Held, message);
        }
        let without = self.replicas_without(&uid, s.generation());
        if without.is_empty() {
            return Said::yes(kind, Reason::Consuming, "");
        }
        words.under_way();
        Said::no(kind, Reason::WaitingForReplicas, waiting_for(&without))
    }

    fn subscription_fields(s: &SubscriptionState, object: &Subscription, words: &mut Words) {
        let status = object.status.as_ref();
        let removed = s.common.removed.is_some();
        let present = s
            .common
            .backing
            .as_ref()
            .filter(|b| b.state != Made::Perhaps);
        let seen = status.and_then(|s| s.resolved_parameters.as_ref());
        let parameters = present.map(|b| &b.spec.parameters);
        if let Some(parameters) = parameters.or(seen.filter(|_| !removed)) {
            words.field("resolvedParameters", json!(parameters));
        }
        let targets = s.view.as_deref().map(shown_targets).unwrap_or_default();
        let [subscriber, reply, dead_letter] = targets;
        let held = |url: Option<String>, seen: Option<&String>| url.or_else(|| seen.cloned());
        let valid = s.view.as_ref().is_some_and(|v| v.targets.is_ok());
        if valid {
            words.field("subscriberUrl", json!(subscriber));
            words.field("replyUrl", json!(reply));
            words.field("deadLetterUrl", json!(dead_letter));
        } else {
            // What it goes on with, or would.
            words.field(
                "subscriberUrl",
                json!(held(None, status.and_then(|s| s.subscriber_url.as_ref()))),
            );
            words.field(
                "replyUrl",
                json!(held(None, status.and_then(|s| s.reply_url.as_ref()))),
            );
            words.field(
                "deadLetterUrl",
                json!(held(None, status.and_then(|s| s.dead_letter_url.as_ref()))),
            );
        }
        words.field("backlog", json!(s.delivering.backlog));
        words.field("oldestAcceptedAt", json!(s.delivering.oldest));
    }
}

fn shown_targets(view: &View) -> [Option<String>; 3] {
    let Ok(targets) = &view.targets else {
        return [None, None, None];
    };
    [
        Some(targets.subscriber.to_string()),
        targets.reply_to.as_ref().map(ToString::to_string),
        targets.dead_letter_sink.as_ref().map(ToString::to_string),
    ]
}

fn delivering_said(delivering: &Delivering, flow: Option<Flow>) -> Said {
    let kind = ConditionType::Delivering;
    match flow {
        Some(Flow::Held) => Said::no(
            kind,
            Reason::Held,
            "it is invalid as it is written, see Ready: nothing is attempted until it is mended",
        ),
        Some(Flow::Paused) => Said::no(kind, Reason::Paused, "spec.paused is set"),
        Some(Flow::Running) | None => delivering.said(),
    }
}
