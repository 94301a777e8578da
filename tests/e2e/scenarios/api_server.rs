//! The API server away: messages do not need it.

use std::time::Duration;

use anyhow::{Result, ensure};
use busway_testkit::wait::until;
use tokio::time::Instant;

use crate::{
    bed::{Bed, SOON},
    node,
    pods::{Load, Sender, Sink},
    scenarios::{lease, shop::Shop},
    status::Object,
};

pub(crate) async fn one_that_is_killed_stops_no_message(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "no-api-server", "replicas: 2").await?;
    let later = Sink::start(bed, shop.namespace, "later").await?;
    shop.works("warm").await?;
    let url = shop.url();
    let load = Load {
        url: &url,
        prefix: "m",
        count: 4000,
        rate: 200,
        persist: Duration::ZERO,
    };
    let sender = Sender::start(bed, shop.namespace, &load).await?;
    shop.billing.wait_for(&["m-200".to_owned()]).await?;
    let killed = Instant::now();
    node::kill_daemon("kube-apiserver")?;
    until("the API server is away", SOON, || async {
        let asked = bed.kubectl(&["get", "--raw", "/readyz"]).await;
        ensure!(asked.is_err(), "it answers still");
        Ok(())
    })
    .await?;
    until("the API server is back", SOON, || {
        bed.kubectl(&["get", "--raw", "/readyz"])
    })
    .await?;
    let away = killed.elapsed().as_secs_f64();
    // An edit takes effect: what was watched is watched again.
    let edited = Instant::now();
    bed.apply("{apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {name: later, namespace: no-api-server}, spec: {channel: orders, subscriber: later}}")
        .await?;
    Object("subscription", shop.namespace, "later")
        .ready(bed)
        .await?;
    println!(
        "    away for {away:.1} s; an edit after it took {:.1} s",
        edited.elapsed().as_secs_f64()
    );
    let sent = sender.end().await?;
    println!("    the longest wait of a sender: {} ms", sent.longest_ms);
    sent.went_well()?;
    shop.billing.wait_for(&load.bodies()).await?;
    shop.works("after").await?;
    later.wait_for(&["after-0".to_owned()]).await?;
    until("an operator holds the Lease", SOON, || lease::holder(bed)).await?;
    shop.ready().await
}
