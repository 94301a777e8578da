//! What a subscription says, as far as it is drawn from the seed.

use std::{sync::Arc, time::Duration};

use busway_core::{
    AttributeName, ChannelRef, SubscriptionRef, Uid,
    address::Destination,
    filter::{Filter, FilterSpec},
    gate::{MaxInFlight, Rate},
    outcome::{RuleAction, StatusRule},
    pacing::{Backoff, BackoffPolicy, Jitter},
    policy::{DeliveryPolicy, OnGone},
    routes::{Flow, SubscriptionRoute},
};

use super::chance::Chance;

/// The types of the messages; a set of them is a number of three bits.
pub(crate) const TYPES: [&str; 3] = ["order.new", "order.paid", "stock.low"];
pub(crate) const ALL_TYPES: u8 = 0b111;

pub(crate) fn channel() -> ChannelRef {
    ChannelRef::new("shop", "orders")
}

/// The name of a subscription, and of the host of its subscriber.
pub(crate) fn name(sub: usize) -> String {
    format!("s{sub}")
}

pub(crate) fn reference(sub: usize) -> SubscriptionRef {
    SubscriptionRef::new("shop", &name(sub))
}

/// The subscription that this reference names.
pub(crate) fn index(reference: &SubscriptionRef) -> usize {
    reference.name()[1..].parse().unwrap()
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) policy: DeliveryPolicy,
    /// Which types it wants.
    pub(crate) types: u8,
    /// In which dialect it says so.
    pub(crate) dialect: u64,
    pub(crate) ordered: bool,
    pub(crate) reply: bool,
    pub(crate) sink: bool,
    pub(crate) paused: bool,
    /// Which path of its host it is at: another one is another subscriber.
    pub(crate) path: u64,
}

impl Shape {
    pub(crate) fn drawn(chance: &mut Chance) -> Self {
        Self {
            policy: policy(chance),
            types: types(chance),
            dialect: chance.next(),
            ordered: chance.one_in(3),
            reply: chance.one_in(3),
            sink: chance.one_in(2),
            paused: false,
            path: 0,
        }
    }

    /// One that holds nothing back.
    pub(crate) fn calm(chance: &mut Chance) -> Self {
        Self {
            policy: DeliveryPolicy {
                timeout: Duration::from_secs(2),
                connect_timeout: Duration::from_secs(1),
                ..policy(chance)
            },
            ordered: chance.one_in(2),
            reply: false,
            ..Self::drawn(chance)
        }
        .at_ease()
    }

    fn at_ease(mut self) -> Self {
        self.policy.max_in_flight = MaxInFlight::Number(16);
        self.policy.rate = None;
        self.policy.max_age = None;
        self.policy.max_unsettled = 64;
        self
    }

    pub(crate) const fn wants(&self, kind: usize) -> bool {
        self.types & (1 << kind) != 0
    }

    /// The shortest wait before retry `n` that its policy allows.
    pub(crate) fn least_wait(&self, n: u32) -> Duration {
        let backoff = &self.policy.backoff;
        let factor = match backoff.policy {
            BackoffPolicy::Linear => n,
            BackoffPolicy::Exponential => 1 << (n - 1).min(20),
        };
        let whole = (backoff.delay * factor).min(backoff.max);
        match backoff.jitter {
            Jitter::None => whole,
            Jitter::Equal => whole / 2,
            Jitter::Full => Duration::ZERO,
        }
    }

    fn filter(&self) -> Filter {
        let within = |wanted: u8| {
            TYPES
                .iter()
                .enumerate()
                .filter(move |(i, _)| wanted & (1 << i) != 0)
        };
        let is = |kind: &str| FilterSpec::Exact([("type".to_owned(), kind.to_owned())].into());
        let any = |wanted: u8| FilterSpec::Any(within(wanted).map(|(_, kind)| is(kind)).collect());
        let specs = match self.dialect % 4 {
            _ if self.types == ALL_TYPES => Vec::new(),
            0 => vec![any(self.types)],
            1 => vec![FilterSpec::Not(Box::new(any(!self.types & ALL_TYPES)))],
            2 if self.types == 0b011 => {
                vec![FilterSpec::Prefix(
                    [("type".to_owned(), "order.".to_owned())].into(),
                )]
            }
            _ => {
                let names: Vec<_> = within(self.types)
                    .map(|(_, kind)| format!("'{kind}'"))
                    .collect();
                vec![FilterSpec::Cesql(format!("type IN ({})", names.join(", ")))]
            }
        };
        Filter::compile(&specs).unwrap()
    }

    pub(crate) fn route(&self, sub: usize, life: u64, generation: i64) -> Arc<SubscriptionRoute> {
        let to = |text: &str| Destination::parse(text, "shop", "cluster.local").unwrap();
        let name = name(sub);
        Arc::new(SubscriptionRoute {
            subscription: reference(sub),
            uid: Uid::new(&format!("{name}-{life}")),
            generation,
            channel: channel(),
            subscriber: to(&format!("http://{name}/{}", self.path)),
            reply_to: self.reply.then(|| to(&format!("http://replies/{name}"))),
            dead_letter_sink: self.sink.then(|| to(&format!("http://sink/{name}"))),
            filter: Arc::new(self.filter()),
            ordering: self.ordered.then(|| AttributeName::new("subject").unwrap()),
            policy: self.policy.clone(),
            flow: if self.paused {
                Flow::Paused
            } else {
                Flow::Running
            },
        })
    }
}

pub(crate) fn types(chance: &mut Chance) -> u8 {
    match chance.below(2) {
        0 => ALL_TYPES,
        _ => u8::try_from(chance.between(1, 6)).unwrap(),
    }
}

pub(crate) fn max_in_flight(chance: &mut Chance) -> MaxInFlight {
    match chance.below(4) {
        0 => MaxInFlight::Auto,
        _ => MaxInFlight::Number(u32::try_from(chance.between(1, 6)).unwrap()),
    }
}

pub(crate) fn rate(chance: &mut Chance) -> Option<Rate> {
    chance.one_in(4).then(|| Rate {
        per_second: chance.between(8, 20) as f64,
        burst: u32::try_from(chance.between(1, 3)).unwrap(),
    })
}

/// Now and then a status means something else.
fn rules(chance: &mut Chance) -> Vec<StatusRule> {
    let (status, action) = chance.pick(&[
        ("404", RuleAction::Reject),
        ("418", RuleAction::Accept),
        ("4xx", RuleAction::Retry),
        ("503", RuleAction::Reject),
    ]);
    let rule = StatusRule::new(status, action).unwrap();
    if chance.one_in(4) {
        vec![rule]
    } else {
        Vec::new()
    }
}

fn policy(chance: &mut Chance) -> DeliveryPolicy {
    DeliveryPolicy {
        retry: u32::try_from(chance.between(0, 6)).unwrap(),
        backoff: Backoff {
            policy: chance.pick(&[BackoffPolicy::Linear, BackoffPolicy::Exponential]),
            delay: chance.millis(20, 200),
            max: chance.millis(300, 1000),
            jitter: chance.pick(&[Jitter::Equal, Jitter::Full, Jitter::None]),
        },
        timeout: chance.millis(500, 1500),
        connect_timeout: chance.millis(200, 400),
        on_gone: chance.pick(&[OnGone::DeadLetter, OnGone::DeadLetter, OnGone::Pause]),
        status_rules: rules(chance),
        max_age: chance.one_in(5).then(|| chance.millis(1000, 6000)),
        retry_after_max: chance.millis(500, 3000),
        max_in_flight: max_in_flight(chance),
        max_unsettled: u32::try_from(chance.between(4, 64)).unwrap(),
        rate: rate(chance),
        ..DeliveryPolicy::default()
    }
}
