//! Many objects at once: a thousand Channels, and `SCALE` (1) thousand Subscriptions.

use busway::operator::args::{ChannelService, Scope};
use busway_api::{Channel, Subscription};
use busway_testkit::{control::ControlPlane, wait};
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client, Config, Resource,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Running, answers, bus, prepared, settings};

const CHANNELS: usize = 1_000;

/// Ten thousand take a minute of both cores of a small machine: `SCALE=10`, for who wants to see it.
fn subscriptions() -> usize {
    let scale = std::env::var("SCALE").ok();
    1_000 * scale.map_or(1, |scale| scale.parse().expect("SCALE is a number"))
}

#[tokio::test]
async fn a_thousand_channels_and_their_subscriptions_are_written_to_once_each() {
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    let namespace = control.namespace("scale").await.unwrap();
    control
        .apply_yaml(&bus("ClusterBus", "main", ""))
        .await
        .unwrap();
    let settings = settings(ChannelService::Auto, Scope::All);
    let operator = Running::start(&control, settings.clone(), "scale").await;
    answers(&control, "main", true).await;
    says_serviceable(&control).await;
    let client = client(&control).await;
    let channels = (0..CHANNELS).map(|place| {
        json!({ "metadata": { "name": format!("c{place}") }, "spec": { "clusterBus": "main" } })
    });
    create::<Channel>(&client, namespace.name(), channels).await;
    let many = subscriptions();
    let subscriptions = (0..many).map(|place| {
        let on = format!("c{}", place % CHANNELS);
        json!({ "metadata": { "name": format!("s{place}") }, "spec": { "channel": on, "subscriber": "sink" } })
    });
    create::<Subscription>(&client, namespace.name(), subscriptions).await;
    let begun = std::time::Instant::now();
    let expected = [("Channel", CHANNELS), ("Subscription", many)];
    wait::until("all are written to", DEADLINE * 5, || async {
        let text = operator.metrics.text();
        let written = |kind: &str, many: usize| {
            let line = format!("busway_operator_status_writes_total{{kind=\"{kind}\"}} {many}");
            text.lines().any(|found| found == line)
        };
        if expected.iter().all(|(kind, many)| written(kind, *many)) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await
    .unwrap();
    println!("written {:?} after the last was made", begun.elapsed());
    println!("{}", operator.metrics.text());
    operator.end().await;

    // Another operator finds everything as it should be.
    let operator = Running::start(&control, settings, "scale").await;
    let begun = std::time::Instant::now();
    wait::until("all are looked at", DEADLINE, || async {
        let text = operator.metrics.text();
        let looked = |kind: &str, many: usize| {
            let series = format!("busway_operator_reconciles_total{{kind=\"{kind}\"}} ");
            let count = text
                .lines()
                .find_map(|line| line.strip_prefix(&series)?.parse().ok());
            count.is_some_and(|count: usize| count >= many)
        };
        if expected.iter().all(|(kind, many)| looked(kind, *many)) {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await
    .unwrap();
    println!("looked at {:?} after the start", begun.elapsed());
    let text = operator.metrics.text();
    for kind in ["Channel", "Subscription"] {
        let wrote = format!("busway_operator_status_writes_total{{kind=\"{kind}\"}}");
        assert!(!text.contains(&wrote), "{text}");
    }
    operator.end().await;
}

async fn says_serviceable(control: &ControlPlane) {
    wait::until("the bus answers", DEADLINE, || async {
        let path = "jsonpath={.status.conditions[?(@.type=='Serviceable')].status}";
        match control
            .kubectl_ok(&["get", "clusterbus", "main", "-o", path])
            .await
        {
            Ok(said) if said == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

async fn client(control: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(control.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

async fn create<K>(client: &Client, namespace: &str, all: impl Iterator<Item = Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    stream::iter(all.map(|mut one| {
        let api = api.clone();
        one["apiVersion"] = json!("channels.busway.dev/v1alpha1");
        one["kind"] = json!(K::kind(&()));
        let one: K = serde_json::from_value(one).unwrap();
        async move { api.create(&PostParams::default(), &one).await.unwrap() }
    }))
    .buffer_unordered(16)
    .for_each(|_| std::future::ready(()))
    .await;
}
