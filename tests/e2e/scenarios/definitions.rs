//! The definitions are deleted first, with objects of theirs in use.

use anyhow::Result;
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SYSTEM},
    scenarios::{deletion::GONE_WITHIN, shop::Shop},
    status::Object,
};

const OURS: &str = "app.kubernetes.io/name=busway";

pub(crate) async fn deleted_with_objects_they_take_them_along_and_come_back(
    bed: &Bed,
) -> Result<()> {
    let shop = Shop::open(bed, "undefined", "").await?;
    bed.cluster_bus("undefined", "memory: {}").await?;
    shop.works("before").await?;
    bed.kubectl(&["delete", "crd", "-l", OURS, "--wait=false"])
        .await?;
    until("the definitions are gone", GONE_WITHIN, || async {
        let left = bed
            .kubectl(&["get", "crd", "-l", OURS, "-o", "name"])
            .await?;
        anyhow::ensure!(left.is_empty(), "there are {left:?}");
        Ok(())
    })
    .await?;
    // What served them went with them, not before, and nothing of it stays.
    for (namespace, bus) in [
        (shop.namespace, "memory-bus"),
        (SYSTEM, "undefined-clusterbus"),
    ] {
        Object("service", namespace, bus)
            .gone(bed, GONE_WITHIN)
            .await?;
        let dispatcher = format!("{bus}-dispatcher");
        Object("deployment", namespace, &dispatcher)
            .gone(bed, GONE_WITHIN)
            .await?;
    }
    // With the definitions the same operators go on.
    bed.upgrade(&["crds.install=true"]).await?;
    bed.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd",
        "-l",
        OURS,
        "--timeout=60s",
    ])
    .await?;
    shop.fill("").await?;
    shop.ready().await?;
    shop.works("again").await
}
