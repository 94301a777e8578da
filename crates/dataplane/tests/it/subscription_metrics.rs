//! What is counted for each subscription.

use std::{collections::BTreeSet, fmt};

use busway_dataplane::{Network, Settings, World, metrics::OWN_HISTOGRAMS};
use busway_testkit::{
    fakes::FakeBus,
    subscriber::{Answer, Subscriber},
    wait::until,
};

use super::harness::{DEADLINE, Harness, destination};

/// The lines of one subscription at a scrape.
struct Lines(Vec<String>);

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#?}", self.0)
    }
}

impl Lines {
    fn of(h: &Harness, name: &str) -> Self {
        let of = format!(r#"subscription="{name}""#);
        let text = h.dataplane.metrics().encode();
        let lines = text.lines().filter(|line| line.contains(&of));
        Self(lines.map(str::to_owned).collect())
    }

    /// The value of the series whose name and own labels these are.
    fn value(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let all = self.0.iter();
        let mut found = all.filter(|line| {
            line.starts_with(&format!("busway_subscription_{metric}{{"))
                && labels
                    .iter()
                    .all(|(name, value)| line.contains(&format!(r#",{name}="{value}""#)))
        });
        found.next()?.rsplit(' ').next()?.parse().ok()
    }

    fn has_histograms(&self) -> bool {
        self.0.iter().any(|line| line.contains("_bucket{"))
    }
}

/// Waits until a series of a subscription has a value.
async fn wait_for(h: &Harness, name: &str, metric: &str, labels: &[(&str, &str)], value: f64) {
    let what = format!("{metric} {labels:?} of {name} is {value}");
    until(&what, DEADLINE, || async {
        let lines = Lines::of(h, name);
        match lines.value(metric, labels) {
            Some(now) if (now - value).abs() < f64::EPSILON => Ok(()),
            _ => Err(lines),
        }
    })
    .await
    .unwrap();
}

async fn wait_gone(h: &Harness, name: &str) {
    until("its series are gone", DEADLINE, || async {
        let lines = Lines::of(h, name);
        if lines.0.is_empty() {
            Ok(())
        } else {
            Err(lines)
        }
    })
    .await
    .unwrap();
}

const TWO_XX: &[(&str, &str)] = &[("stage", "subscriber"), ("outcome", "2xx")];

#[tokio::test]
async fn series_appear_at_the_first_message_go_with_the_subscription_and_the_histograms_have_a_bound()
 {
    assert_eq!(Settings::default().own_histograms, OWN_HISTOGRAMS);
    let settings = Settings {
        own_histograms: 2,
        ..Settings::default()
    };
    let h = Harness::set(FakeBus::new(), World::new(Network::system()), settings);
    h.publish();
    let subscriber = Subscriber::start().await.unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        h.serve(h.route(name, &subscriber.url())).await;
        assert!(Lines::of(&h, name).0.is_empty(), "{}", Lines::of(&h, name));
    }
    h.send("first").await;
    for name in names {
        wait_for(&h, name, "settled_total", &[("how", "Delivered")], 1.0).await;
        let lines = Lines::of(&h, name);
        assert_eq!(lines.value("attempts_total", TWO_XX), Some(1.0), "{lines}");
        assert!(
            lines
                .0
                .iter()
                .all(|line| line
                    .contains(r#"bus="memory",subscription_namespace="shop",subscription="#)),
            "{lines}"
        );
        // A counter that is 0 has no series.
        assert_eq!(lines.value("retries_total", &[]), None, "{lines}");
        wait_for(&h, name, "limit", &[], 64.0).await;
        wait_for(&h, name, "unsettled", &[], 0.0).await;
    }
    let shares = |names: &[&str]| -> BTreeSet<String> {
        let shares = names
            .iter()
            .filter(|name| !Lines::of(&h, name).has_histograms());
        shares.map(|name| (*name).to_owned()).collect()
    };
    let others = shares(&names);
    assert_eq!(others.len(), 1, "{others:?}");
    for metric in ["attempt", "settle"] {
        let count = format!("{metric}_duration_seconds_count");
        wait_for(&h, "_other", &count, &[], 1.0).await;
    }

    // One that had its own goes; the next that comes has its place.
    let gone = names
        .into_iter()
        .find(|name| !others.contains(*name))
        .unwrap();
    h.delete(gone);
    wait_gone(&h, gone).await;
    let again = h.route(gone, &subscriber.url());
    h.serve(again).await;
    assert!(Lines::of(&h, gone).0.is_empty());
    h.send("second").await;
    wait_for(&h, gone, "settled_total", &[("how", "Delivered")], 1.0).await;
    assert_eq!(shares(&names), others);
    let other = others.first().unwrap();
    wait_for(&h, other, "settled_total", &[("how", "Delivered")], 2.0).await;
    wait_for(&h, "_other", "settle_duration_seconds_count", &[], 2.0).await;
}

#[tokio::test]
async fn each_subscription_has_its_own_attempts_retries_and_ends() {
    let h = Harness::start();
    let (good, sink) = (
        Subscriber::start().await.unwrap(),
        Subscriber::start().await.unwrap(),
    );
    let bad = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    h.serve(h.route("good", &good.url())).await;
    let mut failing = h.route("failing", &bad.url());
    failing.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(failing).await;
    h.send("x").await;
    wait_for(
        &h,
        "failing",
        "settled_total",
        &[("how", "DeadLettered")],
        1.0,
    )
    .await;
    let failing = Lines::of(&h, "failing");
    for (metric, labels, value) in [
        (
            "attempts_total",
            [("stage", "subscriber"), ("outcome", "5xx")],
            4.0,
        ),
        (
            "attempts_total",
            [("stage", "dead-letter"), ("outcome", "2xx")],
            1.0,
        ),
    ] {
        assert_eq!(failing.value(metric, &labels), Some(value), "{failing}");
    }
    for (metric, labels, value) in [
        ("retries_total", &[("stage", "subscriber")][..], 3.0),
        ("dead_letters_total", &[("cause", "RetriesExhausted")], 1.0),
        ("attempt_duration_seconds_count", &[], 4.0),
        ("settle_duration_seconds_count", &[], 1.0),
    ] {
        assert_eq!(failing.value(metric, labels), Some(value), "{failing}");
    }
    // Three waits of 5, 10 and 15 ms came before the end.
    let whole = failing.value("settle_duration_seconds_sum", &[]).unwrap();
    assert!(whole >= 0.03, "{failing}");
    let good = Lines::of(&h, "good");
    assert_eq!(good.value("attempts_total", TWO_XX), Some(1.0), "{good}");
    for metric in ["retries_total", "dead_letters_total", "dropped_total"] {
        assert_eq!(good.value(metric, &[]), None, "{good}");
    }
}
