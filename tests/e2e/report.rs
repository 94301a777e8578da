//! What is printed of a cluster when a scenario failed.

use crate::bed::Bed;

/// Commands that show most of it. Logs are those of our pods and the scenarios'.
const LOOKS: &[&[&str]] = &[
    &["get", "pods,services,deployments", "-A", "-o", "wide"],
    &["get", "clusterbus,bus,channel,subscription", "-A"],
    &[
        "get",
        "clusterbus,bus,channel,subscription",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.deletionTimestamp} {.metadata.finalizers}\n{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}\n{end}{end}",
    ],
    &[
        "get",
        "events",
        "-A",
        "--sort-by=.lastTimestamp",
        "--no-headers",
    ],
];
/// Lines of each look, from its end.
const LINES: usize = 60;

pub(crate) async fn print(bed: &Bed) {
    for look in LOOKS {
        println!("    $ kubectl {}", look.join(" "));
        match bed.kubectl(look).await {
            Ok(text) => tail(&text),
            Err(error) => println!("      {error:#}"),
        }
    }
    let of = "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}\n{end}";
    let pods = bed
        .kubectl(&["get", "pods", "-A", "-o", of])
        .await
        .unwrap_or_default();
    for (namespace, pod) in pods.lines().filter_map(|line| line.split_once(' ')) {
        println!("    log of {namespace}/{pod}");
        let lines = format!("--tail={LINES}");
        let args = ["-n", namespace, "logs", pod, "--all-containers", &lines];
        match bed.kubectl(&args).await {
            Ok(text) => tail(&text),
            Err(error) => println!("      {error:#}"),
        }
    }
}

fn tail(text: &str) {
    let lines: Vec<_> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("      {line}");
    }
}
