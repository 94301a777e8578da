//! Several dispatchers of one bus: all serve, one writes, and Ready speaks for all.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use busway_testkit::wait::until;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    audit,
    bed::{Bed, SOON},
    metrics::{self, Metrics},
    node::Cut,
    pods::{Load, UNTIL_ROUTED, send},
    scenarios::shop::Shop,
    status::Object,
};

/// A watch whose connection did not outlive the cut is asked for anew after 45 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(75);

/// Waits until that many dispatchers are ready, and says which holds the bus's Lease and which do not.
async fn roles(shop: &Shop<'_>) -> Result<(String, Vec<String>)> {
    let rollout = ["rollout", "status", "deployment/memory-bus-dispatcher"];
    shop.kubectl(&[&rollout[..], &["--timeout=60s"]].concat())
        .await?;
    let pods = shop.dispatchers().await?;
    let lease = Object("lease", shop.namespace, "memory-bus");
    let holder = until("a dispatcher holds the bus's Lease", SOON, || async {
        let lease = lease.get(shop.bed).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        ensure!(pods.iter().any(|pod| pod == holder), "{holder:?} holds it");
        Ok(holder.to_owned())
    })
    .await?;
    let others = pods.into_iter().filter(|pod| *pod != holder).collect();
    Ok((holder, others))
}

/// Waits until a pod serves an object: for a memory bus its hook ran there.
async fn serves(shop: &Shop<'_>, pod: &str, object: &Object<'_>) -> Result<()> {
    let uid = object.get(shop.bed).await?["metadata"]["uid"].clone();
    let what = format!("{pod} serves {object:?}");
    until(&what, SOON, || async {
        let page = metrics::loaded(shop.bed, shop.namespace, pod).await?;
        let set = page["set"].as_array().cloned().unwrap_or_default();
        ensure!(set.iter().any(|one| one[0] == uid), "it serves {set:?}");
        Ok(())
    })
    .await
}

pub(crate) async fn of_a_memory_bus_each_serves_and_one_writes_the_status(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "two-replicas", "replicas: 2").await?;
    let (leader, others) = roles(&shop).await?;
    let pods: Vec<_> = std::iter::once(&leader).chain(&others).collect();
    ensure!(pods.len() == 2, "there are {pods:?}");
    for pod in &pods {
        serves(&shop, pod, &shop.channel()).await?;
        serves(&shop, pod, &shop.subscription()).await?;
    }
    // A connection is one replica's: new ones until each had one.
    let mut tries = 0..20;
    until("each replica took messages", SOON, || {
        let number = tries.next().unwrap_or_default();
        let (shop, pods) = (&shop, &pods);
        async move {
            shop.works(&format!("try{number}")).await?;
            for pod in pods {
                let metrics = Metrics::of(bed, shop.namespace, pod).await?;
                let taken = metrics.sum("busway_receiver_messages_total", "");
                ensure!(taken > 0.0, "{pod} took none");
            }
            Ok::<_, anyhow::Error>(())
        }
    })
    .await?;
    if let Some(log) = audit::log() {
        let statuses = audit::writes(&log, |write| {
            write.namespace == shop.namespace
                && write.resource.ends_with("/status")
                && pods.iter().any(|pod| **pod == write.pod)
        })?;
        ensure!(!statuses.is_empty(), "no dispatcher wrote a status");
        let by_others = statuses.iter().filter(|write| write.pod != leader).count();
        println!(
            "    {} status writes, {by_others} not by {leader}",
            statuses.len()
        );
        ensure!(by_others == 0, "two replicas wrote statuses");
    }
    Ok(())
}

pub(crate) async fn ready_waits_for_one_that_does_not_hear_the_api_server(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "deaf-replica", "replicas: 2").await?;
    let (_leader, others) = roles(&shop).await?;
    let deaf = others.first().context("another replica")?;
    let pod: Value = Object("pod", shop.namespace, deaf).get(bed).await?;
    let address = pod["status"]["podIP"].as_str().context("its address")?;
    let cut = Cut::of(address)?;
    bed.apply(
        "{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: returns, namespace: deaf-replica}, spec: {bus: memory}}\n\
         ---\n\
         {apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {name: returns, namespace: deaf-replica}, spec: {channel: returns, subscriber: billing}}",
    )
    .await?;
    let channel = Object("channel", shop.namespace, "returns");
    let why = channel
        .until(bed, "Routable", "False", "WaitingForReplicas")
        .await?;
    println!("    Routable says: {why}");
    ensure!(why.contains(deaf), "it does not name {deaf}");
    channel.until(bed, "Ready", "False", "").await?;
    // It serves what it knew all the same.
    shop.works("meanwhile").await?;
    drop(cut);
    let heard = Instant::now();
    until("the channel is Ready", NOTICED_WITHIN, || {
        channel.ready(bed)
    })
    .await?;
    println!(
        "    Ready {:.0} s after the connection was mended",
        heard.elapsed().as_secs_f64()
    );
    serves(&shop, deaf, &channel).await?;
    Object("subscription", shop.namespace, "returns")
        .ready(bed)
        .await?;
    let load = Load {
        url: "http://returns-channel.deaf-replica/",
        prefix: "r",
        count: 40,
        rate: 100,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, shop.namespace, &load).await?;
    ensure!(sent.accepted == load.count, "{:?}", sent.errors);
    shop.billing.wait_for(&load.bodies()).await.map(drop)
}
