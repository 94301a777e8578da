//! A bus that is not ours: `examples/third-party-bus`, in containers of its own on a ClusterBus.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use busway_testkit::wait::until;

use crate::{
    bed::{Bed, SOON, SYSTEM},
    metrics::Metrics,
    pods::{Load, Sink, UNTIL_ROUTED, send},
    scenarios::shop::{channel_on, subscription_in},
    status::Object,
};

const BUS: Object<'_> = Object("clusterbus", "", "sqlite");

/// The spec of such a ClusterBus, in YAML's flow form; `volume` is the rest of a core/v1 Volume.
pub(super) fn spec(bed: &Bed, replicas: usize, volume: &str) -> String {
    let image = &bed.third_party;
    format!(
        "replicas: {replicas}, volumes: [{{name: data, {volume}}}], \
         dispatcher: {{name: dispatcher, image: '{image}', \
           env: [{{name: SQLITE_FILE, value: /data/bus.sqlite}}, {{name: RUST_LOG, value: 'info,busway_monitor=debug'}}], \
           volumeMounts: [{{name: data, mountPath: /data}}]}}"
    )
}

async fn open(bed: &Bed, replicas: usize, volume: &str) -> Result<()> {
    let spec = spec(bed, replicas, volume);
    bed.cluster_bus("sqlite", &spec).await
}

/// A subscriber, a channel on that bus and a subscription, all ready.
async fn shop<'a>(bed: &'a Bed, namespace: &str) -> Result<Sink<'a>> {
    bed.namespace(namespace).await?;
    let sink = Sink::start(bed, namespace, "billing").await?;
    bed.apply(&channel_on("sqlite", namespace)).await?;
    bed.apply(&subscription_in(namespace)).await?;
    BUS.ready(bed).await?;
    Object("channel", namespace, "orders").ready(bed).await?;
    Object("subscription", namespace, "billing")
        .ready(bed)
        .await?;
    Ok(sink)
}

async fn carried(bed: &Bed, sink: &Sink<'_>, namespace: &str, prefix: &str) -> Result<()> {
    let load = Load {
        url: &format!("http://orders-channel.{namespace}/"),
        prefix,
        count: 100,
        rate: 50,
        persist: UNTIL_ROUTED,
    };
    let sent = send(bed, namespace, &load).await?;
    ensure!(sent.accepted == load.count, "{:?}", sent.errors);
    sink.wait_for(&load.bodies()).await.map(drop)
}

pub(crate) async fn a_bus_of_somebody_elses_carries_messages(bed: &Bed) -> Result<()> {
    open(bed, 1, "emptyDir: {}").await?;
    let sink = shop(bed, "theirs").await?;
    carried(bed, &sink, "theirs", "m").await?;
    // Its engine is a file: a 202 outlives the process.
    BUS.until(bed, "Durable", "True", "").await.map(drop)
}

/// A folder of this machine that every pod may write to, and that goes with it.
struct Shared(PathBuf);

impl Shared {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("busway-e2e-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Ok(Self(folder))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _not_ours_any_more = fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn of_two_replicas_on_one_volume_one_provisions_and_both_serve(
    bed: &Bed,
) -> Result<()> {
    let shared = Shared::new()?;
    let path = shared.0.to_str().context("a path in UTF-8")?;
    let volume = format!("hostPath: {{path: '{path}', type: Directory}}");
    open(bed, 2, &volume).await?;
    let wait = ["-n", SYSTEM, "rollout", "status", "--timeout=60s"];
    let dispatcher = "deployment/sqlite-clusterbus-dispatcher";
    until("the dispatchers are there", SOON, || async {
        bed.kubectl(&[&wait[..], &[dispatcher]].concat()).await
    })
    .await?;
    let sink = shop(bed, "one-volume").await?;
    let pods = dispatchers(bed).await?;
    ensure!(pods.len() == 2, "there are {pods:?}");
    // A connection is one replica's: new ones until each had one.
    let mut tries = 0..10;
    until("each replica took messages", SOON, || {
        let prefix = format!("try{}", tries.next().unwrap_or_default());
        let (sink, pods) = (&sink, &pods);
        async move {
            carried(bed, sink, "one-volume", &prefix).await?;
            for pod in pods {
                let metrics = Metrics::of(bed, SYSTEM, pod).await?;
                let taken = metrics.sum("busway_receiver_messages_total", "");
                let delivered = metrics.sum("busway_dispatcher_settled_total", "Delivered");
                println!("    {pod} took {taken} and delivered {delivered}");
                ensure!(taken > 0.0, "{pod} took none");
            }
            Ok::<_, anyhow::Error>(())
        }
    })
    .await?;
    // Each says which hooks it ran.
    let lease = Object("lease", SYSTEM, "sqlite-clusterbus")
        .get(bed)
        .await?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    for pod in &pods {
        let log = bed.kubectl(&["-n", SYSTEM, "logs", pod]).await?;
        let ran = |action: &str| {
            let action = format!("\"action\":\"{action}\"");
            let hook = |line: &&str| line.contains("hook done") && line.contains(&action);
            log.lines().filter(hook).count()
        };
        let (provision, subscribe) = (ran("Provision"), ran("Subscribe"));
        println!("    {pod} ran provision {provision} and subscribe {subscribe} times");
        if pod == holder {
            ensure!(provision > 0 && subscribe > 0, "it provisioned nothing");
        } else {
            ensure!(
                provision + subscribe == 0,
                "it provisioned without the Lease"
            );
        }
    }
    // The folder goes when nobody has the file open.
    bed.kubectl(&["delete", "namespace", "one-volume"]).await?;
    bed.kubectl(&["delete", "clusterbus", "sqlite"]).await?;
    let what = "the dispatchers are gone";
    until(what, Duration::from_secs(90), || async {
        let left = dispatchers(bed).await?;
        ensure!(left.is_empty(), "there are {left:?}");
        Ok(())
    })
    .await
}

async fn dispatchers(bed: &Bed) -> Result<Vec<String>> {
    let label = "app.kubernetes.io/component=dispatcher,app.kubernetes.io/instance=sqlite";
    let of = "jsonpath={range .items[*]}{.metadata.name}\n{end}";
    let names = bed
        .kubectl(&["-n", SYSTEM, "get", "pods", "-l", label, "-o", of])
        .await?;
    Ok(names.lines().map(str::to_owned).collect())
}
