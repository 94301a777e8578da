//! Many objects on a cluster: a hundred Channels and a thousand Subscriptions, `SCALE` (1) times; ten is what
//! docs/benchmarks.md has.

use std::{collections::HashSet, env, time::Duration};

use anyhow::{Context as _, Result, ensure};
use busway_api::{
    Channel, Subscription,
    conditions::{ConditionType, Truth, find},
};
use busway_testkit::wait::until;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Config, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    audit,
    bed::{Bed, SOON, SYSTEM},
    metrics::Metrics,
    node,
    pods::Sink,
    scenarios::lease::holder,
    status::Object,
};

const NAMESPACE: &str = "scale";
/// Creates under way at a time: what several people's pipelines do together.
const AT_ONCE: usize = 16;
/// How long all of it may take, for each hundred Channels.
const WITHIN: Duration = Duration::from_secs(120);

fn scale() -> Result<u32> {
    let scale = env::var("SCALE").ok();
    scale.map_or(Ok(1), |scale| scale.parse().context("SCALE is a number"))
}

/// What a process used until now.
struct Used {
    cpu: f64,
    memory: String,
}

impl Used {
    fn by(pod: &str) -> Result<Self> {
        Ok(Self {
            cpu: node::cpu_seconds(pod)?,
            memory: node::resident(pod)?,
        })
    }
}

trait Conditions {
    fn conditions(&self) -> &[Condition];
}

impl Conditions for Channel {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Conditions for Subscription {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

pub(crate) async fn many_objects_are_ready_soon_and_written_to_seldom(bed: &Bed) -> Result<()> {
    let scale = scale()?;
    let (channels, subscriptions) = (100 * scale as usize, 1000 * scale as usize);
    let within = WITHIN * scale;
    bed.namespace(NAMESPACE).await?;
    let _sink = Sink::start(bed, NAMESPACE, "billing").await?;
    bed.cluster_bus("scale", "memory: {}").await?;
    Object("clusterbus", "", "scale").ready(bed).await?;
    let operator = until("an operator holds the Lease", SOON, || holder(bed)).await?;
    let label = "app.kubernetes.io/component=dispatcher,app.kubernetes.io/instance=scale";
    let of = "jsonpath={.items[0].metadata.name}";
    let dispatcher = bed
        .kubectl(&["-n", SYSTEM, "get", "pods", "-l", label, "-o", of])
        .await?;
    let processes = [("operator", &operator), ("dispatcher", &dispatcher)];
    let before: Vec<_> = processes
        .iter()
        .map(|(_, pod)| Used::by(pod))
        .collect::<Result<_>>()?;
    let written = status_writes(bed, &operator).await?;

    let client = Client::try_from(Config::infer().await?)?;
    let started = Instant::now();
    let made = async {
        let spec = |_| json!({"clusterBus": "scale"});
        create::<Channel>(&client, 'c', channels, spec).await?;
        let spec =
            |place| json!({"channel": format!("c{}", place % channels), "subscriber": "billing"});
        create::<Subscription>(&client, 's', subscriptions, spec).await?;
        Ok::<_, anyhow::Error>(started.elapsed())
    };
    let all = async {
        tokio::try_join!(
            made,
            ready::<Channel>(&client, channels),
            ready::<Subscription>(&client, subscriptions)
        )
    };
    let (made, (), ()) = timeout(within, all)
        .await
        .with_context(|| format!("not all are Ready after {within:?}"))??;
    let took = started.elapsed();
    println!(
        "    {channels} Channels and {subscriptions} Subscriptions on a ClusterBus of memory, one replica:"
    );
    println!(
        "    | created, {AT_ONCE} at a time | {:.1} s |",
        made.as_secs_f64()
    );
    println!(
        "    | all Ready after the last was created | {:.1} s |",
        took.saturating_sub(made).as_secs_f64()
    );
    let objects = (channels + subscriptions) as f64;
    let by_operator = status_writes(bed, &operator).await? - written;
    println!(
        "    | status writes of the operator an object | {:.2} |",
        by_operator / objects
    );
    if let Some(log) = audit::log() {
        let writes = audit::writes(&log, |write| {
            write.namespace == NAMESPACE && write.resource.ends_with("/status")
        })?;
        let by = |pod: &String| writes.iter().filter(|write| write.pod == *pod).count() as f64;
        println!(
            "    | status writes of the dispatcher an object | {:.2} |",
            by(&dispatcher) / objects
        );
        let all = (by(&operator) + by(&dispatcher)) / objects;
        ensure!(all <= 5.0, "{all:.1} status writes an object");
    }
    for ((name, pod), before) in processes.iter().zip(&before) {
        let now = Used::by(pod)?;
        println!(
            "    | CPU of the {name} | {:.1} s, {:.2} ms an object |",
            now.cpu - before.cpu,
            (now.cpu - before.cpu) * 1000.0 / objects
        );
        println!(
            "    | memory of the {name} | {} → {} |",
            before.memory, now.memory
        );
    }
    let started = Instant::now();
    let delete = DeleteParams::background();
    for_all::<Subscription>(&client)
        .delete_collection(&delete, &ListParams::default())
        .await?;
    for_all::<Channel>(&client)
        .delete_collection(&delete, &ListParams::default())
        .await?;
    until("all are gone", within, || async {
        let one = ListParams::default().limit(1);
        let left = for_all::<Subscription>(&client).list_metadata(&one).await?;
        ensure!(left.items.is_empty(), "there are Subscriptions");
        let left = for_all::<Channel>(&client).list_metadata(&one).await?;
        ensure!(left.items.is_empty(), "there are Channels");
        Ok(())
    })
    .await?;
    println!(
        "    | all gone after deletion | {:.1} s |",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn status_writes(bed: &Bed, operator: &str) -> Result<f64> {
    let metrics = Metrics::of(bed, SYSTEM, operator).await?;
    let of = |kind| metrics.sum("busway_operator_status_writes_total", kind);
    Ok(of("\"Channel\"") + of("\"Subscription\""))
}

fn for_all<K>(client: &Client) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create<K>(
    client: &Client,
    letter: char,
    count: usize,
    spec: impl Fn(usize) -> serde_json::Value,
) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api = for_all::<K>(client);
    let params = PostParams::default();
    stream::iter((0..count).map(|place| {
        json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": format!("{letter}{place}")}, "spec": spec(place),
        })
    }))
    .map(|one| async {
        let one: K = serde_json::from_value(one)?;
        api.create(&params, &one).await?;
        Ok::<_, anyhow::Error>(())
    })
    .buffer_unordered(AT_ONCE)
    .try_collect()
    .await
}

/// Waits until so many are Ready, as a watch tells.
async fn ready<K>(client: &Client, count: usize) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Conditions
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let mut names = HashSet::new();
    let events = watcher(for_all::<K>(client), watcher::Config::default());
    let mut events = std::pin::pin!(events);
    while names.len() < count {
        let event = events.next().await.context("a watch that goes on")?;
        if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event {
            let said = find(object.conditions(), ConditionType::Ready);
            if said.is_some_and(|said| Truth::of(said) == Truth::True) {
                names.insert(object.name_any());
            }
        }
    }
    Ok(())
}
