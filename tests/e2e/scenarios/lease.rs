//! Who works, of several operators: the one that holds the Lease, whatever somebody's hand writes into it.

use std::{cell::Cell, time::Duration};

use anyhow::{Context as _, Result, ensure};
use busway_testkit::wait::until;
use tokio::time::Instant;

use crate::{
    audit,
    bed::{Bed, SOON, SYSTEM},
    metrics::Metrics,
    scenarios::shop::Shop,
    status::Object,
};

/// A Lease's duration, and a holder that ends and is started again meanwhile.
const NEXT_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn holder(bed: &Bed) -> Result<String> {
    let lease = Object("lease", SYSTEM, "busway-operator").get(bed).await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "nobody holds the Lease");
    Ok(holder.to_owned())
}

/// The names of the operator's pods.
pub(crate) async fn operators(bed: &Bed) -> Result<Vec<String>> {
    let label = "app.kubernetes.io/component=operator";
    let of = "jsonpath={range .items[*]}{.metadata.name}\n{end}";
    let names = bed
        .kubectl(&["-n", SYSTEM, "get", "pods", "-l", label, "-o", of])
        .await?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// How often a pod's container was started again.
async fn restarts(bed: &Bed, pod: &str) -> Result<u64> {
    let of = "jsonpath={.status.containerStatuses[0].restartCount}";
    let count = bed
        .kubectl(&["-n", SYSTEM, "get", "pod", pod, "-o", of])
        .await?;
    Ok(count.parse()?)
}

/// Two replicas, and what is done to their Lease.
struct Fight<'a> {
    shop: &'a Shop<'a>,
    pods: Vec<String>,
    /// The most that said at one time that they lead.
    most: Cell<f64>,
}

impl Fight<'_> {
    /// Writes a holder into the Lease, and follows it until the one that lost it ended and the next one works.
    async fn hand_to(&self, name: &str, clock: &str) -> Result<()> {
        let bed = self.shop.bed;
        let loser = holder(bed).await?;
        let before = restarts(bed, &loser).await?;
        let lease = serde_json::json!({"spec": {
            "holderIdentity": name, "renewTime": clock, "acquireTime": clock, "leaseDurationSeconds": 15,
        }});
        let lease = lease.to_string();
        let (patch, started) = (["-n", SYSTEM, "patch", "lease"], Instant::now());
        let what = ["busway-operator", "--type=merge", "-p", &lease];
        bed.kubectl(&[&patch[..], &what].concat()).await?;
        until("the loser's process has ended", SOON, || async {
            self.look().await;
            let now = restarts(bed, &loser).await?;
            ensure!(now > before, "{loser} was started again {now} times");
            Ok(())
        })
        .await?;
        let said = bed
            .kubectl(&["-n", SYSTEM, "logs", "--previous", "--tail=5", &loser])
            .await?;
        ensure!(said.contains("Lease"), "its last words: {said}");
        let next = until("another one works", NEXT_WITHIN, || async {
            self.look().await;
            let now = holder(bed).await?;
            ensure!(self.pods.contains(&now), "{now} holds the Lease");
            ensure!(self.leads(&now).await? > 0.0, "{now} does not lead yet");
            Ok(now)
        })
        .await?;
        println!(
            "    given to {name} with the clock at {clock}: {loser} ended, {next} works after {:.0} s",
            started.elapsed().as_secs_f64()
        );
        self.put_back().await
    }

    async fn leads(&self, pod: &str) -> Result<f64> {
        let metrics = Metrics::of(self.shop.bed, SYSTEM, pod).await?;
        Ok(metrics.sum("busway_operator_leader", ""))
    }

    /// How many say that they lead; one that is being started again says nothing.
    async fn look(&self) {
        // Something to write, for whoever thinks that it leads.
        let delete = ["delete", "service", "memory-bus", "--ignore-not-found"];
        let _api_server_is_asked_again = self.shop.kubectl(&delete).await;
        let mut leads = 0.0;
        for pod in &self.pods {
            leads += self.leads(pod).await.unwrap_or(0.0);
        }
        self.most.set(self.most.get().max(leads));
    }

    async fn put_back(&self) -> Result<()> {
        let service = Object("service", self.shop.namespace, "memory-bus");
        until("the Service is back", SOON, || service.get(self.shop.bed)).await?;
        Ok(())
    }
}

pub(crate) async fn two_operators_that_fight_for_it_never_work_at_once(bed: &Bed) -> Result<()> {
    let pods = operators(bed).await?;
    ensure!(pods.len() == 2, "there are {pods:?}");
    let shop = Shop::open(bed, "fight", "").await?;
    let fight = Fight {
        shop: &shop,
        pods,
        most: Cell::new(0.0),
    };
    // A stranger whose clock is years ahead, and who never renews; then the replica that waits, which asked for nothing.
    fight
        .hand_to("a-stranger", "2099-01-01T00:00:00.000000Z")
        .await?;
    let first = holder(bed).await?;
    let other = fight.pods.iter().find(|pod| **pod != first);
    let other = other.context("a replica that waits")?;
    fight.hand_to(other, "2001-01-01T00:00:00.000000Z").await?;
    ensure!(fight.most.get() == 1.0, "{} led at once", fight.most.get());
    if let Some(log) = audit::log() {
        let writes = audit::writes(&log, |write| {
            fight.pods.contains(&write.pod) && write.namespace == shop.namespace
        })?;
        let turns: Vec<_> = writes
            .chunk_by(|a, b| a.pod == b.pod)
            .filter_map(|turn| Some((&turn.first()?.pod, turn.len())))
            .collect();
        println!("    writes in turns: {turns:?}");
        ensure!(turns.len() <= 3, "they wrote by turns: {turns:?}");
        ensure!(!turns.is_empty(), "nobody wrote anything");
    }
    shop.ready().await?;
    shop.works("after").await
}
