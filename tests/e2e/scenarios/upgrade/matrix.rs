//! Definitions, operator and dispatchers of two versions, in every combination.

use anyhow::{Result, ensure};
use busway_testkit::wait::until;

use super::Version;
use crate::{
    bed::{Bed, SOON},
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

/// Sets `spec.image`, and waits until all its pods are of it.
async fn pin(shop: &Shop<'_>, image: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"image":"{image}"}}}}"#);
    shop.kubectl(&["patch", "bus", "memory", "--type=merge", "-p", &patch])
        .await?;
    until(&format!("its dispatcher runs {image}"), SOON, || async {
        let mut images = Vec::new();
        for pod in shop.dispatchers().await? {
            let of = "jsonpath={.spec.containers[0].image}";
            images.push(shop.kubectl(&["get", "pod", &pod, "-o", of]).await?);
        }
        ensure!(images == [image], "there are {images:?}");
        Ok(())
    })
    .await
}

/// What was there is Ready; what is new becomes so, and messages on both arrive.
async fn works(shop: &Shop<'_>, number: usize, versions: [usize; 3]) -> Result<()> {
    let started = tokio::time::Instant::now();
    shop.ready().await?;
    shop.works(&format!("old-{number}")).await?;
    let (bed, namespace) = (shop.bed, shop.namespace);
    let name = format!("new-{number}");
    bed.apply(&format!(
        "{{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{bus: memory}}}}\n\
         ---\n\
         {{apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{channel: {name}, subscriber: billing}}}}\n"
    ))
    .await?;
    Object("channel", namespace, &name).ready(bed).await?;
    Object("subscription", namespace, &name).ready(bed).await?;
    let load = Load {
        url: &format!("http://{name}-channel.{namespace}/"),
        prefix: &name,
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
    shop.billing.wait_for(&load.bodies()).await?;
    shop.ready().await?;
    let [definitions, operator, dispatchers] = versions.map(|version| ["N-1", "N"][version]);
    println!(
        "    definitions {definitions}, operator {operator}, dispatchers {dispatchers}: delivered, Ready ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
