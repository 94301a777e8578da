//! Namespaces that a ClusterBus allows, and one that it no longer does.

use std::time::Duration;

use anyhow::{Result, ensure};
use busway_testkit::wait::until;
use tokio::time::Instant;

use crate::{
    bed::{Bed, SOON},
    pods::{Load, Sink, UNTIL_ROUTED, send},
    scenarios::shop::{channel_on, subscription_in},
    status::Object,
};

/// What the ClusterBus gives to who is no longer allowed: long enough to see that messages go on.
const GRACE: Duration = Duration::from_secs(15);

const fn load(prefix: &str, count: u64, persist: Duration) -> Load<'_> {
    Load {
        url: "http://orders-channel.stranger/",
        prefix,
        count,
        rate: 100,
        persist,
    }
}

/// Messages arrive.
async fn carried(bed: &Bed, billing: &Sink<'_>, prefix: &str) -> Result<()> {
    let load = load(prefix, 10, UNTIL_ROUTED);
    let sent = send(bed, "stranger", &load).await?;
    ensure!(sent.accepted == load.count, "{:?}", sent.errors);
    billing.wait_for(&load.bodies()).await.map(drop)
}

pub(crate) async fn a_namespace_that_is_not_is_refused_and_one_no_longer_has_its_grace(
    bed: &Bed,
) -> Result<()> {
    let grace = format!("revokeGrace: {}s", GRACE.as_secs());
    let allowed = "allowedNamespaces: {matchLabels: {invited: 'yes'}}";
    bed.cluster_bus("invited", &format!("memory: {{}}, {allowed}, {grace}"))
        .await?;
    bed.namespace("stranger").await?;
    let billing = Sink::start(bed, "stranger", "billing").await?;
    bed.apply(&channel_on("invited", "stranger")).await?;
    bed.apply(&subscription_in("stranger")).await?;
    let channel = Object("channel", "stranger", "orders");
    let why = channel
        .until(bed, "Accepted", "False", "NamespaceNotAllowed")
        .await?;
    println!("    Accepted says: {why}");
    let invite = ["label", "namespace", "stranger"];
    bed.kubectl(&[&invite[..], &["invited=yes"]].concat())
        .await?;
    channel.ready(bed).await?;
    Object("subscription", "stranger", "billing")
        .ready(bed)
        .await?;
    carried(bed, &billing, "invited").await?;
    // No longer invited: it says so, goes on, and ends when its time is over.
    let revoked = Instant::now();
    bed.kubectl(&[&invite[..], &["invited-"]].concat()).await?;
    let why = channel
        .until(bed, "Accepted", "False", "NamespaceNotAllowed")
        .await?;
    println!("    Accepted says: {why}");
    carried(bed, &billing, "grace").await?;
    let goes_on = revoked.elapsed();
    channel
        .until(bed, "Routable", "False", "NamespaceNotAllowed")
        .await?;
    println!(
        "    it took messages after {:.0} s, and none after {:.0} s",
        goes_on.as_secs_f64(),
        revoked.elapsed().as_secs_f64()
    );
    ensure!(
        revoked.elapsed() + Duration::from_secs(1) >= GRACE,
        "too soon"
    );
    let sent = send(bed, "stranger", &load("over", 1, Duration::ZERO)).await?;
    ensure!(sent.accepted == 0, "it was accepted all the same");
    let refused = |error: &String| error.contains("403");
    ensure!(sent.errors.keys().all(refused), "{:?}", sent.errors);
    // Invited again, it is as it was.
    bed.kubectl(&[&invite[..], &["invited=yes"]].concat())
        .await?;
    until("the channel is Ready", SOON, || channel.ready(bed)).await?;
    carried(bed, &billing, "again").await
}
