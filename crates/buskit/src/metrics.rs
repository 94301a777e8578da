//! Metrics of the process, beside those of its data plane.

use std::{fmt::Write as _, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use busway_core::BusRef;
use busway_monitor::Monitor;

/// One counter of a bus; the name carries no `_total`.
#[derive(Clone, Copy, Debug)]
pub struct BusCounter {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How many.
    pub value: u64,
}

/// Reads what a bus counts by itself.
pub type BusCounters = Arc<dyn Fn() -> Vec<BusCounter> + Send + Sync>;

/// Name, type and meaning of each; the names carry no `_total`.
pub const TABLE: &[(&str, &str, &str)] = &[
    (
        "busway_ready",
        "gauge",
        "1 while this process takes messages",
    ),
    (
        "busway_routes_age_seconds",
        "gauge",
        "How old the resources are that are served from the cache, while the API server has not been reached since the start",
    ),
    (
        "busway_status_writes_refused",
        "counter",
        "Status writes that the API server refused for good",
    ),
];

/// What they are now.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    ready: i64,
    routes_age: f64,
    refused: u64,
    buses: Vec<(String, Vec<BusCounter>)>,
}

impl ProcessMetrics {
    /// Of the buses of this process, each with its Monitor and what it counts by itself.
    pub(crate) fn of<'a>(
        buses: impl IntoIterator<Item = (&'a BusRef, &'a Monitor, Option<Vec<BusCounter>>)>,
        ready: bool,
    ) -> Self {
        let mut this = Self {
            ready: i64::from(ready),
            routes_age: 0.0,
            refused: 0,
            buses: Vec::new(),
        };
        for (bus, monitor, counters) in buses {
            let age = monitor.routes_age().unwrap_or_default().as_secs_f64();
            this.routes_age = this.routes_age.max(age);
            this.refused += monitor.refused_writes();
            this.buses
                .extend(counters.map(|counters| (bus.to_string(), counters)));
        }
        this
    }

    pub(crate) fn register(self, registry: &mut Registry) {
        registry.register_collector(Box::new(self));
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, _, help) in TABLE {
            match *name {
                "busway_ready" => gauge(&mut encoder, name, help, ConstGauge::new(self.ready))?,
                "busway_routes_age_seconds" => {
                    gauge(&mut encoder, name, help, ConstGauge::new(self.routes_age))?;
                }
                _ => {
                    let metric = ConstCounter::new(self.refused);
                    metric.encode(encoder.encode_descriptor(
                        name,
                        help,
                        None,
                        metric.metric_type(),
                    )?)?;
                }
            }
        }
        // One descriptor a name: the buses of a process that count by themselves are of one kind.
        let Some((_, first)) = self.buses.first() else {
            return Ok(());
        };
        for (at, counter) in first.iter().enumerate() {
            let mut metric =
                encoder.encode_descriptor(counter.name, counter.help, None, MetricType::Counter)?;
            for (bus, counters) in &self.buses {
                let value = counters.get(at).map_or(0, |counter| counter.value);
                let labels = [("bus", bus.as_str())];
                ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn gauge<N>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: ConstGauge<N>,
) -> Result<(), std::fmt::Error>
where
    ConstGauge<N>: prometheus_client::encoding::EncodeMetric,
{
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// The table as a page's section, with the counters of built-in buses.
#[must_use]
pub fn markdown(buses: &[BusCounter]) -> String {
    let mut text = String::from("| metric | type | meaning |\n|---|---|---|\n");
    for counter in buses {
        let _ = writeln!(
            text,
            "| `{}_total` (by `bus`) | counter | {} |",
            counter.name, counter.help
        );
    }
    for (name, kind, help) in TABLE {
        let suffix = if *kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "| `{name}{suffix}` | {kind} | {help} |");
    }
    text
}
