//! What a process shows of its subscriptions.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use busway_core::{
    bus::Backlog,
    gate::MaxInFlight,
    outcome::Outcome,
    routes::{Flow, SubscriptionRoute},
    serving::{DataPlane as _, Health},
};
use busway_dataplane::{
    Breaker, Doing, Metrics, Plane,
    metrics::{Count, Watched},
};
use serde_json::{Map, Value, json};

use super::Served;
use crate::admin::Page;

/// How many names a refusal tells.
const NAMES_TOLD: usize = 20;

/// All of a subscription.
pub(super) async fn whole(metrics: &Metrics, plane: &Plane, route: &SubscriptionRoute) -> Value {
    let watched = watched(metrics, plane, route);
    let health = plane.health(&route.uid).unwrap_or_default();
    // What the bus says now is newer than what it was asked last.
    let asked = plane.backlog(&route.subscription).await;
    let mut value = subscription(plane, route);
    if let Value::Object(fields) = &mut value {
        let doing = watched.as_ref().and_then(|watched| watched.doing);
        fields.insert("doing".to_owned(), doing_of(doing, route));
        let backlog = asked.or(health.backlog).map(backlog_of);
        fields.insert("backlog".to_owned(), backlog.into());
        let counts = watched.map(|watched| counts_of(watched.counts));
        fields.insert("counts".to_owned(), counts.unwrap_or_default().into());
    }
    value
}

/// Those whose names come after the last page's, and after which name the next begins.
pub(super) fn page(metrics: &Metrics, all: &[Served], page: &Page) -> Value {
    let mut sorted: BTreeMap<String, (&Served, Arc<SubscriptionRoute>)> = BTreeMap::new();
    let mut total = 0;
    for served in all {
        for route in served.plane.routes().subscriptions() {
            total += 1;
            let name = route.subscription.as_str();
            if page.after().is_none_or(|after| name > after) {
                sorted.insert(name.to_owned(), (served, Arc::clone(route)));
            }
        }
        // Only what is shown is kept, and one more that says that there is more.
        while sorted.len() > page.limit() + 1 {
            sorted.pop_last();
        }
    }
    let more = sorted.len() > page.limit();
    let shown = sorted.values().take(page.limit());
    let items: Vec<_> = shown
        .map(|(served, route)| {
            let watched = watched(metrics, &served.plane, route);
            let mut value = subscription(&served.plane, route);
            if let Value::Object(fields) = &mut value {
                let doing = watched.and_then(|watched| watched.doing);
                fields.insert("doing".to_owned(), doing_of(doing, route));
            }
            value
        })
        .collect();
    let next = items.last().filter(|_| more);
    let next = next.and_then(|last| last.get("subscription")).cloned();
    json!({ "items": items, "total": total, "continue": next })
}

/// What is served here, for somebody who asked for another.
pub(super) fn loaded(all: &[Served], namespace: &str) -> Value {
    let mut beside: Vec<String> = Vec::new();
    let mut buses = Vec::new();
    for served in all {
        let routes = served.plane.routes();
        let mut subscriptions = 0;
        for route in routes.subscriptions() {
            subscriptions += 1;
            if route.subscription.namespace() == namespace {
                beside.push(route.subscription.as_str().to_owned());
            }
        }
        buses.push(json!({
            "bus": served.plane.name().to_string(),
            "loaded": routes.loaded,
            "channels": routes.channels.len(),
            "subscriptions": subscriptions,
        }));
    }
    beside.sort_unstable();
    beside.truncate(NAMES_TOLD);
    json!({ "buses": buses, "inThisNamespace": beside })
}

fn watched(metrics: &Metrics, plane: &Plane, route: &SubscriptionRoute) -> Option<Watched> {
    metrics.subscription(&plane.name().to_string(), &route.subscription)
}

fn doing_of(doing: Option<Doing>, route: &SubscriptionRoute) -> Value {
    let doing = doing.unwrap_or_else(|| Doing::nothing(route, SystemTime::now()));
    let policy = &route.policy;
    json!({
        "breaker": {
            "state": doing.breaker.as_str(),
            "forSeconds": match doing.breaker {
                Breaker::Open { until } => Some(left(until)),
                Breaker::Closed | Breaker::HalfOpen => None,
            },
        },
        "inFlight": doing.in_flight,
        "limit": doing.limit,
        "maxInFlight": match policy.max_in_flight {
            MaxInFlight::Number(number) => json!(number),
            MaxInFlight::Auto => json!("auto"),
        },
        "rate": policy.rate.map(|rate| json!({ "perSecond": rate.per_second, "burst": rate.burst })),
        "unsettled": doing.unsettled,
        "retryAfterSeconds": doing.retry_after.map(left),
        "held": doing.held.map(|held| held.as_str()),
        "lastError": doing.last_error.map(|error| json!({
            "stage": error.stage.as_str(),
            "reason": match error.outcome {
                Outcome::Status(_) => "Status",
                Outcome::Failed(failure) => failure.reason(),
            },
            "status": match error.outcome {
                Outcome::Status(status) => Some(status),
                Outcome::Failed(_) => None,
            },
            "secondsAgo": age(error.at),
        })),
        "next": doing.next.map(|next| json!({
            "stage": next.stage.as_str(),
            "attempt": next.attempt,
            "inSeconds": left(next.at),
        })),
        "secondsOld": if doing.resting { 0 } else { age(doing.at) },
    })
}

/// By metric, without its prefix; the labels and the count of each series.
fn counts_of(counts: Vec<Count>) -> Map<String, Value> {
    let mut all: Map<String, Value> = Map::new();
    for Count {
        metric,
        labels,
        value,
    } in counts
    {
        let metric = metric.trim_start_matches("busway_subscription_");
        let mut one: Map<String, Value> = labels
            .into_iter()
            .map(|(label, value)| (label.to_owned(), value.into()))
            .collect();
        one.insert("count".to_owned(), value.into());
        let known = all.entry(metric).or_insert_with(|| json!([]));
        if let Value::Array(known) = known {
            known.push(one.into());
        }
    }
    all
}

fn backlog_of(backlog: Backlog) -> Value {
    json!({
        "count": backlog.count,
        "inFlight": backlog.in_flight,
        "oldestSeconds": backlog.oldest.map(age),
    })
}

/// Seconds until then, to the tenth.
fn left(until: SystemTime) -> f64 {
    let left = until
        .duration_since(SystemTime::now())
        .unwrap_or(Duration::ZERO);
    (left.as_secs_f64() * 10.0).round() / 10.0
}

/// What is routed of a subscription, and how it goes.
pub(super) fn subscription(plane: &Plane, route: &SubscriptionRoute) -> Value {
    let health = plane.health(&route.uid).unwrap_or_default();
    json!({
        "subscription": route.subscription.as_str(),
        "channel": route.channel.as_str(),
        "bus": plane.name().to_string(),
        "uid": route.uid.as_str(),
        "generation": route.generation,
        "servedGeneration": plane.loaded().generation(&route.uid),
        "subscriber": route.subscriber.as_str(),
        "replyTo": route.reply_to.as_ref().map(|d| d.as_str()),
        "deadLetterSink": route.dead_letter_sink.as_ref().map(|d| d.as_str()),
        "flow": match route.flow {
            Flow::Running => "Running",
            Flow::Paused => "Paused",
            Flow::Held => "Held",
        },
        "delivery": health_of(&health),
    })
}

fn health_of(health: &Health) -> Value {
    json!({
        "failingForSeconds": health.failing_since.map(age),
        "lastError": health.last_error,
        "gone": health.gone,
        "lastOverflowSecondsAgo": health.last_overflow.map(age),
        "lastExpirySecondsAgo": health.last_expiry.map(age),
        "backlog": health.backlog.map(backlog_of),
    })
}

fn age(since: SystemTime) -> u64 {
    since.elapsed().unwrap_or_default().as_secs()
}
