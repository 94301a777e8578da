//! A bus that is not ours: `examples/third-party-bus`, in a container of its own on a ClusterBus.

use anyhow::{Result, ensure};

use crate::{
    bed::Bed,
    pods::{Load, Sink, UNTIL_ROUTED, send},
    status::Object,
};

pub(crate) async fn a_bus_of_somebody_elses_carries_messages(bed: &Bed) -> Result<()> {
    let image = &bed.third_party;
    bed.apply(&format!(
        "apiVersion: channels.busway.dev/v1alpha1\n\
         kind: ClusterBus\n\
         metadata: {{name: sqlite}}\n\
         spec:\n  \
           replicas: 1\n  \
           dispatcher:\n    \
             name: dispatcher\n    \
             image: {image}\n    \
             env: [{{name: SQLITE_FILE, value: /data/bus.sqlite}}]\n    \
             volumeMounts: [{{name: data, mountPath: /data}}]\n  \
           volumes: [{{name: data, emptyDir: {{}}}}]\n"
    ))
    .await?;
    bed.mark("clusterbus/sqlite").await?;
    bed.namespace("theirs").await?;
    let sink = Sink::start(bed, "theirs", "billing").await?;
    bed.apply(
        "{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: orders, namespace: theirs}, spec: {clusterBus: sqlite}}\n\
         ---\n\
         {apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {name: billing, namespace: theirs}, spec: {channel: orders, subscriber: billing}}\n",
    )
    .await?;
    let bus = Object("clusterbus", "", "sqlite");
    bus.ready(bed).await?;
    Object("channel", "theirs", "orders").ready(bed).await?;
    Object("subscription", "theirs", "billing")
        .ready(bed)
        .await?;
    let load = Load {
        url: "http://orders-channel.theirs/",
        prefix: "m",
        count: 100,
        rate: 50,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, "theirs", &load).await?;
    ensure!(sent.accepted == load.count, "{:?}", sent.errors);
    sink.wait_for(&load.bodies()).await?;
    // Its engine is a file: a 202 outlives the process.
    bus.until(bed, "Durable", "True", "").await.map(drop)
}
