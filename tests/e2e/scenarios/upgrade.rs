//! From the version before to this one and back, as docs/upgrade.md has it, with messages flowing; and versions side by side.

mod matrix;
mod roll;
mod version;

use anyhow::Result;

use crate::{bed::Bed, scenarios::shop::Shop, status::Object};

pub(crate) use matrix::definitions_operator_and_dispatchers_work_in_every_combination_of_two_versions;
use roll::{Course, roll};
use version::Version;

/// Objects beside the shops: a ClusterBus whose Deployment an autoscaler has, and a Bus that is scaled as such.
const UNSET: &str = "\
    {apiVersion: channels.busway.dev/v1alpha1, kind: ClusterBus, metadata: {name: upgraded}, spec: {memory: {}}}\n\
    ---\n\
    {apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {name: scaled, namespace: upgrade-one}, spec: {memory: {}}}\n\
    ---\n\
    {apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: returns, namespace: upgrade-one}, spec: {clusterBus: upgraded}}\n";

pub(crate) async fn from_the_version_before_and_back_fails_no_send_and_loses_no_object(
    bed: &Bed,
) -> Result<()> {
    let (before, this) = (Version::before()?, Version::this(bed));
    before.install(bed, &[]).await?;
    let one = Shop::open(bed, "upgrade-one", "replicas: 1").await?;
    let two = Shop::open(bed, "upgrade-two", "replicas: 2").await?;
    bed.apply(UNSET).await?;
    bed.mark("clusterbus/upgraded").await?;
    Object("channel", "upgrade-one", "returns")
        .ready(bed)
        .await?;
    one.kubectl(&["scale", "bus/scaled", "--replicas=2"])
        .await?;
    bed.kubectl(&[
        "-n",
        crate::bed::SYSTEM,
        "scale",
        "deployment/upgraded-clusterbus-dispatcher",
        "--replicas=2",
    ])
    .await?;
    let shops = [&one, &two];
    roll(bed, &shops, &Course::Upgrade(&this)).await?;
    roll(bed, &shops, &Course::Rollback(&before)).await?;
    bed.sweep().await?;
    bed.uninstall().await
}
