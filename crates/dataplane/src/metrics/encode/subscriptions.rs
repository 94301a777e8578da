//! The series of subscriptions, one family after the other.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::super::{
    Metrics, SUBSCRIPTION_TABLE,
    subscription::{Distribution, Latencies, Latency, OWN_OFFSETS, SubscriptionCounts},
    table::{OTHERS, OWN_ATTEMPT_SECONDS, OWN_SETTLE_SECONDS, OwnGauge, SUBSCRIPTION_GAUGES},
};
use crate::doing::Held;

type Named = (Arc<str>, Arc<SubscriptionCounts>);

/// Bus, namespace and name; then the series' own.
fn labels(
    (bus, counts): &Named,
    own: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> Vec<(&'static str, &str)> {
    let mut labels = Vec::with_capacity(5);
    labels.extend([
        ("bus", &**bus),
        ("subscription_namespace", counts.name.namespace()),
        ("subscription", counts.name.name()),
    ]);
    labels.extend(own.into_iter().map(|(name, value)| (name, value as &str)));
    labels
}

impl Metrics {
    /// Nothing is held up meanwhile: the list is a copy, and each value is read by itself.
    pub(super) fn encode_subscriptions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.inner.subscriptions.all();
        for (definition, offset) in SUBSCRIPTION_TABLE.iter().zip(OWN_OFFSETS) {
            let mut metric = encoder.encode_descriptor(
                definition.name,
                definition.help,
                None,
                MetricType::Counter,
            )?;
            for named in &all {
                for at in 0..definition.cells() {
                    let value = named.1.read(offset + at);
                    if value > 0 {
                        let labels = labels(named, definition.labels_at(at));
                        let mut series = metric.encode_family(&labels)?;
                        series.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                    }
                }
            }
        }
        for (gauge, definition) in SUBSCRIPTION_GAUGES {
            let mut metric = encoder.encode_descriptor(
                definition.name,
                definition.help,
                None,
                MetricType::Gauge,
            )?;
            for named in &all {
                encode_gauge(&mut metric, *gauge, named)?;
            }
        }
        let shared = self.inner.subscriptions.shared();
        for ((name, help), of) in [
            (OWN_ATTEMPT_SECONDS, attempt as fn(&Latency) -> Distribution),
            (OWN_SETTLE_SECONDS, settle),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for named in &all {
                if let Latencies::Own(latency) = &named.1.latencies {
                    histogram(&mut metric, &labels(named, []), &of(latency))?;
                }
            }
            let mut sums: BTreeMap<&str, Distribution> = BTreeMap::new();
            for (bus, latency) in &shared {
                let more = of(latency);
                sums.entry(bus)
                    .and_modify(|sum| sum.add(&more))
                    .or_insert(more);
            }
            for (bus, sum) in sums {
                let labels = [
                    ("bus", bus),
                    ("subscription_namespace", ""),
                    ("subscription", OTHERS),
                ];
                histogram(&mut metric, &labels, &sum)?;
            }
        }
        Ok(())
    }
}

fn attempt(latency: &Latency) -> Distribution {
    latency.attempt.read()
}

fn settle(latency: &Latency) -> Distribution {
    latency.settle.read()
}

fn encode_gauge(metric: &mut MetricEncoder<'_>, gauge: OwnGauge, named: &Named) -> fmt::Result {
    let counts = &named.1;
    let (mut write, number) = (
        |value: i64, own: &[(&'static str, &'static str)]| {
            let labels = labels(named, own.iter().copied());
            metric.encode_family(&labels)?.encode_gauge(&value)
        },
        |value: usize| i64::try_from(value).unwrap_or(i64::MAX),
    );
    let doing = || counts.doing();
    match gauge {
        OwnGauge::InFlight => write(doing().map_or(0, |doing| doing.in_flight.into()), &[]),
        OwnGauge::Unsettled => write(doing().map_or(0, |doing| number(doing.unsettled)), &[]),
        OwnGauge::Breaker => write(doing().map_or(0, |doing| doing.breaker.level()), &[]),
        OwnGauge::Limit => match doing() {
            Some(doing) => write(doing.limit.into(), &[]),
            None => Ok(()),
        },
        OwnGauge::Held => {
            let Some(doing) = doing() else { return Ok(()) };
            let waits = doing.retry_after.map(|_| "RetryAfter");
            for reason in waits.into_iter().chain(doing.held.map(Held::as_str)) {
                write(1, &[("reason", reason)])?;
            }
            Ok(())
        }
        OwnGauge::Gone => write(counts.health(|health| health.gone).into(), &[]),
        OwnGauge::Backlog => match counts.health(|health| health.backlog) {
            Some(backlog) => write(i64::try_from(backlog.count).unwrap_or(i64::MAX), &[]),
            None => Ok(()),
        },
        OwnGauge::OldestSeconds => match counts.health(|health| health.backlog) {
            Some(backlog) => write(backlog.oldest.map_or(0, seconds), &[]),
            None => Ok(()),
        },
    }
}

fn seconds(since: SystemTime) -> i64 {
    let passed = since.elapsed().unwrap_or_default().as_secs();
    i64::try_from(passed).unwrap_or(i64::MAX)
}

fn histogram(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &str)],
    read: &Distribution,
) -> fmt::Result {
    let bounds = read.bounds.iter().map(|ms| *ms as f64 / 1e3);
    let buckets = bounds.chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = buckets.zip(read.buckets.iter().copied()).collect();
    let count = read.buckets.iter().sum();
    metric
        .encode_family(&labels)?
        .encode_histogram::<NoLabelSet>(read.micros as f64 / 1e6, count, &buckets, None)
}
