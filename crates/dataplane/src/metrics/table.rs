//! Every metric of the data plane, in one table.

use crate::{observer::Stage, problem::Problem};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// What a metric is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process.
    Process,
    /// Each bus: label `bus`.
    Bus,
    /// Each subscription that something happened to: labels `bus`, `subscription_namespace` and
    /// `subscription`. A series is there from its first event on, and goes with the Subscription.
    Subscription,
}

impl Scope {
    pub(super) const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Process => &[],
            Self::Bus => &["bus"],
            Self::Subscription => &["bus", "subscription_namespace", "subscription"],
        }
    }
}

/// One metric. Labels have fixed values, so that cardinality has a bound.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name; a counter is exposed with `_total` after it.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it is counted for.
    pub scope: Scope,
    /// Its labels and all their values.
    pub labels: &'static [(&'static str, &'static [&'static str])],
}

impl Definition {
    /// How many series it has per bus or process.
    pub(crate) const fn cells(&self) -> usize {
        let mut cells = 1;
        let mut rest = self.labels;
        while let [(_, values), tail @ ..] = rest {
            cells *= values.len();
            rest = tail;
        }
        cells
    }

    /// The labels of the series at a place of its cells.
    pub(crate) fn labels_at(
        &self,
        at: usize,
    ) -> impl Iterator<Item = (&'static str, &'static str)> {
        let mut stride = self.cells();
        self.labels.iter().filter_map(move |(name, values)| {
            stride /= values.len().max(1);
            let value = values.get(at / stride.max(1) % values.len().max(1))?;
            Some((*name, *value))
        })
    }
}

/// How an attempt ended, as a label.
pub(crate) const OUTCOMES: &[&str] = &[
    "2xx",
    "3xx",
    "4xx",
    "410",
    "429",
    "5xx",
    "DnsError",
    "ConnectError",
    "TlsError",
    "Timeout",
    "ConnectionReset",
    "EgressRefused",
];
const CAUSES: &[&str] = &[
    "Rejected",
    "RetriesExhausted",
    "Gone",
    "Expired",
    "Overflow",
    "HopLimit",
];
const SETTLED: &[&str] = &["Delivered", "DeadLettered", "Dropped", "Filtered"];
/// Why a filter could not tell.
const FILTER_ERRORS: &[&str] = &[
    "MissingAttributeError",
    "CastError",
    "MathError",
    "FunctionEvaluationError",
    "NotBoolean",
    "TooCostly",
];

macro_rules! families {
    ($(#[$doc:meta])* $table:ident of $family:ident; $($id:ident = $kind:ident $scope:ident $name:literal $help:literal [$($label:expr),*];)*) => {
        /// A row of its table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $family { $($id),* }

        $(#[$doc])*
        pub static $table: &[Definition] = &[$(Definition {
            name: $name, help: $help, kind: Kind::$kind, scope: Scope::$scope, labels: &[$($label),*],
        }),*];
    };
}

families! {
    /// Every metric of the process and its buses, but the histograms.
    TABLE of Family;
    Requests = Counter Process "busway_receiver_requests"
        "Requests that were refused, by the name of the problem in the answer; see also busway_receiver_messages" [("problem", Problem::NAMES)];
    Handshakes = Counter Process "busway_receiver_handshakes" "OPTIONS requests answered" [];
    Connections = Gauge Process "busway_receiver_connections" "Connections of senders that are open" [];
    ConnectionsOpened = Counter Process "busway_receiver_connections_opened" "Connections of senders that were accepted" [];
    ConnectionsRefused = Counter Process "busway_receiver_connections_refused" "Connections of senders that were closed at once, because limits.connections was reached" [];
    HeaderTimeouts = Counter Process "busway_receiver_header_timeouts" "Connections closed with 408, because the header came too slowly" [];
    Panics = Counter Process "busway_receiver_panics" "Requests whose handler panicked; each is a bug" [];
    Messages = Counter Bus "busway_receiver_messages" "Messages that a bus took; each event of a batch is one" [];
    Bytes = Counter Bus "busway_receiver_bytes" "Bytes of bodies that a bus took" [];
    Batches = Counter Bus "busway_receiver_batches" "Batches of CloudEvents that a bus took" [];
    Subscriptions = Gauge Bus "busway_dispatcher_subscriptions" "Subscriptions that this process consumes" [];
    Attempts = Counter Bus "busway_dispatcher_attempts" "Attempts, by what they were for and how they ended" [("stage", Stage::NAMES), ("outcome", OUTCOMES)];
    Retries = Counter Bus "busway_dispatcher_retries" "Waits for another attempt" [("stage", Stage::NAMES)];
    Returned = Counter Bus "busway_dispatcher_returned" "Waits so long that the bus keeps the message meanwhile" [];
    Reconnects = Counter Bus "busway_dispatcher_reconnects" "Requests repeated at once, because a kept connection turned out to be closed" [];
    Connects = Counter Bus "busway_dispatcher_connects" "Connections opened to subscribers, reply targets and sinks" [];
    InFlight = Gauge Bus "busway_dispatcher_in_flight" "Attempts that are being made" [("stage", Stage::NAMES)];
    Unsettled = Gauge Bus "busway_dispatcher_unsettled" "Messages taken from the bus and not settled" [];
    Lanes = Gauge Bus "busway_dispatcher_lanes" "Connections to subscribers, reply targets and sinks, the kept ones included" [];
    FilterErrors = Counter Bus "busway_dispatcher_filter_errors" "Messages that were filtered because a filter could not tell, by why" [("reason", FILTER_ERRORS)];
    Replies = Counter Bus "busway_dispatcher_replies" "Replies that were delivered" [];
    Settled = Counter Bus "busway_dispatcher_settled" "Messages that ended, by how" [("how", SETTLED)];
    DeadLetters = Counter Bus "busway_dispatcher_dead_letters" "Messages that are in a dead-letter sink or store, by cause" [("cause", CAUSES)];
    Dropped = Counter Bus "busway_dispatcher_dropped" "Messages that had to go to the dead letter and found neither sink nor store, by cause" [("cause", CAUSES)];
    BusErrors = Counter Bus "busway_dispatcher_bus_errors" "Failed calls of the bus by the dispatcher" [("call", BUS_CALLS)];
    LostOnShutdown = Counter Bus "busway_dispatcher_lost_on_shutdown" "Messages that a bus in memory still held when the grace period ended" [];
}

families! {
    /// Every counter of a subscription.
    SUBSCRIPTION_TABLE of Own;
    Attempts = Counter Subscription "busway_subscription_attempts" "Attempts, by what they were for and how they ended" [("stage", Stage::NAMES), ("outcome", OUTCOMES)];
    Retries = Counter Subscription "busway_subscription_retries" "Waits for another attempt" [("stage", Stage::NAMES)];
    Settled = Counter Subscription "busway_subscription_settled" "Messages that ended, by how" [("how", SETTLED)];
    DeadLetters = Counter Subscription "busway_subscription_dead_letters" "Messages that are in its dead-letter sink or store, by cause" [("cause", CAUSES)];
    Dropped = Counter Subscription "busway_subscription_dropped" "Messages that had to go to the dead letter and found neither sink nor store, by cause" [("cause", CAUSES)];
    FilterErrors = Counter Subscription "busway_subscription_filter_errors" "Messages that were filtered because a filter could not tell, by why" [("reason", FILTER_ERRORS)];
}

/// A gauge of a subscription: what is read of it at a scrape.
macro_rules! gauges {
    ($($id:ident = $name:literal $help:literal [$($label:literal: $values:expr)?];)*) => {
        /// A gauge of a subscription.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum OwnGauge { $($id),* }

        /// Every gauge of a subscription.
        pub(crate) const SUBSCRIPTION_GAUGES: &[(OwnGauge, Definition)] = &[$((OwnGauge::$id, Definition {
            name: $name, help: $help, kind: Kind::Gauge, scope: Scope::Subscription, labels: &[$(($label, $values))?],
        })),*];
    };
}

/// What holds a subscription, as a label.
pub(crate) const HELD_BY: &[&str] = &["RetryAfter", "Paused", "InvalidSpec", "Gone"];

gauges! {
    InFlight = "busway_subscription_in_flight" "Attempts at the subscriber that are being made" [];
    Limit = "busway_subscription_limit" "How many attempts at the subscriber may be made at once now: maxInFlight, or what auto found, or less while it recovers" [];
    Unsettled = "busway_subscription_unsettled" "Messages taken from the bus and not settled" [];
    Breaker = "busway_subscription_breaker" "The breaker: 0 closed, 1 half-open (an attempt is to show whether the subscriber is back), 2 open" [];
    Held = "busway_subscription_held" "1 while nothing is attempted, by why; without a series otherwise" ["reason": HELD_BY];
    Gone = "busway_subscription_gone" "1 since the subscriber answered 410, until it answers 2xx" [];
    Backlog = "busway_subscription_backlog" "Messages accepted and not settled, where the bus knows it; asked every 20 s" [];
    OldestSeconds = "busway_subscription_oldest_seconds" "How long ago the oldest of them was accepted" [];
}

/// The calls of the bus that are counted when they fail.
pub(crate) const BUS_CALLS: &[&str] = &["consume", "done", "retry_at", "extend", "dead_letter"];

/// The duration of attempts: name and help.
pub(crate) const ATTEMPT_SECONDS: (&str, &str) = (
    "busway_dispatcher_attempt_duration_seconds",
    "How long attempts took, connecting included",
);
/// The duration of one subscription's attempts: name and help.
pub(crate) const OWN_ATTEMPT_SECONDS: (&str, &str) = (
    "busway_subscription_attempt_duration_seconds",
    "How long attempts at the subscriber took, connecting included",
);
/// From acceptance to the end: name and help.
pub(crate) const OWN_SETTLE_SECONDS: (&str, &str) = (
    "busway_subscription_settle_duration_seconds",
    "From acceptance by the receiver to the end, retries, replies and dead-lettering included; without those that were filtered",
);
/// The value of label `subscription` of the histograms that subscriptions share. No Subscription is
/// named so: a name has no underscore.
pub(crate) const OTHERS: &str = "_other";
/// Bytes of messages that this process holds: name and help.
pub(crate) const MEMORY: (&str, &str) = (
    "busway_memory_bytes",
    "Bytes of messages that this process holds, against limits.memory",
);
/// The bound on them: name and help.
pub(crate) const MEMORY_LIMIT: (&str, &str) = ("busway_memory_limit_bytes", "limits.memory");

/// Upper bounds of the histogram's buckets, in milliseconds; the last one has none.
pub(crate) const BUCKETS_MS: [u64; 13] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000, 30_000,
];
