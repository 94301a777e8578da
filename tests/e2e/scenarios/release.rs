//! The release itself: other values, and the old ones again.

use std::time::Duration;

use anyhow::{Result, ensure};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SOON, SYSTEM},
    pods::{Load, Sender},
    scenarios::shop::Shop,
    status::Object,
};

/// An argument of the operators that run, from their pods' environment.
async fn told(bed: &Bed, name: &str) -> Result<String> {
    let of =
        format!("jsonpath={{.spec.template.spec.containers[0].env[?(@.name=='{name}')].value}}");
    let deployment = ["get", "deployment", "busway-operator", "-o", &of];
    bed.kubectl(&[&["-n", SYSTEM], &deployment[..]].concat())
        .await
}

pub(crate) async fn other_values_and_a_rollback_touch_no_message(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "values", "").await?;
    shop.works("warm").await?;
    let before = told(bed, "BUSWAY_DELETION_BOUND").await?;
    let children = children(&shop).await?;
    let url = shop.url();
    let load = Load {
        url: &url,
        prefix: "m",
        count: 6000,
        rate: 200,
        persist: Duration::ZERO,
    };
    let sender = Sender::start(bed, shop.namespace, &load).await?;
    bed.upgrade(&["deletionBound=7m", "channelService=ExternalName"])
        .await?;
    ensure!(told(bed, "BUSWAY_DELETION_BOUND").await? == "7m");
    // The new operators work by the new values.
    let service = Object("service", shop.namespace, "orders-channel");
    until("the channel's Service is a name", SOON, || async {
        let kind = service.get(bed).await?["spec"]["type"].clone();
        ensure!(kind == "ExternalName", "it is a {kind}");
        Ok(())
    })
    .await?;
    bed.rollback().await?;
    ensure!(told(bed, "BUSWAY_DELETION_BOUND").await? == before);
    until("the channel's Service selects pods", SOON, || async {
        let kind = service.get(bed).await?["spec"]["type"].clone();
        ensure!(kind == "ClusterIP", "it is a {kind}");
        Ok(())
    })
    .await?;
    let sent = sender.end().await?;
    println!(
        "    {} of {} accepted, the longest wait {} ms",
        sent.accepted, load.count, sent.longest_ms
    );
    sent.went_well()?;
    shop.billing.wait_for(&load.bodies()).await?;
    ensure!(
        self::children(&shop).await? == children,
        "children were made anew"
    );
    shop.ready().await
}

/// What serves the bus, by UID: an operator that is exchanged makes nothing anew.
async fn children(shop: &Shop<'_>) -> Result<String> {
    let of = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid}\n{end}";
    let kinds = "bus,channel,subscription,deployment,serviceaccount,role,rolebinding,pod";
    let all = shop.kubectl(&["get", kinds, "-o", of]).await?;
    let ours = |line: &&str| !line.contains("sender-");
    Ok(all.lines().filter(ours).collect::<Vec<_>>().join("\n"))
}
