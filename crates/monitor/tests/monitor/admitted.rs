//! Whom a ClusterBus takes in, when the people of a namespace write what they like into their statuses.

use busway_core::{bus::Scope, routes::Accepting};
use busway_monitor::{Orphans, Parts};
use serde_json::{Value, json};

use crate::{
    bus::FakeBus,
    rig::{Rig, Setup, bus_spec, settle},
};

/// After everything that is made with no time of its own.
const LATER: &str = "2999-01-01T00:00:00Z";

/// As somebody with the right to write it would, to look like a channel that runs.
fn forged() -> Value {
    let said = |kind: &str, truth: &str, reason: &str| {
        json!({
            "type": kind, "status": truth, "reason": reason, "message": "",
            "lastTransitionTime": LATER, "observedGeneration": 1,
        })
    };
    json!({
        "resolvedParameters": {},
        "conditions": [
            said("Accepted", "False", "NamespaceNotAllowed"),
            said("Provisioned", "True", "Provisioned"),
        ],
    })
}

fn only(team: &str) -> Value {
    let mut spec = bus_spec(&json!([]), &json!([]));
    spec["allowedNamespaces"] = json!({"matchLabels": {"team": team}});
    spec
}

/// With an operator, which says in the bus's status whom it has taken in.
fn beside_an_operator(scope: Scope, spec: &Value, namespaces: &Value) -> Rig {
    let mut setup = Setup::new(scope);
    setup.options.parts = Parts::DataPlane;
    setup.options.orphans = Orphans::NotMine;
    let rig = setup.run();
    rig.cluster.has_operator();
    rig.cluster.namespace("shop", &json!({"team": "shop"}));
    rig.cluster.apply("ClusterBus", "main", spec);
    let status = json!({ "namespaces": namespaces });
    rig.cluster.write_status("ClusterBus", "main", status);
    rig
}

fn accepting(rig: &Rig, channel: &str) -> Option<Accepting> {
    rig.plane.routes().channel(channel).map(|c| c.accepting)
}

#[tokio::test(start_paused = true)]
async fn what_a_channel_says_of_itself_lets_nobody_in() {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let rig = beside_an_operator(scope, &only("gold"), &json!([]));
        let channel = json!({"clusterBus": "main"});
        rig.cluster.apply("Channel", "shop/orders", &channel);
        rig.cluster.write_status("Channel", "shop/orders", forged());
        settle().await;
        rig.cluster.write_status("Channel", "shop/orders", forged());
        settle().await;
        assert_eq!(rig.bus.count("provision shop/orders"), 0, "{scope:?}");
        assert_ne!(
            accepting(&rig, "shop/orders"),
            Some(Accepting::Yes),
            "{scope:?}"
        );
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_is_counted_from_what_the_bus_says() {
    let mut spec = only("gold");
    spec["revokeGrace"] = json!("1h");
    let revoked = json!([{"name": "shop", "uid": "", "revoked": "2021-01-01T00:00:00Z"}]);
    let rig = beside_an_operator(Scope::Shared, &spec, &revoked);
    let channel = json!({"clusterBus": "main"});
    rig.cluster.apply("Channel", "shop/orders", &channel);
    rig.until_calls("provision shop/orders", 1).await;
    rig.cluster.write_status("Channel", "shop/orders", forged());
    settle().await;
    assert_eq!(accepting(&rig, "shop/orders"), Some(Accepting::Revoked));
}

#[tokio::test(start_paused = true)]
async fn channels_of_a_namespace_that_was_allowed_go_on_and_new_ones_are_refused_also_after_a_restart()
 {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let rig = beside_an_operator(scope, &only("shop"), &json!([]));
        let channel = json!({"clusterBus": "main"});
        rig.cluster.apply("Channel", "shop/orders", &channel);
        rig.until_calls("provision shop/orders", 1).await;
        let known = json!({"namespaces": [{"name": "shop", "uid": ""}]});
        rig.cluster.write_status("ClusterBus", "main", known);
        rig.cluster.apply("ClusterBus", "main", &only("gold"));
        let revoked = json!({"namespaces": [
            {"name": "shop", "uid": "", "revoked": "2021-01-01T00:00:00Z"},
        ]});
        rig.cluster.write_status("ClusterBus", "main", revoked);
        rig.cluster.makes_at("2022-01-01T00:00:00Z");
        rig.cluster.apply("Channel", "shop/new", &channel);
        settle().await;
        assert_eq!(accepting(&rig, "shop/orders"), Some(Accepting::Yes));
        assert_eq!(rig.bus.count("provision shop/new"), 0);

        let mut again = Setup::again(&rig, FakeBus::new(scope));
        again.options.parts = Parts::DataPlane;
        again.options.orphans = Orphans::NotMine;
        rig.stop().await;
        let rig = again.run();
        rig.until_calls("provision shop/orders", 1).await;
        settle().await;
        assert_eq!(
            accepting(&rig, "shop/orders"),
            Some(Accepting::Yes),
            "{scope:?}"
        );
        assert_eq!(rig.bus.count("provision shop/new"), 0);
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_operator_the_monitor_remembers_whom_the_bus_has_taken_in() {
    let rig = Rig::ready(Scope::Shared).await;
    let remembered =
        || rig.cluster.get("ClusterBus", "main").unwrap()["status"]["namespaces"].clone();
    settle().await;
    assert_eq!(remembered(), json!([{"name": "shop", "uid": ""}]));
    rig.cluster.apply("ClusterBus", "main", &only("gold"));
    settle().await;
    let revoked = remembered()[0]["revoked"].clone();
    assert!(revoked.is_string(), "{revoked}");
    rig.cluster.makes_at(LATER);
    rig.cluster
        .apply("Channel", "shop/new", &json!({"clusterBus": "main"}));
    rig.until_condition("Channel", "shop/new", "Ready", "False/NamespaceNotAllowed")
        .await;
    assert_eq!(rig.bus.count("provision shop/new"), 0);
    assert_eq!(accepting(&rig, "shop/orders"), Some(Accepting::Yes));

    let again = Setup::again(&rig, FakeBus::new(Scope::Shared));
    rig.stop().await;
    let rig = again.run();
    settle().await;
    assert_eq!(accepting(&rig, "shop/orders"), Some(Accepting::Yes));
    assert_ne!(accepting(&rig, "shop/new"), Some(Accepting::Yes));
    assert_eq!(
        rig.cluster.get("ClusterBus", "main").unwrap()["status"]["namespaces"][0]["revoked"],
        revoked,
        "it does not move"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_subscription_says_of_itself_lets_it_call_nobody_elsewhere() {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let rig = beside_an_operator(scope, &only("shop"), &json!([]));
        let channel = json!({"clusterBus": "main"});
        rig.cluster.apply("Channel", "shop/orders", &channel);
        let elsewhere = "http://ledger.bank.svc.cluster.local/";
        rig.cluster.apply(
            "Subscription",
            "shop/mail",
            &json!({"channel": "orders", "subscriber": elsewhere}),
        );
        let status = json!({
            "resolvedParameters": {},
            "subscriberUrl": elsewhere,
            "conditions": [{
                "type": "Subscribed", "status": "True", "reason": "Subscribed", "message": "",
                "lastTransitionTime": LATER, "observedGeneration": 1,
            }],
        });
        for _ in 0..2 {
            rig.cluster
                .write_status("Subscription", "shop/mail", status.clone());
            settle().await;
            let routed = rig.routed("shop/mail").unwrap_or_default();
            assert!(!routed.starts_with("Running"), "{scope:?}: {routed}");
        }
        rig.stop().await;
    }
}
