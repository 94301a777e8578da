//! Trouble with pods and names.

use anyhow::{Context as _, Result, bail, ensure};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SOON},
    node,
    pods::{Load, Sender},
    scenarios::shop::Shop,
    status::Object,
};

pub(crate) async fn a_dispatcher_killed_in_mid_stream_serves_again(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "killed", "").await?;
    let pods = shop.dispatchers().await?;
    let pod = pods.first().context("a dispatcher")?;
    let url = shop.url();
    let load = Load {
        url: &url,
        prefix: "m",
        count: 3000,
        rate: 200,
        persist: SOON,
    };
    let sender = Sender::start(bed, shop.namespace, &load).await?;
    shop.billing.wait_for(&["m-200".to_owned()]).await?;
    node::kill(pod)?;
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    until("its container was started again", SOON, || async {
        let count = shop.kubectl(&["get", "pod", pod, "-o", restarts]).await?;
        ensure!(count == "1", "restarts: {count}");
        Ok(())
    })
    .await?;
    let sent = sender.end().await?;
    ensure!(
        sent.accepted == load.count,
        "{} accepted, {:?}",
        sent.accepted,
        sent.errors
    );
    println!(
        "    {} sends failed and were accepted later, the longest wait {} ms: {:?}",
        sent.failed.len(),
        sent.longest_ms,
        sent.errors
    );
    // What was in memory when it died is lost, and the Bus says so; what was accepted by its successor is not.
    let last_failed = sent
        .failed
        .iter()
        .filter_map(|body| body.strip_prefix("m-")?.parse().ok())
        .max();
    let last_failed: u64 = last_failed.context("a kill that no send noticed")?;
    let after: Vec<_> = load
        .bodies()
        .into_iter()
        .skip(usize::try_from(last_failed)? + 1)
        .collect();
    ensure!(
        after.len() > 100,
        "only {} messages after it was back",
        after.len()
    );
    shop.billing.wait_for(&after).await?;
    let lost = load.count - shop.billing.got().await?.len() as u64;
    println!(
        "    {lost} of {} were in its memory and are lost",
        load.count
    );
    shop.bus()
        .until(bed, "Durable", "False", "InMemory")
        .await?;
    shop.ready().await
}

pub(crate) async fn an_image_that_does_not_exist_is_said_and_mended(bed: &Bed) -> Result<()> {
    bed.namespace("no-image").await?;
    let bus = Object("bus", "no-image", "memory");
    let with = |image: &str| {
        format!(
            "{{apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {{name: memory, namespace: no-image}}, spec: {{memory: {{}}, image: '{image}'}}}}"
        )
    };
    let (repository, _) = bed.image.rsplit_once(':').context("an image with a tag")?;
    bed.apply(&with(&format!("{repository}:there-is-no-such-image")))
        .await?;
    until("the status says why", SOON, || async {
        let status = bus.get(bed).await?["status"].clone();
        let said = status["conditions"].to_string();
        if said.contains("there-is-no-such-image") || said.contains("ImagePull") {
            return Ok(());
        }
        bail!("{said}")
    })
    .await?;
    let why = bus.until(bed, "Ready", "False", "").await?;
    println!("    Ready says: {why}");
    bed.apply(&with(&bed.image)).await?;
    bus.ready(bed).await
}

pub(crate) async fn a_service_that_is_someone_elses_is_left_alone(bed: &Bed) -> Result<()> {
    bed.namespace("clash").await?;
    bed.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: orders-channel, namespace: clash, labels: {theirs: 'yes'}}, spec: {selector: {app: theirs}, ports: [{port: 81}]}}\n\
         ---\n\
         {apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {name: memory, namespace: clash}, spec: {memory: {}}}\n\
         ---\n\
         {apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: orders, namespace: clash}, spec: {bus: memory}}\n",
    )
    .await?;
    let theirs = Object("service", "clash", "orders-channel");
    let before = theirs.get(bed).await?;
    let channel = Object("channel", "clash", "orders");
    Object("bus", "clash", "memory").ready(bed).await?;
    let why = channel.until(bed, "Accepted", "False", "NameClash").await?;
    println!("    Accepted says: {why}");
    ensure!(
        theirs.get(bed).await? == before,
        "their Service was touched"
    );
    bed.kubectl(&["-n", "clash", "delete", "service", "orders-channel"])
        .await?;
    channel.ready(bed).await?;
    theirs
        .get(bed)
        .await
        .context("the channel's own Service")
        .map(drop)
}
