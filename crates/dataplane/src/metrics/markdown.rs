//! The tables as a page.

use super::{
    MOST_OWN_HISTOGRAMS, OWN_HISTOGRAMS, TABLE,
    table::{
        ATTEMPT_SECONDS, Definition, Kind, MEMORY, MEMORY_LIMIT, OTHERS, OWN_ATTEMPT_SECONDS,
        OWN_SETTLE_SECONDS, SUBSCRIPTION_GAUGES, SUBSCRIPTION_TABLE,
    },
};

const HEAD: &str = "| name | type | labels | meaning |\n|---|---|---|---|\n";

/// The tables as Markdown, as `docs/metrics.md` has them.
#[must_use]
pub fn markdown() -> String {
    let mut text = format!(
        "# Metrics\n\nWhat a data plane exposes at `/metrics` on the admin port. Generated from the code by `make generate`;\n\
         labels have fixed values but for `bus`, which is the Bus (`namespace/name`) or ClusterBus (`name`), and those that name a subscription.\n\n{HEAD}"
    );
    TABLE
        .iter()
        .for_each(|definition| row(&mut text, definition));
    for ((name, help), kind) in [
        (ATTEMPT_SECONDS, "histogram"),
        (MEMORY, "gauge"),
        (MEMORY_LIMIT, "gauge"),
    ] {
        text.push_str(&format!("| `{name}` | {kind} |  | {help} |\n"));
    }
    text.push_str(&format!(
        "\n## Each subscription\n\n\
         `subscription_namespace` and `subscription` are the Subscription (a label `namespace` would be taken for the pod's). Its series are there from\n\
         its first message on, and end when it is no longer served: deleted, or moved to another bus. A counter that is 0 has no series. Gauges are read\n\
         once a second while anything happens. With several replicas each tells what it does itself; `busway_subscription_backlog` is the bus's own word\n\
         where the bus is shared.\n\n\
         The first {OWN_HISTOGRAMS} subscriptions of a process have histograms of their own. Those that come when so many have one share `subscription=\"{OTHERS}\"`\n\
         (`subscription_namespace=\"\"`), one for each bus, for as long as they are served; all their other series are their own. How many: from 0 to\n\
         {MOST_OWN_HISTOGRAMS}, by `metrics.ownHistograms` of the chart, or `--own-histograms` of a dispatcher without an operator. The histograms of one are 32\n\
         series, the rest of a busy one some 20. `metrics.serviceMonitor.sampleLimit` has Prometheus refuse a scrape with more.\n\n{HEAD}"
    ));
    let gauges = SUBSCRIPTION_GAUGES.iter().map(|(_, gauge)| gauge);
    let all = SUBSCRIPTION_TABLE.iter().chain(gauges);
    all.for_each(|definition| row(&mut text, definition));
    for (name, help) in [OWN_ATTEMPT_SECONDS, OWN_SETTLE_SECONDS] {
        text.push_str(&format!(
            "| `{name}` | histogram | `bus`; `subscription_namespace`; `subscription` | {help} |\n"
        ));
    }
    text
}

fn row(text: &mut String, row: &Definition) {
    let (kind, suffix) = match row.kind {
        Kind::Counter => ("counter", "_total"),
        Kind::Gauge => ("gauge", ""),
    };
    let scope = row.scope.labels().iter().map(|label| format!("`{label}`"));
    let own = row.labels.iter();
    let own = own.map(|(name, values)| format!("`{name}`: {}", values.join(", ")));
    let labels: Vec<_> = scope.chain(own).collect();
    text.push_str(&format!(
        "| `{}{suffix}` | {kind} | {} | {} |\n",
        row.name,
        labels.join("; "),
        row.help
    ));
}
