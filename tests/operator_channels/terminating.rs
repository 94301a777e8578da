//! A namespace that is being deleted, with something in it that stays for a while.

use std::collections::BTreeMap;

use busway::operator::args::{ChannelService, Scope};
use busway_testkit::{
    control::{ControlPlane, Namespace},
    wait,
};

use crate::support::{
    DEADLINE, Running, bus, channel, get, gone, hold, looks, prepared, says, settings,
};

/// Reconciles that have to be seen while nothing can be made.
const STIRS: u64 = 12;

/// Writes of the operator's that the API server refused: only it applies, and only it makes events of ours.
async fn refused(control: &ControlPlane) -> BTreeMap<String, u64> {
    let metrics = ["get", "--raw", "/metrics"];
    let text = control.kubectl_ok(&metrics).await.unwrap();
    let counts = text
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"));
    let refused = counts.filter(|line| line.contains("code=\"403\""));
    let ours = refused.filter(|line| {
        line.contains("verb=\"APPLY\"")
            || line.contains("verb=\"PATCH\"")
            || line.contains("resource=\"events\"")
    });
    ours.map(|line| {
        let (series, count) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), count.parse().unwrap())
    })
    .collect()
}

/// How many came between.
fn since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> u64 {
    after.values().sum::<u64>() - before.values().sum::<u64>()
}

fn reconciles(operator: &Running, kind: &str) -> u64 {
    let series = format!("busway_operator_reconciles_total{{kind=\"{kind}\"}} ");
    let text = operator.metrics.text();
    let found = text.lines().find_map(|line| line.strip_prefix(&series));
    found.map_or(0, |count| count.trim().parse().unwrap())
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_goes_and_the_api_server_is_not_asked_again_and_again()
{
    let control = ControlPlane::start().await.unwrap();
    prepared(&control).await;
    // Namespaces are watched, or not.
    for whole in [true, false] {
        let namespace = control.namespace("going").await.unwrap();
        let scope = match whole {
            true => Scope::All,
            false => Scope::Namespaces(vec![namespace.name().to_owned()]),
        };
        let settings = settings(ChannelService::Auto, scope);
        let operator = Running::start(&control, settings, namespace.name()).await;
        stays_quiet(&control, &namespace, &operator).await;
        operator.end().await;
    }
}

async fn stays_quiet(control: &ControlPlane, namespace: &Namespace, operator: &Running) {
    namespace.apply_yaml(&bus("Bus", "main", "")).await.unwrap();
    let orders = channel("orders", "bus: main");
    namespace.apply_yaml(&orders).await.unwrap();
    for child in ["deployment/main-bus-dispatcher", "service/orders-channel"] {
        looks(namespace, child, "is there", |_| true).await;
    }
    hold(namespace, "channel/orders", "example.test/held").await;
    let before = refused(control).await;
    control
        .kubectl_ok(&["delete", "namespace", namespace.name(), "--wait=false"])
        .await
        .unwrap();
    says(
        namespace,
        "bus/main",
        "DeletionBlocked",
        "True",
        "ChannelsRemain",
    )
    .await;
    for child in [
        "deployment/main-bus-dispatcher",
        "service/main-bus",
        "service/orders-channel",
        "lease/main-bus",
    ] {
        gone(namespace, child).await;
    }
    for kind in ["Dispatching", "Serviceable"] {
        let why = says(namespace, "bus/main", kind, "False", "NamespaceTerminating").await;
        assert!(why.contains("its namespace is being deleted"), "{why}");
    }

    // A child may be seen going before its namespace is: until then it is made again, with less and less haste.
    let at_first = since(&before, &refused(control).await);
    assert!(at_first <= 10, "{at_first} refused writes");

    // Whatever happens, nothing is tried again.
    let before = refused(control).await;
    let (buses, channels) = (reconciles(operator, "Bus"), reconciles(operator, "Channel"));
    for stir in 0..STIRS {
        let stirred = format!("example.test/stir=n{stir}");
        let annotate = ["annotate", "--overwrite", "bus/main", &stirred];
        namespace.kubectl_ok(&annotate).await.unwrap();
        wait::until("the bus is looked at", DEADLINE, || async {
            match reconciles(operator, "Bus") {
                seen if seen > buses + stir => Ok(()),
                seen => Err(format!("{seen} reconciles, {buses} before, stir {stir}")),
            }
        })
        .await
        .unwrap();
    }
    assert!(reconciles(operator, "Channel") < channels + 5 * STIRS);
    let after = refused(control).await;
    let again = since(&before, &after);
    // An Event of the first refusals may still have been on its way.
    assert!(
        again <= 1,
        "refused writes, before: {before:#?}, after: {after:#?}"
    );

    let lift = r#"{"metadata":{"finalizers":null}}"#;
    let patch = ["patch", "channel/orders", "--type=merge", "-p", lift];
    namespace.kubectl_ok(&patch).await.unwrap();
    wait::until("the namespace is gone", DEADLINE, || async {
        let found = get(namespace, &format!("namespace/{namespace}")).await;
        match found {
            Err(error) if format!("{error:#}").contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}
