#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime};

use busway_core::{budget::MemoryBudget, bus::Backlog};

use super::*;
use crate::{
    doing::{Breaker, Held},
    metrics::{Own, table::HELD_BY},
    observer::Stage,
};

fn metrics(own: usize) -> Metrics {
    Metrics::new(2, MemoryBudget::new(1), own)
}

fn name(name: &str) -> SubscriptionRef {
    SubscriptionRef::new("shop", name)
}

fn enter(metrics: &Metrics, subscription: &str, shard: usize) -> Arc<SubscriptionCounts> {
    metrics.enter("ns/b", &name(subscription), shard, Arc::default())
}

/// The lines of a subscription.
fn lines(metrics: &Metrics, subscription: &str) -> Vec<String> {
    let text = metrics.encode();
    let of = format!(r#"subscription="{subscription}""#);
    let found = text.lines().filter(|line| line.contains(&of));
    found.map(str::to_owned).collect()
}

fn attempt(counts: &SubscriptionCounts, millis: u64) {
    counts.attempted(Stage::Subscriber, 0, Duration::from_millis(millis));
}

#[test]
fn of_1001_subscriptions_the_last_shares_its_histograms_and_all_have_counters() {
    let metrics = metrics(OWN_HISTOGRAMS);
    let all: Vec<_> = (0..=OWN_HISTOGRAMS)
        .map(|n| enter(&metrics, &format!("s{n}"), n % 2))
        .collect();
    all.iter().for_each(|counts| attempt(counts, 3));
    let text = metrics.encode();
    let count = |of: &str| text.lines().filter(|line| line.starts_with(of)).count();
    assert_eq!(count("busway_subscription_attempts_total{"), 1_001);
    assert_eq!(
        count("busway_subscription_attempt_duration_seconds_count{"),
        1_001
    );
    assert_eq!(
        count("busway_subscription_settle_duration_seconds_count{"),
        1_001
    );
    for (subscription, own) in [("s999", true), ("s1000", false)] {
        let lines = lines(&metrics, subscription);
        let histogram = lines.iter().any(|line| line.contains("_seconds_bucket{"));
        assert_eq!(histogram, own, "{lines:#?}");
    }
    let line = r#"busway_subscription_attempt_duration_seconds_bucket{le="0.005",bus="ns/b",subscription_namespace="",subscription="_other"} 1"#;
    assert!(text.contains(line), "{:#?}", lines(&metrics, "_other"));
}

#[test]
fn what_is_shared_is_summed_over_shards_and_stays_when_one_goes() {
    let metrics = metrics(1);
    let own = enter(&metrics, "own", 0);
    let shared = [enter(&metrics, "a", 0), enter(&metrics, "b", 1)];
    for counts in &shared {
        attempt(counts, 2_000);
        counts.settled_after(Duration::from_secs(2));
    }
    metrics.leave("ns/b", &shared[0]);
    assert_eq!(lines(&metrics, "a"), [""; 0]);
    let sums: Vec<_> = lines(&metrics, "_other")
        .into_iter()
        .filter(|line| !line.contains("_bucket"))
        .collect();
    let labels = r#"{bus="ns/b",subscription_namespace="",subscription="_other"}"#;
    assert_eq!(
        sums,
        [
            format!("busway_subscription_attempt_duration_seconds_sum{labels} 4.0"),
            format!("busway_subscription_attempt_duration_seconds_count{labels} 2"),
            format!("busway_subscription_settle_duration_seconds_sum{labels} 4.0"),
            format!("busway_subscription_settle_duration_seconds_count{labels} 2"),
        ]
    );
    // The place of one that goes is free for the next that comes.
    metrics.leave("ns/b", &own);
    let next = enter(&metrics, "next", 0);
    assert!(matches!(next.latencies, Latencies::Own(_)));
    assert!(matches!(
        enter(&metrics, "after", 0).latencies,
        Latencies::Shared(_)
    ));
}

#[test]
fn one_that_comes_back_under_its_name_begins_anew() {
    let metrics = metrics(1);
    let first = enter(&metrics, "s", 0);
    attempt(&first, 1);
    let second = enter(&metrics, "s", 0);
    assert!(matches!(second.latencies, Latencies::Own(_)));
    // What ended before says that it goes only now.
    metrics.leave("ns/b", &first);
    attempt(&second, 1);
    attempt(&second, 1);
    let watched = metrics.subscription("ns/b", &name("s")).unwrap();
    let one = Count {
        metric: "busway_subscription_attempts",
        labels: vec![("stage", "subscriber"), ("outcome", "2xx")],
        value: 2,
    };
    assert_eq!(watched.counts, [one]);
    assert!(metrics.subscription("other", &name("s")).is_none());
    assert!(metrics.subscription("ns/b", &name("x")).is_none());
}

#[test]
fn the_last_place_of_each_counter_has_the_last_of_its_labels() {
    let metrics = metrics(0);
    let counts = enter(&metrics, "s", 0);
    let families = [
        Own::Attempts,
        Own::Retries,
        Own::Settled,
        Own::DeadLetters,
        Own::Dropped,
        Own::FilterErrors,
    ];
    assert_eq!(families.len(), SUBSCRIPTION_TABLE.len());
    for (family, row) in families.into_iter().zip(SUBSCRIPTION_TABLE) {
        counts.one(family, row.cells() - 1);
    }
    let got: Vec<_> = metrics.subscription("ns/b", &name("s")).unwrap().counts;
    let last = |row: &crate::metrics::Definition| {
        let labels = row.labels.iter();
        labels
            .map(|(name, values)| (*name, *values.last().unwrap()))
            .collect::<Vec<_>>()
    };
    let wanted: Vec<_> = SUBSCRIPTION_TABLE
        .iter()
        .map(|row| Count {
            metric: row.name,
            labels: last(row),
            value: 1,
        })
        .collect();
    assert_eq!(got, wanted);
}

#[test]
fn gauges_say_what_was_written_down_and_what_the_bus_told() {
    let metrics = metrics(0);
    let counts = enter(&metrics, "s", 0);
    let at = SystemTime::now();
    assert!(counts.write(Doing {
        at,
        resting: false,
        breaker: Breaker::Open { until: at },
        in_flight: 3,
        limit: 64,
        unsettled: 7,
        retry_after: Some(at),
        held: Some(Held::Gone),
        last_error: None,
        next: None,
    }));
    {
        let mut health = counts.health.lock().unwrap();
        health.gone = true;
        health.backlog = Some(Backlog {
            count: 12,
            in_flight: 7,
            oldest: Some(at - Duration::from_secs(90)),
        });
    }
    for held in [Held::Paused, Held::InvalidSpec, Held::Gone] {
        assert!(HELD_BY.contains(&held.as_str()), "{held:?} is documented");
    }
    let lines = lines(&metrics, "s");
    let labels = r#"bus="ns/b",subscription_namespace="shop",subscription="s""#;
    for (metric, own, value) in [
        ("in_flight", "", 3),
        ("limit", "", 64),
        ("unsettled", "", 7),
        ("breaker", "", 2),
        ("held", r#",reason="RetryAfter""#, 1),
        ("held", r#",reason="Gone""#, 1),
        ("gone", "", 1),
        ("backlog", "", 12),
        ("oldest_seconds", "", 90),
    ] {
        let line = format!("busway_subscription_{metric}{{{labels}{own}}} {value}");
        assert!(lines.contains(&line), "no {line}\n{lines:#?}");
    }
}
