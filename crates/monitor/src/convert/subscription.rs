//! A Subscription.

use std::{sync::Arc, time::Duration};

use busway_api::{Subscription, filter as api, reason::Reason};
use busway_core::{
    AttributeName, ChannelRef, SubscriptionRef, Uid,
    address::Destination,
    bus::SubscriptionSpec,
    filter::{Filter, FilterSpec},
    parameters::{Parameter, ResolvedParameters, resolve},
    policy::{DeliveryOverrides, DeliveryPolicy},
};
use kube::ResourceExt;

use super::{Problem, addresses::Rules, channel::pairs, delivery, ordering::Order};

/// Where and how a subscription's messages go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Targets {
    pub(crate) subscriber: Destination,
    pub(crate) reply_to: Option<Destination>,
    pub(crate) dead_letter_sink: Option<Destination>,
    pub(crate) filter: Arc<Filter>,
    pub(crate) ordering: Option<AttributeName>,
    pub(crate) policy: DeliveryPolicy,
}

/// A subscription, validated.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) parameters: Result<ResolvedParameters, Problem>,
    /// Complete and allowed.
    pub(crate) targets: Result<Arc<Targets>, Problem>,
    /// As above, but for what the bus forbids: an edit of the bus stops nothing that runs.
    pub(crate) lenient: Option<Arc<Targets>>,
    /// Whether the bus keeps the order that is asked for.
    pub(crate) order: Result<(), Problem>,
    /// A field whose behaviour is not there yet.
    pub(crate) refused: Option<Problem>,
}

impl View {
    /// The first thing that is wrong.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.refused
            .as_ref()
            .or_else(|| self.parameters.as_ref().err())
            .or_else(|| self.targets.as_ref().err())
            .or_else(|| self.order.as_ref().err())
    }

    /// Whether what is wrong is only that arguments do not fit the bus's parameters.
    pub(crate) fn only_parameters(&self) -> bool {
        self.refused.is_none() && self.parameters.is_err() && self.targets.is_ok()
    }

    /// Whether what is wrong is only that the bus does not keep the order.
    pub(crate) fn only_order(&self) -> bool {
        self.refused.is_none()
            && self.parameters.is_ok()
            && self.targets.is_ok()
            && self.order.is_err()
    }
}

/// Reads a subscription. `below` are the channel's overrides over the bus's.
pub(crate) fn view(
    subscription: &Subscription,
    declared: &[Parameter],
    below: DeliveryOverrides,
    rules: &Rules<'_>,
    order: Order<'_>,
    refused: Option<&Problem>,
) -> View {
    let spec = &subscription.spec;
    let (targets, lenient) = match delivery::overrides(spec.delivery.as_deref()) {
        Err(problem) => (Err(problem), None),
        Ok(own) => {
            let merged = own.over(below);
            let of = |strictness| targets(subscription, &merged, rules, strictness).map(Arc::new);
            let strict = of(Strictness::Strict);
            // What is allowed is the same in form.
            let lenient = match &strict {
                Ok(targets) => Some(Arc::clone(targets)),
                Err(_) => of(Strictness::FormOnly).ok(),
            };
            (strict, lenient)
        }
    };
    View {
        parameters: resolve(declared, pairs(&spec.arguments)).map_err(Problem::from),
        targets,
        lenient,
        order: order.keeps(spec.ordering.as_ref()),
        refused: refused.cloned(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Strict,
    FormOnly,
}

fn targets(
    subscription: &Subscription,
    merged: &DeliveryOverrides,
    rules: &Rules<'_>,
    strictness: Strictness,
) -> Result<Targets, Problem> {
    let spec = &subscription.spec;
    let own = ChannelRef::new(rules.namespace, &spec.channel);
    let resolve = |field: &str, text: &str| match strictness {
        Strictness::Strict => rules.resolve(field, text),
        Strictness::FormOnly => rules.parse(field, text),
    };
    let onward = |field: &str, text: &str| {
        let destination = resolve(field, text)?;
        if rules.channel_at(&destination).as_ref() == Some(&own) {
            let message = format!("{field}: {destination} is the subscription's own channel");
            return Err(Problem::new(Reason::AddressLoop, message));
        }
        Ok(destination)
    };
    let reply_to = spec.reply_to.as_deref();
    let sink_field = if spec
        .delivery
        .as_ref()
        .is_some_and(|d| d.dead_letter_sink.is_some())
    {
        "spec.delivery.deadLetterSink"
    } else {
        "delivery.deadLetterSink of the channel or the bus"
    };
    let filter = filter(&spec.filters)?;
    let ordering = Order::key(spec.ordering.as_ref())?;
    Ok(Targets {
        filter,
        ordering,
        subscriber: resolve("spec.subscriber", &spec.subscriber)?,
        reply_to: reply_to
            .map(|text| onward("spec.replyTo", text))
            .transpose()?,
        dead_letter_sink: merged
            .sink()
            .map(|text| onward(sink_field, text))
            .transpose()?,
        policy: merged.clone().complete(),
    })
}

/// Compiles filters.
fn filter(filters: &[api::Filter]) -> Result<Arc<Filter>, Problem> {
    // They came as JSON, and go back to it.
    let json = serde_json::to_value(filters).unwrap_or_default();
    let compiled = FilterSpec::list_from_json(&json).and_then(|list| Filter::compile(&list));
    let compiled =
        compiled.map_err(|error| Problem::new(Reason::FilterInvalid, format!("spec.{error}")))?;
    Ok(Arc::new(compiled))
}

/// What the hooks see of a subscription.
pub(crate) fn spec(
    subscription: &Subscription,
    channel_uid: &Uid,
    parameters: ResolvedParameters,
    timeout: Duration,
) -> Arc<SubscriptionSpec> {
    let namespace = subscription.namespace().unwrap_or_default();
    Arc::new(SubscriptionSpec {
        subscription: SubscriptionRef::new(&namespace, &subscription.name_any()),
        uid: Uid::new(subscription.metadata.uid.as_deref().unwrap_or_default()),
        channel: ChannelRef::new(&namespace, &subscription.spec.channel),
        channel_uid: channel_uid.clone(),
        parameters,
        timeout,
    })
}
