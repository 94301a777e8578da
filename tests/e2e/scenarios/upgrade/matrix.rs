//! Definitions, operator and dispatchers of two versions, in every combination.

use anyhow::{Result, ensure};

use super::{Version, roll::rolled};
use crate::{
    bed::Bed,
    pods::{Load, UNTIL_ROUTED, send},
    scenarios::shop::Shop,
    status::Object,
};

/// What is exchanged to come from one combination to the next.
#[derive(Clone, Copy)]
enum Part {
    Definitions,
    Operator,
    Dispatchers,
}

use Part::{Definitions, Dispatchers, Operator};

/// Whom the ClusterBus takes in, which it remembers in its status where the definitions have a place for it.
const ALLOWED: &str =
    "allowedNamespaces: {matchLabels: {kubernetes.io/metadata.name: combinations}}";

/// Through all eight from the version before: each step exchanges one part.
const STEPS: [Part; 7] = [
    Dispatchers,
    Operator,
    Dispatchers,
    Definitions,
    Dispatchers,
    Operator,
    Dispatchers,
];

pub(crate) async fn definitions_operator_and_dispatchers_work_in_every_combination_of_two_versions(
    bed: &Bed,
) -> Result<()> {
    let versions = [Version::before()?, Version::this(bed)];
    let [before, _] = &versions;
    // As docs/upgrade.md has it for definitions that are managed elsewhere.
    before.define(bed).await?;
    before
        .install(bed, &["--set", "crds.install=false"])
        .await?;
    let image = format!("image: '{}'", before.image);
    let shop = Shop::open(bed, "combinations", &image).await?;
    bed.apply(&format!(
        "{{apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {{name: combinations}}, spec: {{memory: {{}}, {image}, {ALLOWED}}}}}"
    ))
    .await?;
    bed.mark("clusterbus/combinations").await?;
    // Of each part: whether it is this version's.
    let (mut definitions, mut operator, mut dispatchers) = (0, 0, 0);
    works(&shop, 0, [definitions, operator, dispatchers]).await?;
    for (number, part) in (1..).zip(STEPS) {
        match part {
            Definitions => {
                definitions = 1 - definitions;
                versions[definitions].define(bed).await?;
            }
            Operator => {
                operator = 1 - operator;
                versions[operator].upgrade(bed).await?;
            }
            Dispatchers => {
                dispatchers = 1 - dispatchers;
                pin(&shop, &versions[dispatchers].image).await?;
            }
        }
        works(&shop, number, [definitions, operator, dispatchers]).await?;
    }
    bed.sweep().await?;
    bed.uninstall().await
}

/// Sets `spec.image`, and waits until all dispatchers are of it.
async fn pin(shop: &Shop<'_>, image: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"image":"{image}"}}}}"#);
    for bus in ["bus/memory", "clusterbus/combinations"] {
        shop.kubectl(&["patch", bus, "--type=merge", "-p", &patch])
            .await?;
    }
    rolled(shop.bed, image).await
}

/// What was there is Ready; what is new becomes so, and messages arrive on all of it.
async fn works(shop: &Shop<'_>, number: usize, versions: [usize; 3]) -> Result<()> {
    let started = tokio::time::Instant::now();
    let cluster_bus = Object("clusterbus", "", "combinations");
    shop.ready().await?;
    cluster_bus.ready(shop.bed).await?;
    shop.works(&format!("old-{number}")).await?;
    carries(shop, &format!("new-{number}"), "bus: memory").await?;
    carries(shop, &format!("wide-{number}"), "clusterBus: combinations").await?;
    shop.ready().await?;
    cluster_bus.ready(shop.bed).await?;
    let [definitions, operator, dispatchers] = versions.map(|version| ["N-1", "N"][version]);
    println!(
        "    definitions {definitions}, operator {operator}, dispatchers {dispatchers}: delivered, Ready ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// A new channel on a bus becomes Ready, and its subscription delivers.
async fn carries(shop: &Shop<'_>, name: &str, bus: &str) -> Result<()> {
    let (bed, namespace) = (shop.bed, shop.namespace);
    bed.apply(&format!(
        "{{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{bus}}}}}\n\
         ---\n\
         {{apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{channel: {name}, subscriber: billing}}}}\n"
    ))
    .await?;
    Object("channel", namespace, name).ready(bed).await?;
    Object("subscription", namespace, name).ready(bed).await?;
    let load = Load {
        url: &format!("http://{name}-channel.{namespace}/"),
        prefix: name,
        count: 10,
        rate: 100,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, namespace, &load).await?;
    ensure!(
        sent.accepted == load.count,
        "sends failed: {:?}",
        sent.errors
    );
    shop.billing.wait_for(&load.bodies()).await.map(drop)
}
