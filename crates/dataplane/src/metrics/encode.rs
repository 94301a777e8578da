mod subscriptions;

use std::{
    fmt,
    sync::{PoisonError, atomic::Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use super::{
    BUCKETS_MS, Counts, Definition, Kind, Metrics, OFFSETS, Scope, TABLE,
    table::{ATTEMPT_SECONDS, MEMORY, MEMORY_LIMIT},
};

impl Metrics {
    /// The metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &registry) {
            Ok(()) => text,
            // Writing to a String cannot fail.
            Err(fmt::Error) => String::new(),
        }
    }

    /// The sum of one series over shards and buses: for tests, and for a summary on a terminal.
    /// `labels` are all its labels in the table's order, without `bus`.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[&str]) -> u64 {
        let Some((row, definition)) = TABLE.iter().enumerate().find(|(_, d)| d.name == name) else {
            return 0;
        };
        let places = definition.labels.iter().zip(labels);
        let at = places.fold(0, |at, ((_, values), value)| {
            at * values.len() + values.iter().position(|v| v == value).unwrap_or(0)
        });
        let cell = OFFSETS.get(row).map_or(0, |offset| offset + at);
        let mut sum = 0u64;
        self.each(definition.scope, |_, counts| {
            sum = sum.wrapping_add(counts.read(cell));
        });
        sum
    }

    /// Calls `with` for the counts of each shard, and of each bus by name.
    fn each(&self, scope: Scope, mut with: impl FnMut(&str, &Counts)) {
        if scope == Scope::Process {
            for counts in &self.inner.process {
                with("", counts);
            }
            return;
        }
        let buses = self
            .inner
            .buses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for bus in buses.iter() {
            for counts in &bus.shards {
                with(&bus.name, counts);
            }
        }
    }
}

impl Counts {
    fn read(&self, cell: usize) -> u64 {
        self.cells
            .get(cell)
            .map_or(0, |cell| cell.load(Ordering::Relaxed))
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (definition, offset) in TABLE.iter().zip(OFFSETS) {
            let kind = match definition.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut metric =
                encoder.encode_descriptor(definition.name, definition.help, None, kind)?;
            for (bus, sums) in self.sums(definition, offset) {
                for (at, sum) in sums.into_iter().enumerate() {
                    let labels = labels(definition, bus.as_deref(), at);
                    series(&mut metric, definition.kind, &labels, sum)?;
                }
            }
        }
        self.encode_histogram(&mut encoder)?;
        self.encode_subscriptions(&mut encoder)?;
        for ((name, help), value) in [
            (MEMORY, self.inner.budget.used()),
            (MEMORY_LIMIT, self.inner.budget.limit()),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}

impl Metrics {
    fn sums(&self, definition: &Definition, offset: usize) -> Vec<(Option<String>, Vec<u64>)> {
        let mut sums: Vec<(Option<String>, Vec<u64>)> = Vec::new();
        if definition.scope == Scope::Process {
            sums.push((None, vec![0; definition.cells()]));
        }
        self.each(definition.scope, |bus, counts| {
            let bus = (definition.scope == Scope::Bus).then(|| bus.to_owned());
            if sums.last().map(|(name, _)| name) != Some(&bus) {
                sums.push((bus, vec![0; definition.cells()]));
            }
            if let Some((_, sum)) = sums.last_mut() {
                for (at, sum) in sum.iter_mut().enumerate() {
                    *sum = sum.wrapping_add(counts.read(offset + at));
                }
            }
        });
        sums
    }

    fn encode_histogram(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut buckets = [0u64; BUCKETS_MS.len() + 1];
        let mut micros = 0u64;
        self.each(Scope::Bus, |_, counts| {
            for (sum, bucket) in buckets.iter_mut().zip(&counts.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            micros += counts.micros.load(Ordering::Relaxed);
        });
        let bounds = BUCKETS_MS.iter().map(|ms| *ms as f64 / 1e3);
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(buckets).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let (name, help) = ATTEMPT_SECONDS;
        encoder
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(micros as f64 / 1e6, count, &buckets, None)
    }
}

/// The labels of the series at a place of a definition's cells.
fn labels<'a>(
    definition: &Definition,
    bus: Option<&'a str>,
    at: usize,
) -> Vec<(&'static str, &'a str)> {
    let bus = bus.map(|bus| ("bus", bus));
    let own = definition.labels_at(at);
    bus.into_iter()
        .chain(own.map(|(name, value)| (name, value as &str)))
        .collect()
}

fn series(
    metric: &mut MetricEncoder<'_>,
    kind: Kind,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    let mut series = metric.encode_family(labels)?;
    match kind {
        Kind::Counter => series.encode_counter::<NoLabelSet, _, u64>(&value, None),
        // Sums of what wrapped are small again; a moment between two shards may show a negative.
        Kind::Gauge => series.encode_gauge(&value.cast_signed()),
    }
}
