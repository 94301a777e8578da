//! The operator and a real dispatcher on the same objects: who says what, and how often.

use std::{ffi::OsStr, path::Path};

use busway::operator::args::{ChannelService, Scope};
use busway_testkit::{binary::Binary, control::ControlPlane, wait};

use crate::support::{
    DEADLINE, Running, SYSTEM, answers, bus, channel, get, prepared, says, settings, subscription,
};

const SUBSCRIPTIONS: [&str; 3] = ["first", "second", "third"];

/// `busway dispatcher` as the operator's Deployment would start it.
fn dispatcher(control: &ControlPlane) -> Binary {
    let environment = [
        ("KUBECONFIG", control.kubeconfig().as_os_str()),
        ("BUS_NAME", OsStr::new("main")),
        ("BUS_NAMESPACE", OsStr::new("")),
        ("POD_NAME", OsStr::new("main-0")),
        ("POD_NAMESPACE", OsStr::new(SYSTEM)),
        ("LEASE_NAME", OsStr::new("main-clusterbus")),
    ];
    let any = "127.0.0.1:0";
    let arguments = [
        "dispatcher",
        "--listen",
        any,
        "--admin",
        any,
        "--debug",
        any,
        "--log-format",
        "json",
        "--lame-duck",
        "0s",
    ];
    Binary::start(
        Path::new(env!("CARGO_BIN_EXE_busway")),
        arguments,
        &environment,
    )
    .unwrap()
}

fn count(metrics: &str, series: &str) -> u64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn the_operator_writes_once_and_the_data_plane_says_ready_and_takes_it_back_whenever_it_can()
{
    let control = ControlPlane::start_of(crate::API_SERVER).await.unwrap();
    prepared(&control).await;
    let operator = Running::start(
        &control,
        settings(ChannelService::Auto, Scope::All),
        "handover",
    )
    .await;
    let namespace = control.namespace("handover").await.unwrap();
    control
        .apply_yaml(&bus("ClusterBus", "main", ""))
        .await
        .unwrap();
    answers(&control, "main", true).await;
    wait::until(
        "the bus answers, and its Lease is there",
        DEADLINE,
        || async {
            let json = control
                .kubectl_ok(&["get", "clusterbus", "main", "-o", "json"])
                .await
                .map_err(|e| e.to_string())?;
            let bus: serde_json::Value = serde_json::from_str(&json).map_err(|e| e.to_string())?;
            let lease = ["get", "lease", "main-clusterbus", "-n", SYSTEM];
            control
                .kubectl_ok(&lease)
                .await
                .map_err(|e| e.to_string())?;
            match crate::support::condition(&bus, "Serviceable") {
                Some(c) if c["status"] == "True" => Ok(()),
                _ => Err(json),
            }
        },
    )
    .await
    .unwrap();
    let mut serving = dispatcher(&control);
    serving.address("messages", DEADLINE).await.unwrap();

    // Subscriptions first: what they need comes in the same breath.
    let mut all: Vec<_> = SUBSCRIPTIONS
        .map(|name| subscription(name, "orders"))
        .into();
    all.push(channel("orders", "clusterBus: main"));
    namespace.apply_yaml(&all.join("---\n")).await.unwrap();
    says(&namespace, "channel/orders", "Ready", "True", "AllGood").await;
    for name in SUBSCRIPTIONS {
        says(
            &namespace,
            &format!("subscription/{name}"),
            "Ready",
            "True",
            "AllGood",
        )
        .await;
    }
    let metrics = operator.metrics.text();
    let writes = |kind: &str| {
        count(
            &metrics,
            &format!("busway_operator_status_writes_total{{kind=\"{kind}\"}}"),
        )
    };
    assert_eq!(
        (writes("Channel"), writes("Subscription")),
        (1, 3),
        "{metrics}"
    );

    // The channel goes: only the operator can say so. It returns: the data plane does.
    namespace
        .kubectl_ok(&["delete", "channel", "orders", "--timeout=60s"])
        .await
        .unwrap();
    for name in SUBSCRIPTIONS {
        let object = format!("subscription/{name}");
        says(&namespace, &object, "Ready", "False", "ChannelNotFound").await;
    }
    namespace
        .apply_yaml(&channel("orders", "clusterBus: main"))
        .await
        .unwrap();
    says(&namespace, "subscription/first", "Ready", "True", "AllGood").await;
    owner_of_ready(&namespace, "subscription/first", "busway-dispatcher").await;

    // The data plane dies: after a minute the operator says it.
    serving.signal("KILL").await.unwrap();
    serving.ended(DEADLINE).await.unwrap();
    answers(&control, "main", false).await;
    for object in ["channel/orders", "subscription/first"] {
        let reason = if object.starts_with("channel") {
            "NoEndpoint"
        } else {
            "DispatcherUnavailable"
        };
        if object.starts_with("channel") {
            says(&namespace, object, "Serviceable", "False", reason).await;
        }
        let why = says(
            &namespace,
            object,
            "Ready",
            "False",
            "DispatcherUnavailable",
        )
        .await;
        assert!(
            why.starts_with("nothing has served ClusterBus main since"),
            "{why}"
        );
        owner_of_ready(&namespace, object, "busway-operator").await;
    }

    // And is back.
    let serving = dispatcher(&control);
    serving.address("messages", DEADLINE).await.unwrap();
    answers(&control, "main", true).await;
    for object in ["channel/orders", "subscription/first", "subscription/third"] {
        says(&namespace, object, "Ready", "True", "AllGood").await;
        owner_of_ready(&namespace, object, "busway-dispatcher").await;
    }
    let metrics = operator.metrics.text();
    assert!(!metrics.contains("reason=\"Refused\""), "{metrics}");
    operator.end().await;
}

/// Waits until exactly this manager has the status of Ready.
async fn owner_of_ready(
    namespace: &busway_testkit::control::Namespace,
    object: &str,
    manager: &str,
) {
    wait::until(
        &format!("{manager} has Ready of {object}"),
        DEADLINE,
        || async {
            let args = ["get", object, "-o", "json", "--show-managed-fields"];
            let text = namespace
                .kubectl_ok(&args)
                .await
                .map_err(|e| e.to_string())?;
            let found: serde_json::Value =
                serde_json::from_str(&text).map_err(|e| e.to_string())?;
            let all = found["metadata"]["managedFields"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let having: Vec<_> = all
                .iter()
                .filter(|m| {
                    let ready =
                        &m["fieldsV1"]["f:status"]["f:conditions"]["k:{\"type\":\"Ready\"}"];
                    !ready["f:reason"].is_null()
                })
                .map(|m| m["manager"].as_str().unwrap_or_default().to_owned())
                .collect();
            if having == [manager] {
                Ok(())
            } else {
                Err(format!("{having:?}: {text}"))
            }
        },
    )
    .await
    .unwrap();
    let _ = get(namespace, object).await.unwrap();
}
