//! Deleting, in every order.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    bed::{Bed, SOON, SYSTEM},
    objects::Objects,
    pods::{Load, Sink, UNTIL_ROUTED, send},
    scenarios::{
        shop::{Shop, channel_on, subscription_in},
        third_party,
    },
    status::Object,
};

/// A deletion with everything up and running needs no bound to pass. Kubernetes deletes a namespace's pods first, and looks
/// at the rest after half of their grace period.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn a_bus_waits_for_its_channels_however_it_is_deleted(bed: &Bed) -> Result<()> {
    // Each in a namespace of its own.
    tokio::try_join!(
        waits(bed, "bus-foreground", "foreground"),
        waits(bed, "bus-background", "background"),
        waits(bed, "bus-orphan", "orphan"),
    )
    .map(drop)
}

async fn waits(bed: &Bed, namespace: &'static str, cascade: &str) -> Result<()> {
    let shop = Shop::open(bed, namespace, "").await?;
    let how = format!("--cascade={cascade}");
    shop.kubectl(&["delete", "bus", "memory", &how, "--wait=false"])
        .await?;
    let why = shop
        .bus()
        .until(bed, "DeletionBlocked", "True", "ChannelsRemain")
        .await?;
    println!("    {cascade}: {why}");
    ensure!(why.contains("orders"), "it does not name the channel");
    shop.works("still").await?;
    shop.kubectl(&["delete", "channel", "orders", "--wait=false"])
        .await?;
    shop.channel().gone(bed, GONE_WITHIN).await?;
    shop.bus().gone(bed, GONE_WITHIN).await?;
    Object("deployment", namespace, "memory-bus-dispatcher")
        .gone(bed, GONE_WITHIN)
        .await?;
    // Its channel is gone, and the subscription may be deleted all the same.
    shop.kubectl(&["delete", "subscription", "billing", "--wait=false"])
        .await?;
    shop.subscription().gone(bed, GONE_WITHIN).await
}

pub(crate) async fn a_namespace_goes_with_everything_in_it(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "whole", "").await?;
    bed.cluster_bus("outside", "memory: {}").await?;
    bed.apply("{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: returns, namespace: whole}, spec: {clusterBus: outside}}")
        .await?;
    Object("channel", shop.namespace, "returns")
        .ready(bed)
        .await?;
    shop.works("before").await?;
    bed.kubectl(&["delete", "namespace", shop.namespace, "--wait=false"])
        .await?;
    Object("namespace", "", shop.namespace)
        .gone(bed, GONE_WITHIN)
        .await
}

pub(crate) async fn a_cluster_bus_waits_for_other_teams_channels_and_carries_them(
    bed: &Bed,
) -> Result<()> {
    bed.cluster_bus("shared", "memory: {}").await?;
    let bus = Object("clusterbus", "", "shared");
    for namespace in ["guest-one", "guest-two"] {
        bed.namespace(namespace).await?;
        bed.apply(&channel_on("shared", namespace)).await?;
    }
    bed.apply(&subscription_in("guest-two")).await?;
    let billing = Sink::start(bed, "guest-two", "billing").await?;
    for namespace in ["guest-one", "guest-two"] {
        Object("channel", namespace, "orders").ready(bed).await?;
    }
    Object("subscription", "guest-two", "billing")
        .ready(bed)
        .await?;
    bus.ready(bed).await?;
    // It waits for them, and carries them.
    bed.kubectl(&["delete", "clusterbus", "shared", "--wait=false"])
        .await?;
    let why = bus
        .until(bed, "DeletionBlocked", "True", "ChannelsRemain")
        .await?;
    println!("    {why}");
    ensure!(
        why.contains("guest-one/orders") && why.contains("guest-two/orders"),
        "it does not name them"
    );
    carried(bed, &billing, "still").await?;
    bed.kubectl(&["delete", "namespace", "guest-one", "--wait=false"])
        .await?;
    Object("namespace", "", "guest-one")
        .gone(bed, GONE_WITHIN)
        .await?;
    let why = bus
        .until(bed, "DeletionBlocked", "True", "ChannelsRemain")
        .await?;
    ensure!(
        why.contains("guest-two") && !why.contains("guest-one"),
        "{why}"
    );
    carried(bed, &billing, "yet").await?;
    bed.kubectl(&["delete", "namespace", "guest-two", "--wait=false"])
        .await?;
    Object("namespace", "", "guest-two")
        .gone(bed, GONE_WITHIN)
        .await?;
    bus.gone(bed, SOON).await
}

/// Messages to Channel `orders` of `guest-two` arrive.
async fn carried(bed: &Bed, billing: &Sink<'_>, prefix: &str) -> Result<()> {
    let load = Load {
        url: "http://orders-channel.guest-two/",
        prefix,
        count: 10,
        rate: 100,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, "guest-two", &load).await?;
    ensure!(sent.accepted == load.count, "{:?}", sent.errors);
    billing.wait_for(&load.bodies()).await.map(drop)
}

pub(crate) async fn nothing_is_left_after_uninstall(bed: &Bed) -> Result<()> {
    // The chart was there when the scenario began, and has to be there at its end.
    bed.uninstall().await?;
    let clean = Objects::of(bed).await?;
    bed.install().await?;
    let shop = Shop::open(bed, "to-uninstall", "").await?;
    let said = bed.busway(&["uninstall", "--yes", "--timeout=2m"]).await?;
    println!("    {}", said.trim().replace('\n', "\n    "));
    shop.bus().gone(bed, SOON).await?;
    shop.channel().gone(bed, SOON).await?;
    bed.helm_uninstall().await?;
    bed.sweep().await?;
    Objects::until_equal(bed, &clean).await?;

    // Without an operator: finalizers are lifted, and what may be left is said.
    bed.install().await?;
    let shop = Shop::open(bed, "forced", "").await?;
    let spec = third_party::spec(bed, 1, "emptyDir: {}");
    bed.cluster_bus("left", &spec).await?;
    bed.apply("{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: kept, namespace: forced}, spec: {clusterBus: left}}")
        .await?;
    let kept = Object("channel", shop.namespace, "kept");
    kept.ready(bed).await?;
    bed.helm(&["uninstall", "busway", "-n", SYSTEM, "--wait"])
        .await?;
    // Nobody puts a dispatcher back, and nobody is left to run this one's hooks.
    let delete = ["-n", SYSTEM, "delete"];
    let dispatcher = ["deployment", "left-clusterbus-dispatcher"];
    bed.kubectl(&[&delete[..], &dispatcher].concat()).await?;
    let label = "app.kubernetes.io/instance=left";
    bed.kubectl(&[&delete[..], &["pods", "-l", label, "--grace-period=1"]].concat())
        .await?;
    let said = bed
        .busway(&["uninstall", "--yes", "--force", "--timeout=2m"])
        .await?;
    println!("    {}", said.trim().replace('\n', "\n    "));
    ensure!(
        said.contains("forced/kept"),
        "it does not say what may be left"
    );
    shop.channel().gone(bed, SOON).await?;
    kept.gone(bed, SOON).await?;
    // What it says of the rest is what helps.
    let commands = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("kubectl "));
    for command in commands.flat_map(|line| line.split(" && kubectl ")) {
        let args: Vec<_> = command.split(' ').collect();
        bed.kubectl(&args).await?;
    }
    bed.helm_install().await?;
    bed.rolled_out().await
}
