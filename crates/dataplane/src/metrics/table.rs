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
    ($($(#[doc = $doc:literal])* $id:ident = $kind:ident $scope:ident $name:literal $help:literal [$($label:expr),*];)*) => {
        /// A row of [`TABLE`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Family { $($id),* }

        /// Every metric but the histograms.
        pub static TABLE: &[Definition] = &[$(Definition {
            name: $name, help: $help, kind: Kind::$kind, scope: Scope::$scope, labels: &[$($label),*],
        }),*];
    };
}

families! {
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

/// The calls of the bus that are counted when they fail.
pub(crate) const BUS_CALLS: &[&str] = &["consume", "done", "retry_at", "extend", "dead_letter"];

/// The duration of attempts: name and help.
pub(crate) const ATTEMPT_SECONDS: (&str, &str) = (
    "busway_dispatcher_attempt_duration_seconds",
    "How long attempts took, connecting included",
);
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

/// The table as Markdown, as `docs/metrics.md` has it.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\nWhat a data plane exposes at `/metrics` on the admin port. Generated from the code by `make generate`;\n\
         labels have fixed values but for `bus`, which is the Bus (`namespace/name`) or ClusterBus (`name`).\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for row in TABLE {
        let (kind, suffix) = match row.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let mut labels: Vec<String> = Vec::new();
        if row.scope == Scope::Bus {
            labels.push("`bus`".to_owned());
        }
        labels.extend(
            row.labels
                .iter()
                .map(|(name, values)| format!("`{name}`: {}", values.join(", "))),
        );
        text.push_str(&format!(
            "| `{}{suffix}` | {kind} | {} | {} |\n",
            row.name,
            labels.join("; "),
            row.help
        ));
    }
    for ((name, help), kind) in [
        (ATTEMPT_SECONDS, "histogram"),
        (MEMORY, "gauge"),
        (MEMORY_LIMIT, "gauge"),
    ] {
        text.push_str(&format!("| `{name}` | {kind} |  | {help} |\n"));
    }
    text
}
