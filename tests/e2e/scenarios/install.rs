//! From nothing to the first message, as docs/install.md has it.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, RELEASED, SYSTEM},
    node,
    pods::{Load, UNTIL_ROUTED, received, send},
    scenarios::shop::Shop,
    status::Object,
};

/// What a person may expect, from `helm install` to the message in both subscribers.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn a_message_reaches_two_subscribers_soon_after_helm_install(
    bed: &Bed,
) -> Result<()> {
    let started = tokio::time::Instant::now();
    bed.helm_install().await?;
    let examples = examples(&bed.image)?;
    bed.apply(&examples).await?;
    bed.mark("namespace/shop").await?;
    for name in ["billing", "warehouse"] {
        Object("subscription", "shop", name).ready(bed).await?;
    }
    println!(
        "    Ready {:.1} s after helm install",
        started.elapsed().as_secs_f64()
    );
    let load = Load {
        url: "http://orders-channel.shop",
        prefix: "order",
        count: 1,
        rate: 1,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, "shop", &load).await?;
    anyhow::ensure!(sent.accepted == 1, "not accepted: {:?}", sent.errors);
    let left = FIRST_MESSAGE_WITHIN.saturating_sub(started.elapsed());
    until("both subscribers got it", left, || async {
        for name in ["billing", "warehouse"] {
            let got = received(bed, "shop", name).await?;
            anyhow::ensure!(got.get("order-0") == Some(&1), "{name} got {got:?}");
        }
        Ok(())
    })
    .await?;
    println!(
        "    delivered {:.1} s after helm install",
        started.elapsed().as_secs_f64()
    );
    for (namespace, component) in [(SYSTEM, "operator"), ("shop", "dispatcher")] {
        let label = format!("app.kubernetes.io/component={component}");
        let of = "jsonpath={.items[0].metadata.name}";
        let pod = bed
            .kubectl(&["-n", namespace, "get", "pods", "-l", &label, "-o", of])
            .await?;
        match node::resident(&pod) {
            Ok(memory) => println!("    {component} at rest: {memory}"),
            Err(error) => println!("    {component}: {error:#}"),
        }
    }
    // Everything in it goes with its namespace, the bus too; then the chart.
    bed.sweep().await?;
    bed.uninstall().await
}

/// `examples/kubernetes`, with the image that this cluster has.
fn examples(image: &str) -> Result<String> {
    let folder = Bed::root().join("examples/kubernetes");
    let mut documents = Vec::new();
    for name in ["bus.yaml", "subscribers.yaml", "subscriptions.yaml"] {
        let path = folder.join(name);
        documents.push(fs::read_to_string(&path).with_context(|| path.display().to_string())?);
    }
    let all = documents.join("\n---\n");
    anyhow::ensure!(all.contains(RELEASED), "no {RELEASED} in the examples");
    Ok(all.replace(RELEASED, image))
}

pub(crate) async fn the_rendered_manifests_install_it_too(bed: &Bed) -> Result<()> {
    bed.apply_manifests().await?;
    let shop = Shop::open(bed, "by-manifests", "").await?;
    shop.works("m").await?;
    bed.sweep().await?;
    bed.uninstall().await
}

pub(crate) async fn helm_test_says_that_it_works(bed: &Bed) -> Result<()> {
    let test = ["test", "busway", "-n", SYSTEM, "--timeout=90s"];
    // One that fails leaves what it made, and keeps no later one from it: the bus waits for its channel.
    let chart = Bed::root().join("charts/busway");
    let chart = chart.to_string_lossy();
    let upgrade = ["upgrade", "busway", &chart, "-n", SYSTEM, "--reuse-values"];
    bed.helm(&[&upgrade[..], &["--set", "test.timeout=1ms"]].concat())
        .await?;
    for _ in 0..2 {
        let said = bed.helm(&test).await.err().context("it passed in 1 ms")?;
        let said = format!("{said:#}");
        anyhow::ensure!(said.contains("pod busway-test failed"), "{said}");
    }
    bed.helm(&["rollback", "busway", "-n", SYSTEM]).await?;
    bed.helm(&test).await?;
    let kinds = "buses,channels,subscriptions,pods,services";
    let label = "app.kubernetes.io/component=test";
    let left = ["get", kinds, "-n", SYSTEM, "-l", label, "-o", "name"];
    let left = bed.kubectl(&left).await?;
    anyhow::ensure!(left.trim().is_empty(), "left: {left}");
    Ok(())
}
