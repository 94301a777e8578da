//! Deletions whose hook cannot run: they end at the operator's bound, and what may be left is said.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use busway_testkit::wait::until;
use tokio::time::Instant;

use crate::{
    bed::{Bed, SOON, SYSTEM},
    metrics::Metrics,
    scenarios::{
        deletion::GONE_WITHIN,
        lease::{holder, operators},
        shop::{channel_on, subscription_in},
        third_party,
    },
    status::Object,
};

/// Long enough for the condition to be read, and not longer.
const BOUND: Duration = Duration::from_secs(20);

pub(crate) async fn a_hook_that_cannot_run_is_waited_for_until_the_bound(bed: &Bed) -> Result<()> {
    bed.upgrade(&[&format!("deletionBound={}s", BOUND.as_secs())])
        .await?;
    let outcome = bounded(bed).await;
    bed.rollback().await?;
    outcome
}

async fn bounded(bed: &Bed) -> Result<()> {
    // A bus of memory keeps nothing that a hook would have to remove.
    let spec = third_party::spec(bed, 1, "emptyDir: {}");
    bed.cluster_bus("mute", &spec).await?;
    let bus = Object("clusterbus", "", "mute");
    for namespace in ["stays", "ends"] {
        bed.namespace(namespace).await?;
        bed.apply(&channel_on("mute", namespace)).await?;
        bed.apply(&subscription_in(namespace)).await?;
        // Nobody sends anything: a name is enough of a subscriber.
        bed.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: billing, namespace: {namespace}}}, spec: {{ports: [{{port: 80}}]}}}}"
        ))
        .await?;
        Object("channel", namespace, "orders").ready(bed).await?;
        Object("subscription", namespace, "billing")
            .ready(bed)
            .await?;
    }
    // Nobody is left to run a hook.
    let nobody = r#"{"spec":{"replicas":0}}"#;
    bed.kubectl(&["patch", "clusterbus", "mute", "--type=merge", "-p", nobody])
        .await?;
    bus.until(bed, "Dispatching", "False", "").await?;
    bus.until(bed, "Serviceable", "False", "").await?;
    until("the last dispatcher is gone", SOON, || async {
        // One that leaves runs hooks still.
        let label = "app.kubernetes.io/component=dispatcher,app.kubernetes.io/instance=mute";
        let pods = ["get", "pods", "-l", label, "-o", "name"];
        let left = bed.kubectl(&[&["-n", SYSTEM], &pods[..]].concat()).await?;
        ensure!(left.is_empty(), "there is {left}");
        Ok(())
    })
    .await?;
    let before = orphaned(bed).await?;
    let started = Instant::now();
    let delete = ["-n", "stays", "delete", "--wait=false"];
    bed.kubectl(&[&delete[..], &["channel/orders", "subscription/billing"]].concat())
        .await?;
    bed.kubectl(&["delete", "namespace", "ends", "--wait=false"])
        .await?;
    let channel = Object("channel", "stays", "orders");
    let why = channel
        .until(bed, "Accepted", "False", "ChannelDeleted")
        .await?;
    println!("    Accepted says: {why}");
    ensure!(
        why.contains("let go without that at"),
        "it does not say until when"
    );
    let subscription = Object("subscription", "stays", "billing");
    let why = subscription
        .until(bed, "Accepted", "False", "SubscriptionDeleted")
        .await?;
    println!("    Accepted says: {why}");
    channel.gone(bed, GONE_WITHIN).await?;
    subscription.gone(bed, GONE_WITHIN).await?;
    let took = started.elapsed();
    println!("    gone after {:.0} s", took.as_secs_f64());
    // The API server's stamp is of whole seconds.
    ensure!(took + Duration::from_secs(1) >= BOUND, "that was too soon");
    Object("namespace", "", "ends")
        .gone(bed, GONE_WITHIN)
        .await?;
    let counted = orphaned(bed).await? - before;
    ensure!(counted == 4.0, "busway_orphaned_total counted {counted}");
    for (kind, name, of) in [
        ("ClusterBus", "mute", "Channel stays/orders"),
        ("ClusterBus", "mute", "Subscription stays/billing"),
        ("Namespace", "ends", "Channel ends/orders"),
        ("Namespace", "ends", "Subscription ends/billing"),
    ] {
        event(bed, kind, name, of).await?;
    }
    Ok(())
}

/// What all operators counted.
async fn orphaned(bed: &Bed) -> Result<f64> {
    until("an operator holds the Lease", SOON, || holder(bed)).await?;
    let mut sum = 0.0;
    for pod in operators(bed).await? {
        sum += Metrics::of(bed, SYSTEM, &pod)
            .await?
            .sum("busway_orphaned_total", "");
    }
    Ok(sum)
}

/// Waits for the Event about an object without a namespace that names what was let go.
async fn event(bed: &Bed, kind: &str, name: &str, names: &str) -> Result<()> {
    let what = format!("an Event regarding {kind} {name} names {names}");
    let selector =
        format!("--field-selector=involvedObject.kind={kind},involvedObject.name={name}");
    let of = "jsonpath={range .items[*]}{.reason}: {.message}\n{end}";
    let said = until(&what, SOON, || async {
        let all = bed
            .kubectl(&["-n", "default", "get", "events", &selector, "-o", of])
            .await?;
        let found = all.lines().find(|line| line.contains(names));
        found
            .map(str::to_owned)
            .with_context(|| format!("there are {all:?}"))
    })
    .await?;
    println!("    Event of {kind} {name}: {said}");
    Ok(())
}
