//! What the operator counts.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::stores::Queues;

/// Name, type and meaning of each; the names of counters carry no `_total`.
pub const TABLE: &[(&str, &str, &str)] = &[
    (
        "busway_operator_leader",
        "gauge",
        "1 while this process holds the operators' Lease",
    ),
    (
        "busway_operator_reconciles",
        "counter",
        "Reconciles that ended, by kind",
    ),
    (
        "busway_operator_reconcile_errors",
        "counter",
        "Reconciles that failed, by kind and reason",
    ),
    (
        "busway_operator_reconcile_duration_seconds",
        "histogram",
        "How long a reconcile took, by kind",
    ),
    (
        "busway_operator_queue_depth",
        "gauge",
        "Objects that wait to be looked at, by kind",
    ),
    (
        "busway_operator_status_writes",
        "counter",
        "Statuses that were written, by kind",
    ),
    (
        "busway_orphaned",
        "counter",
        "Objects whose finalizer was lifted without their hook, by kind: something may be left on the broker",
    ),
];

/// Buckets of a reconcile, in seconds: from one that writes nothing to one that waits for a slow API server.
const BUCKETS: [f64; 8] = [0.000_5, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindReason {
    kind: &'static str,
    reason: &'static str,
}

/// What the operator counts; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    leader: Gauge,
    reconciles: Family<Kind, Counter>,
    errors: Family<KindReason, Counter>,
    durations: Family<Kind, Histogram, fn() -> Histogram>,
    depth: Family<Kind, Gauge>,
    writes: Family<Kind, Counter>,
    orphaned: Family<Kind, Counter>,
    queues: Arc<Queues>,
}

impl Metrics {
    /// Of these queues, all at zero.
    pub(crate) fn new(queues: Arc<Queues>) -> Self {
        let metrics = Self {
            leader: Gauge::default(),
            reconciles: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            depth: Family::default(),
            writes: Family::default(),
            orphaned: Family::default(),
            queues,
        };
        // An alert on a rate needs the series before the first event.
        for kind in ["Channel", "Subscription"] {
            let _ = metrics.orphaned.get_or_create(&Kind { kind });
        }
        metrics
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn reconciled(&self, kind: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Kind { kind }).inc();
        let histogram = self.durations.get_or_create(&Kind { kind });
        histogram.observe(took.as_secs_f64());
    }

    pub(crate) fn failed(&self, kind: &'static str, reason: &'static str) {
        self.errors
            .get_or_create(&KindReason { kind, reason })
            .inc();
    }

    pub(crate) fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&Kind { kind }).inc();
    }

    /// A finalizer was lifted without its hook.
    pub(crate) fn orphaned(&self, kind: &'static str) {
        self.orphaned.get_or_create(&Kind { kind }).inc();
    }

    /// In the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        for (kind, depth) in [
            ("Bus", self.queues.buses.len()),
            ("ClusterBus", self.queues.cluster_buses.len()),
            ("Channel", self.queues.channels.len()),
            ("Subscription", self.queues.subscriptions.len()),
        ] {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            self.depth.get_or_create(&Kind { kind }).set(depth);
        }
        let mut registry = Registry::default();
        for (name, _, help) in TABLE {
            match *name {
                "busway_operator_leader" => registry.register(*name, *help, self.leader.clone()),
                "busway_operator_reconciles" => {
                    registry.register(*name, *help, self.reconciles.clone());
                }
                "busway_operator_reconcile_errors" => {
                    registry.register(*name, *help, self.errors.clone());
                }
                "busway_operator_reconcile_duration_seconds" => {
                    registry.register(*name, *help, self.durations.clone());
                }
                "busway_operator_queue_depth" => {
                    registry.register(*name, *help, self.depth.clone());
                }
                "busway_operator_status_writes" => {
                    registry.register(*name, *help, self.writes.clone());
                }
                _ => registry.register(*name, *help, self.orphaned.clone()),
            }
        }
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
