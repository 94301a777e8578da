//! Deleting, in every order.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    bed::{Bed, SOON, SYSTEM},
    objects::Objects,
    scenarios::shop::Shop,
    status::Object,
};

/// A deletion with everything up and running needs no bound to pass. Kubernetes deletes a namespace's pods first, and looks
/// at the rest after half of their grace period.
const GONE_WITHIN: Duration = Duration::from_secs(120);

pub(crate) async fn a_bus_waits_for_its_channels_however_it_is_deleted(bed: &Bed) -> Result<()> {
    for (namespace, cascade) in [
        ("bus-foreground", "foreground"),
        ("bus-background", "background"),
        ("bus-orphan", "orphan"),
    ] {
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
        shop.subscription().gone(bed, GONE_WITHIN).await?;
    }
    Ok(())
}

pub(crate) async fn a_namespace_goes_with_everything_in_it(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "whole", "").await?;
    shop.works("before").await?;
    bed.kubectl(&["delete", "namespace", shop.namespace, "--wait=false"])
        .await?;
    Object("namespace", "", shop.namespace)
        .gone(bed, GONE_WITHIN)
        .await
}

pub(crate) async fn channels_on_a_cluster_bus_go_with_their_namespace(bed: &Bed) -> Result<()> {
    bed.apply("{apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {name: shared}, spec: {memory: {}}}").await?;
    bed.mark("clusterbus/shared").await?;
    let bus = Object("clusterbus", "", "shared");
    for namespace in ["guest-one", "guest-two"] {
        bed.namespace(namespace).await?;
        bed.apply(&format!(
            "{{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {{name: orders, namespace: {namespace}}}, spec: {{clusterBus: shared}}}}"
        ))
        .await?;
        Object("channel", namespace, "orders").ready(bed).await?;
    }
    bus.ready(bed).await?;
    // Other teams' channels live on it: it waits for them, and serves them.
    bed.kubectl(&["delete", "clusterbus", "shared", "--wait=false"])
        .await?;
    let why = bus
        .until(bed, "DeletionBlocked", "True", "ChannelsRemain")
        .await?;
    println!("    {why}");
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
    Object("channel", "guest-two", "orders")
        .until(bed, "Serviceable", "True", "")
        .await?;
    bed.kubectl(&["delete", "namespace", "guest-two", "--wait=false"])
        .await?;
    Object("namespace", "", "guest-two")
        .gone(bed, GONE_WITHIN)
        .await?;
    bus.gone(bed, SOON).await
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
    bed.helm(&["uninstall", "busway", "-n", SYSTEM, "--wait"])
        .await?;
    let said = bed
        .busway(&["uninstall", "--yes", "--force", "--timeout=2m"])
        .await?;
    println!("    {}", said.trim().replace('\n', "\n    "));
    ensure!(said.contains("orders"), "it does not say what may be left");
    shop.channel().gone(bed, SOON).await?;
    bed.helm_install().await?;
    bed.install().await
}
