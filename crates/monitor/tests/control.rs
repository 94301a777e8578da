//! The Monitor against a real API server, through kubectl, with a bus that records its hooks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "monitor/bus.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod bus;

use std::{sync::Arc, time::Duration};

use bus::{FakeBus, Fault};
use busway_core::{
    BusRef,
    bus::{HookError, Scope as BusScope},
};
use busway_monitor::{
    Loopback, Monitor, Options, Orphans, Parts,
    source::{
        kube::{KubeOptions, KubeSource, Scope},
        lease::LeaseOptions,
    },
};
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(60);
/// Of the setting, not the default: so long is waited for each hook that hangs.
const HOOK_TIMEOUT: Duration = Duration::from_secs(2);
const OBJECTS: &str = "
apiVersion: channels.busway.dev/v1alpha1
kind: Bus
metadata: { name: main }
spec: { memory: {} }
---
apiVersion: channels.busway.dev/v1alpha1
kind: Channel
metadata: { name: orders }
spec: { bus: main }
---
apiVersion: channels.busway.dev/v1alpha1
kind: Subscription
metadata: { name: mail }
spec: { channel: orders, subscriber: mail }
";

struct Process {
    bus: Arc<FakeBus>,
    source: Arc<KubeSource>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn client(plane: &ControlPlane) -> Client {
    let config = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(config, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

async fn install(plane: &ControlPlane) {
    let crds = busway_api::crds::crds();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": crds });
    plane.apply_yaml(&list.to_string()).await.unwrap();
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    plane.kubectl_ok(&wait).await.unwrap();
}

async fn start(plane: &ControlPlane, space: &Namespace, bus: Arc<FakeBus>) -> Process {
    let source = Arc::new(KubeSource::new(
        client(plane).await,
        KubeOptions {
            component: "busway-dispatcher".to_owned(),
            scope: Scope::Namespace(space.name().to_owned()),
            lease: LeaseOptions {
                namespace: space.name().to_owned(),
                name: "busway-main".to_owned(),
                identity: "one".to_owned(),
                create: true,
            },
        },
    ));
    let options = Options {
        parts: Parts::Both,
        orphans: Orphans::MineButClusterBuses,
        loopback: Loopback::Allowed,
        hook_timeout: HOOK_TIMEOUT,
        ..Options::default()
    };
    let monitor = Monitor::new(
        "busway-dispatcher",
        Arc::clone(&source) as _,
        Arc::clone(&bus) as _,
    )
    .options(options);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let bus_ref = BusRef::Namespaced {
        namespace: space.name().to_owned(),
        name: "main".to_owned(),
    };
    let task = tokio::spawn(async move { monitor.run(bus_ref, 16, token).await.unwrap() });
    Process {
        bus,
        source,
        shutdown,
        task,
    }
}

impl Process {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.source.close().await;
    }
}

/// Waits until a condition of an object is `status/reason`.
async fn until_condition(space: &Namespace, object: &str, condition: &str, wanted: &str) {
    let path = format!(
        "jsonpath={{.status.conditions[?(@.type==\"{condition}\")].status}}/{{.status.conditions[?(@.type==\"{condition}\")].reason}}"
    );
    let what = format!("{object} is {condition} {wanted}");
    wait::until(&what, SOON, || async {
        let seen = space.kubectl_ok(&["get", object, "--output", &path]).await;
        match seen {
            Ok(seen) if seen == wanted => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
}

async fn until_gone(space: &Namespace, object: &str) {
    wait::until(&format!("{object} is gone"), SOON, || async {
        let seen = space
            .kubectl_ok(&["get", object, "--ignore-not-found", "--output", "yaml"])
            .await;
        match seen {
            Ok(seen) if seen.is_empty() => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_hooks_holds_on_a_real_api_server() {
    let plane = ControlPlane::start().await.unwrap();
    install(&plane).await;
    let space = plane.namespace("table").await.unwrap();
    let bus = FakeBus::new(BusScope::Shared);
    let faults = [
        Fault::Hangs,
        Fault::Panics,
        Fault::Fails(HookError::transient("BrokerAway", "no broker")),
    ];
    bus.fault(&format!("subscribe {}/mail", space.name()), faults);
    let process = start(&plane, &space, Arc::clone(&bus)).await;
    space.apply_yaml(OBJECTS).await.unwrap();
    until_condition(&space, "subscription/mail", "Ready", "True/AllGood").await;
    until_condition(&space, "channel/orders", "Ready", "True/AllGood").await;
    until_condition(&space, "bus/main", "Ready", "True/AllGood").await;
    assert_eq!(
        bus.count("subscribe"),
        4,
        "three times it did not get through"
    );
    let said = ["get", "events", "--output", "jsonpath={.items[*].message}"];
    let said = space.kubectl_ok(&said).await.unwrap();
    assert!(said.contains("HookTimedOut"), "{said}");

    // A subscription of a missing channel, and the channel coming later.
    let late = OBJECTS
        .replace("name: mail", "name: late")
        .replace("channel: orders", "channel: later");
    let late = late.rsplit("---").next().unwrap();
    space.apply_yaml(late).await.unwrap();
    until_condition(
        &space,
        "subscription/late",
        "Ready",
        "False/ChannelNotFound",
    )
    .await;
    let later = OBJECTS
        .split("---")
        .nth(1)
        .unwrap()
        .replace("name: orders", "name: later");
    space.apply_yaml(&later).await.unwrap();
    until_condition(&space, "subscription/late", "Ready", "True/AllGood").await;

    // The API server goes and comes back: nothing is called again, and edits are seen.
    let calls = bus.calls().len();
    plane.stop_apiserver();
    plane.start_apiserver().await.unwrap();
    let edit = r#"{"spec":{"subscriber":"mail.elsewhere.svc","delivery":{"timeout":"7s"}}}"#;
    space
        .kubectl_ok(&[
            "patch",
            "subscription/mail",
            "--type=merge",
            "--patch",
            edit,
        ])
        .await
        .unwrap();
    until_condition(&space, "subscription/mail", "Ready", "True/AllGood").await;
    wait::until(
        "the edit was subscribed",
        Duration::from_secs(120),
        || async {
            if bus.calls().len() == calls + 1 {
                Ok(())
            } else {
                Err(format!("{:?}", bus.calls()))
            }
        },
    )
    .await
    .unwrap();

    // Deleted while nobody runs, and removed by the next process, in order.
    process.stop().await;
    space
        .kubectl_ok(&[
            "delete",
            "channel/orders",
            "subscription/mail",
            "--wait=false",
        ])
        .await
        .unwrap();
    let bus = FakeBus::new(BusScope::Shared);
    let process = start(&plane, &space, Arc::clone(&bus)).await;
    until_gone(&space, "channel/orders").await;
    until_gone(&space, "subscription/mail").await;
    let calls = bus.calls();
    let at = |call: &str| calls.iter().position(|c| c.starts_with(call));
    assert!(
        at("unsubscribe") < at("unprovision") && at("unsubscribe").is_some(),
        "{calls:?}"
    );

    // The namespace goes, with what is left.
    plane
        .kubectl_ok(&["delete", "namespace", space.name(), "--wait=false"])
        .await
        .unwrap();
    wait::until("the namespace is gone", SOON, || async {
        let seen = plane
            .kubectl_ok(&[
                "get",
                "namespace",
                space.name(),
                "--ignore-not-found",
                "--output",
                "yaml",
            ])
            .await;
        match seen {
            Ok(seen) if seen.is_empty() => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    assert_eq!(process.bus.count("unprovision"), 2);
    process.stop().await;
}
