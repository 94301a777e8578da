//! `kubectl rollout restart` of a dispatcher while messages flow over kept-alive connections.

use std::time::Duration;

use anyhow::{Result, ensure};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SOON},
    pods::{Load, Sender},
    scenarios::shop::Shop,
};

pub(crate) async fn a_restart_of_one_replica_fails_no_send(bed: &Bed) -> Result<()> {
    restart(&Shop::open(bed, "rollout-one", "replicas: 1").await?).await
}

pub(crate) async fn a_restart_of_two_replicas_fails_no_send(bed: &Bed) -> Result<()> {
    restart(&Shop::open(bed, "rollout-two", "replicas: 2").await?).await
}

async fn restart(shop: &Shop<'_>) -> Result<()> {
    shop.works("warm").await?;
    let before = shop.dispatchers().await?;
    let url = shop.url();
    let load = Load {
        url: &url,
        prefix: "m",
        // Longer than a restart takes on a busy machine.
        count: 7000,
        rate: 200,
        persist: Duration::ZERO,
    };
    let sender = Sender::start(shop.bed, shop.namespace, &load).await?;
    shop.billing.wait_for(&["m-200".to_owned()]).await?;
    shop.kubectl(&["rollout", "restart", "deployment/memory-bus-dispatcher"])
        .await?;
    shop.kubectl(&[
        "rollout",
        "status",
        "deployment/memory-bus-dispatcher",
        "--timeout=60s",
    ])
    .await?;
    until("the old pods are gone", SOON, || async {
        let now = shop.dispatchers().await?;
        ensure!(
            !before.iter().any(|old| now.contains(old)),
            "there are {now:?}"
        );
        Ok(())
    })
    .await?;
    let seen = shop.billing.got().await?.len();
    let sent = sender.end().await?;
    println!(
        "    {} of {} accepted in {:.0} s, the longest wait {} ms; {seen} were there when the last old pod was gone",
        sent.accepted, load.count, sent.seconds, sent.longest_ms
    );
    ensure!(
        (seen as u64) < load.count,
        "the messages were over before the restart was"
    );
    sent.went_well()?;
    shop.billing.wait_for(&load.bodies()).await?;
    shop.ready().await
}
