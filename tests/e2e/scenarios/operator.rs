//! The operator itself in trouble, and rules of the cluster that stop it.

use anyhow::{Context as _, Result, bail, ensure};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SOON, SYSTEM},
    node,
    scenarios::{lease::holder, shop::Shop},
    status::Object,
};

/// Buses that are being made when the operator dies.
const BUSES: usize = 5;

pub(crate) async fn one_killed_in_mid_reconcile_leaves_nothing_half_done(bed: &Bed) -> Result<()> {
    let before = until("an operator holds the Lease", SOON, || holder(bed)).await?;
    bed.namespace("mid-reconcile").await?;
    let buses: Vec<_> = (0..BUSES)
        .map(|number| {
            format!("{{apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {{name: bus-{number}, namespace: mid-reconcile}}, spec: {{memory: {{}}}}}}")
        })
        .collect();
    bed.apply(&buses.join("\n---\n")).await?;
    until("the first child is there", SOON, || async {
        let label = "app.kubernetes.io/managed-by=busway-operator";
        let found = bed
            .kubectl(&[
                "-n",
                "mid-reconcile",
                "get",
                "serviceaccounts,services",
                "-l",
                label,
                "-o",
                "name",
            ])
            .await?;
        ensure!(!found.is_empty(), "nothing yet");
        Ok(())
    })
    .await?;
    node::kill(&before)?;
    for number in 0..BUSES {
        Object("bus", "mid-reconcile", &format!("bus-{number}"))
            .ready(bed)
            .await?;
    }
    bed.rolled_out().await
}

pub(crate) async fn one_that_leaves_hands_the_lease_over(bed: &Bed) -> Result<()> {
    let before = until("an operator holds the Lease", SOON, || holder(bed)).await?;
    let started = tokio::time::Instant::now();
    bed.kubectl(&["-n", SYSTEM, "delete", "pod", &before, "--wait=false"])
        .await?;
    let after = until("another operator holds the Lease", SOON, || async {
        let now = holder(bed).await?;
        ensure!(now != before, "it is {now} still");
        Ok(now)
    })
    .await?;
    println!(
        "    {after} took over from {before} after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let shop = Shop::open(bed, "handed-over", "").await?;
    shop.works("after").await?;
    bed.rolled_out().await
}

pub(crate) async fn a_quota_that_refuses_the_pod_is_said(bed: &Bed) -> Result<()> {
    bed.namespace("quota").await?;
    bed.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: quota}, spec: {hard: {pods: '0'}}}\n---\n{apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {name: memory, namespace: quota}, spec: {memory: {}}}").await?;
    let bus = Object("bus", "quota", "memory");
    let why = until("Ready says that the quota is exceeded", SOON, || async {
        let said = bus.until(bed, "Ready", "False", "").await?;
        ensure!(said.contains("quota"), "it says {said}");
        Ok::<_, anyhow::Error>(said)
    })
    .await?;
    println!("    Ready says: {why}");
    bed.kubectl(&["-n", "quota", "delete", "resourcequota", "none"])
        .await?;
    // The ReplicaSet tries again after a pause that grew.
    bed.kubectl(&["-n", "quota", "delete", "replicasets", "--all"])
        .await?;
    bus.ready(bed).await
}

pub(crate) async fn a_drain_leaves_a_dispatcher_that_serves(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "drained", "replicas: 2").await?;
    shop.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment/memory-bus-dispatcher",
        "--timeout=60s",
    ])
    .await?;
    shop.works("warm").await?;
    let pods = shop.dispatchers().await?;
    let of = "jsonpath={.spec.nodeName}";
    let node = shop
        .kubectl(&[
            "get",
            "pod",
            pods.first().context("a dispatcher")?,
            "-o",
            of,
        ])
        .await?;
    let selector = "channels.busway.dev/owner-uid,app.kubernetes.io/component=dispatcher";
    let selector = format!("--pod-selector={selector}");
    let drained = bed
        .kubectl(&[
            "drain",
            &node,
            &selector,
            "--delete-emptydir-data",
            "--force",
            "--timeout=15s",
        ])
        .await;
    let left = shop.dispatchers().await;
    // The node is everybody's: it is open again before anything is judged.
    bed.kubectl(&["uncordon", &node]).await?;
    let Err(said) = drained else {
        bail!("both of two replicas were evicted from the only node, although a budget holds one");
    };
    ensure!(
        format!("{said:#}").contains("disruption budget"),
        "{said:#}"
    );
    ensure!(
        pods.iter()
            .any(|pod| left.as_ref().is_ok_and(|left| left.contains(pod))),
        "none of {pods:?} is left"
    );
    shop.works("drained").await?;
    shop.ready().await
}
