//! One way of an upgrade, there or back, with messages flowing over kept-alive connections.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use busway_testkit::wait::until;
use serde_json::Value;

use super::Version;
use crate::{
    bed::{Bed, SYSTEM},
    pods::{Load, Sender},
    scenarios::shop::Shop,
};

/// Messages a second, of each sender.
const RATE: u32 = 200;
/// For how long they send: longer than operator and dispatchers take on two busy cores.
const SENT_FOR: Duration = Duration::from_secs(75);
/// Within what all dispatchers have to be replaced.
const ROLLED_WITHIN: Duration = Duration::from_secs(120);
/// The dispatchers' Deployments, and their pods.
const DISPATCHERS: &str =
    "app.kubernetes.io/managed-by=busway-operator,app.kubernetes.io/component=dispatcher";

/// Which way.
pub(super) enum Course<'a> {
    Upgrade(&'a Version),
    Rollback(&'a Version),
}

/// Goes there while each shop gets messages, and looks at what came of it.
pub(super) async fn roll(bed: &Bed, shops: &[&Shop<'_>], course: &Course<'_>) -> Result<()> {
    let (prefix, to) = match course {
        Course::Upgrade(to) => ("up", to),
        Course::Rollback(to) => ("back", to),
    };
    for shop in shops {
        shop.works(&format!("before-{prefix}")).await?;
    }
    let owned = identities(bed).await?;
    let scaled = replicas(bed).await?;
    let old = pods(bed).await?;

    let urls: Vec<_> = shops.iter().map(|shop| shop.url()).collect();
    let loads: Vec<_> = urls
        .iter()
        .map(|url| Load {
            url,
            prefix,
            count: u64::from(RATE) * SENT_FOR.as_secs(),
            rate: RATE,
            persist: Duration::ZERO,
        })
        .collect();
    let mut senders = Vec::new();
    for (shop, load) in shops.iter().zip(&loads) {
        senders.push(Sender::start(bed, shop.namespace, load).await?);
    }
    for shop in shops {
        shop.billing.wait_for(&[format!("{prefix}-200")]).await?;
    }

    let started = tokio::time::Instant::now();
    match course {
        Course::Upgrade(to) => to.upgrade(bed).await?,
        Course::Rollback(_) => {
            let back = ["rollback", "busway", "1", "-n", SYSTEM, "--wait"];
            bed.helm(&back).await?;
        }
    }
    let operator = started.elapsed().as_secs_f64();
    rolled(bed, &to.image).await?;
    let dispatchers = started.elapsed().as_secs_f64();
    println!(
        "    {prefix}: operator after {operator:.1} s, the last old dispatcher gone after {dispatchers:.1} s"
    );

    let mut seen = Vec::new();
    for shop in shops {
        let got = shop.billing.got().await?;
        let of_these = got.keys().filter(|body| body.starts_with(prefix));
        seen.push(of_these.count() as u64);
    }
    for (((shop, load), sender), seen) in shops.iter().zip(&loads).zip(senders).zip(seen) {
        let sent = sender.end().await?;
        println!(
            "    {prefix} {}: {} of {} accepted in {:.0} s, {} failed, the longest wait {} ms; {} delivered when it was done",
            shop.namespace,
            sent.accepted,
            load.count,
            sent.seconds,
            sent.failed.len(),
            sent.longest_ms,
            seen
        );
        ensure!(
            seen < load.count,
            "the messages were over before the dispatchers were replaced"
        );
        sent.went_well()?;
        shop.billing.wait_for(&load.bodies()).await?;
        shop.ready().await?;
    }
    for kind in ["bus", "clusterbus", "channel", "subscription"] {
        bed.kubectl(&[
            "wait",
            kind,
            "-A",
            "--all",
            "--for=condition=Ready",
            "--timeout=60s",
        ])
        .await?;
    }
    let (now, scaled_now) = (identities(bed).await?, replicas(bed).await?);
    ensure!(owned == now, "objects were {owned:?}, and are {now:?}");
    ensure!(
        scaled == scaled_now,
        "replicas were {scaled:?}, and are {scaled_now:?}"
    );
    let new: Vec<_> = pods(bed)
        .await?
        .into_iter()
        .filter(|pod| !old.iter().any(|old| old.name == pod.name))
        .collect();
    let turns = turns(&new);
    let said: Vec<_> = turns.iter().map(Turn::said).collect();
    println!("    {prefix}: {}", said.join(", then "));
    if let Course::Upgrade(_) = course {
        ensure!(turns.len() > 2, "fewer buses than there are: {new:?}");
        for pair in turns.windows(2) {
            let [first, then] = pair else { continue };
            ensure!(
                first.ready <= then.created,
                "{} was not done when {} began: {turns:?}",
                first.bus,
                then.bus
            );
        }
    }
    Ok(())
}

/// Waits until all dispatchers are of the image, as many as wanted, and no other pod is left.
pub(super) async fn rolled(bed: &Bed, image: &str) -> Result<()> {
    until(
        &format!("all dispatchers run {image}"),
        ROLLED_WITHIN,
        || async {
            let wanted: i64 = replicas(bed).await?.values().sum();
            let pods = pods(bed).await?;
            let ready = pods
                .iter()
                .filter(|pod| pod.image == image && pod.ready.is_some());
            ensure!(
                ready.count() as i64 == wanted && pods.len() as i64 == wanted,
                "{wanted} wanted, there are {pods:?}"
            );
            Ok(())
        },
    )
    .await
}

/// A dispatcher's pod. Times are the API server's, which are whole seconds.
#[derive(Debug)]
struct Pod {
    name: String,
    bus: String,
    image: String,
    created: String,
    ready: Option<String>,
}

async fn pods(bed: &Bed) -> Result<Vec<Pod>> {
    let listed = list(bed, &["pods", "-l", DISPATCHERS]).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pod = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|one| one["type"] == "Ready" && one["status"] == "True");
        let meta = &pod["metadata"];
        Pod {
            name: text(&meta["name"]),
            bus: format!(
                "{}/{}",
                text(&meta["namespace"]),
                text(&meta["labels"]["app.kubernetes.io/instance"])
            ),
            image: text(&pod["spec"]["containers"][0]["image"]),
            created: text(&meta["creationTimestamp"]),
            ready: ready.map(|ready| text(&ready["lastTransitionTime"])),
        }
    };
    Ok(listed.iter().map(pod).collect())
}

/// From a bus's first new pod to its last that became ready.
#[derive(Debug)]
struct Turn {
    created: String,
    ready: String,
    bus: String,
}

impl Turn {
    fn said(&self) -> String {
        let time = |stamp: &str| stamp.get(11..19).unwrap_or("never").to_owned();
        format!("{} {}-{}", self.bus, time(&self.created), time(&self.ready))
    }
}

/// In the order in which they began.
fn turns(new: &[Pod]) -> Vec<Turn> {
    let mut turns: BTreeMap<&str, Turn> = BTreeMap::new();
    for pod in new {
        let ready = pod.ready.clone().unwrap_or_default();
        let turn = turns.entry(&pod.bus).or_insert_with(|| Turn {
            created: pod.created.clone(),
            ready: ready.clone(),
            bus: pod.bus.clone(),
        });
        turn.created = turn.created.clone().min(pod.created.clone());
        turn.ready = turn.ready.clone().max(ready);
    }
    let mut turns: Vec<_> = turns.into_values().collect();
    turns.sort_by(|a, b| (&a.created, &a.ready).cmp(&(&b.created, &b.ready)));
    turns
}

/// The UIDs of all objects of ours.
async fn identities(bed: &Bed) -> Result<BTreeMap<String, String>> {
    let kinds = "bus,clusterbus,channel,subscription";
    let listed = list(bed, &[kinds]).await?;
    Ok(listed
        .iter()
        .map(|object| {
            let meta = &object["metadata"];
            let name = format!("{} {} {}", object["kind"], meta["namespace"], meta["name"]);
            (name, meta["uid"].to_string())
        })
        .collect())
}

/// How many pods each bus wants.
async fn replicas(bed: &Bed) -> Result<BTreeMap<String, i64>> {
    let listed = list(bed, &["deployments", "-l", DISPATCHERS]).await?;
    listed
        .iter()
        .map(|deployment| {
            let meta = &deployment["metadata"];
            let wanted = deployment["spec"]["replicas"].as_i64();
            Ok((
                format!("{} {}", meta["namespace"], meta["name"]),
                wanted.context("replicas")?,
            ))
        })
        .collect()
}

async fn list(bed: &Bed, what: &[&str]) -> Result<Vec<Value>> {
    let listed = bed
        .kubectl(&[&["get", "-A", "-o", "json"], what].concat())
        .await?;
    let listed: Value = serde_json::from_str(&listed)?;
    Ok(listed["items"].as_array().cloned().unwrap_or_default())
}
