//! Edits that make a running object invalid.

use busway_core::bus::Scope;
use busway_monitor::source::Kind;
use serde_json::json;

use crate::{
    bus::FakeBus,
    rig::{Rig, Setup, bus_spec, settle},
};

#[tokio::test(start_paused = true)]
async fn missing_and_unknown_arguments_are_named_and_no_hook_is_called() {
    let rig = Setup::new(Scope::Shared).run();
    let required = json!([{"name": "size"}]);
    rig.cluster
        .apply("ClusterBus", "main", &bus_spec(&required, &json!([])));
    rig.cluster
        .apply("Channel", "shop/orders", &json!({"clusterBus": "main"}));
    rig.until_condition("Channel", "shop/orders", "Ready", "False/MissingArgument")
        .await;
    let message = rig
        .cluster
        .raw_condition("Channel", "shop/orders", "Ready")
        .unwrap()["message"]
        .to_string();
    assert!(message.contains("`size`"), "{message}");
    let unknown = json!({"clusterBus": "main", "arguments": [{"name": "size", "value": "1"}, {"name": "x", "value": "1"}]});
    rig.cluster.apply("Channel", "shop/orders", &unknown);
    rig.until_condition("Channel", "shop/orders", "Ready", "False/UnknownArgument")
        .await;
    assert_eq!(rig.bus.count("provision"), 0);
    let good = json!({"clusterBus": "main", "arguments": [{"name": "size", "value": "1"}]});
    rig.cluster.apply("Channel", "shop/orders", &good);
    rig.until_ready("Channel", "shop/orders").await;
    assert!(rig.bus.calls().last().unwrap().ends_with("size=1"));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_its_own_edit_made_invalid_is_held_also_after_a_restart() {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let rig = Rig::ready(scope).await;
        let broken = json!({"channel": "orders", "subscriber": "mail.other.svc"});
        rig.cluster.apply("Subscription", "shop/mail", &broken);
        rig.until_condition(
            "Subscription",
            "shop/mail",
            "Ready",
            "False/AddressNotAllowed",
        )
        .await;
        rig.until_condition("Subscription", "shop/mail", "Delivering", "False/Held")
            .await;
        let held = Some("Held http://mail.shop.svc.cluster.local/");
        assert_eq!(rig.routed("shop/mail").as_deref(), held);
        settle().await;
        let cluster = rig.stop().await;
        let setup = Setup {
            cluster,
            bus: FakeBus::new(scope),
            ..Setup::new(scope)
        };
        let rig = setup.run();
        settle().await;
        let routed = rig.routed("shop/mail").unwrap();
        assert!(routed.starts_with("Held "), "{routed}");
        rig.cluster.apply(
            "Subscription",
            "shop/mail",
            &json!({"channel": "orders", "subscriber": "mail"}),
        );
        rig.until_ready("Subscription", "shop/mail").await;
        assert!(rig.routed("shop/mail").unwrap().starts_with("Running "));
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_its_own_edit_made_invalid_goes_on_with_its_last_parameters() {
    let rig = Rig::ready(Scope::Shared).await;
    let broken = json!({"clusterBus": "main", "arguments": [{"name": "x", "value": "1"}]});
    rig.cluster.apply("Channel", "shop/orders", &broken);
    rig.until_condition("Channel", "shop/orders", "Ready", "False/UnknownArgument")
        .await;
    settle().await;
    assert_eq!(rig.bus.count("provision"), 1);
    assert!(rig.routed("shop/mail").unwrap().starts_with("Running "));
}

#[tokio::test(start_paused = true)]
async fn by_an_edit_of_the_bus_all_goes_on_with_the_resolved_parameters_also_after_a_restart() {
    for scope in [Scope::Shared, Scope::PerReplica] {
        let rig = Setup::new(scope).run();
        let declared = json!([{"name": "size", "default": "7"}]);
        rig.standard();
        rig.cluster
            .apply("ClusterBus", "main", &bus_spec(&declared, &declared));
        for (kind, name) in [("Channel", "shop/orders"), ("Subscription", "shop/mail")] {
            crate::rig::until("the parameters are resolved", || {
                let object = rig.cluster.get(kind, name).unwrap();
                if object["status"]["resolvedParameters"] == json!({"size": "7"}) {
                    Ok(())
                } else {
                    Err(object)
                }
            })
            .await;
        }
        let required = json!([{"name": "other"}]);
        rig.cluster
            .apply("ClusterBus", "main", &bus_spec(&required, &required));
        rig.until_condition("Channel", "shop/orders", "Ready", "False/ParametersInvalid")
            .await;
        rig.until_condition(
            "Subscription",
            "shop/mail",
            "Ready",
            "False/ParametersInvalid",
        )
        .await;
        assert!(rig.routed("shop/mail").unwrap().starts_with("Running "));
        settle().await;
        let cluster = rig.stop().await;
        let setup = Setup {
            cluster,
            bus: FakeBus::new(scope),
            ..Setup::new(scope)
        };
        let rig = setup.run();
        rig.until_calls("subscribe shop/mail", 1).await;
        settle().await;
        assert!(
            rig.routed("shop/mail").unwrap().starts_with("Running "),
            "{scope:?}"
        );
        let calls = rig.bus.calls();
        assert!(
            calls
                .iter()
                .all(|c| !c.starts_with("provision") || c.ends_with("size=7")),
            "{calls:?}"
        );
        for (kind, name) in [("Channel", "shop/orders"), ("Subscription", "shop/mail")] {
            let ready = rig.cluster.condition(kind, name, "Ready");
            assert_eq!(
                ready.as_deref(),
                Some("False/ParametersInvalid"),
                "{scope:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_more_replicas_do_not_keep_is_told_and_every_replica_goes_on_delivering() {
    let again = |cluster| Setup {
        cluster,
        ..Setup::new(Scope::PerReplica)
    };
    let bus = |replicas: u8| json!({"memory": {}, "replicas": replicas});
    let mail = |key: &str, timeout: &str| json!({"channel": "orders", "subscriber": "mail", "ordering": {"key": key}, "delivery": {"timeout": timeout}});
    let rig = Setup::new(Scope::PerReplica).run();
    rig.standard();
    rig.cluster.apply("ClusterBus", "main", &bus(1));
    rig.cluster
        .apply("Subscription", "shop/mail", &mail("subject", "30s"));
    rig.until_ready("Subscription", "shop/mail").await;
    settle().await;
    rig.cluster.apply("ClusterBus", "main", &bus(2));
    let unsupported = "False/OrderingUnsupported";
    rig.until_condition("Subscription", "shop/mail", "Ready", unsupported)
        .await;
    let running = |rig: &Rig| rig.routed("shop/mail").unwrap().starts_with("Running ");
    assert!(running(&rig));
    // The new one takes messages for it, and so delivers them.
    let other = again(rig.cluster.follower()).run();
    other.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    assert!(running(&other), "{:?}", other.routed("shop/mail"));
    // An edit of something else is not to blame for it, and counts.
    rig.cluster
        .apply("Subscription", "shop/mail", &mail("subject", "9s"));
    settle().await;
    assert!(running(&rig) && running(&other));
    assert_eq!(other.bus.count("subscribe shop/mail"), 2);
    other.stop().await;
    let rig = again(rig.stop().await).run();
    rig.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    assert!(running(&rig), "{:?}", rig.routed("shop/mail"));
    // One that never ran is refused, and one whose own edit asks for another order is held.
    rig.cluster
        .apply("Subscription", "shop/new", &mail("subject", "30s"));
    rig.until_condition("Subscription", "shop/new", "Ready", unsupported)
        .await;
    assert_eq!(rig.routed("shop/new"), None);
    rig.cluster
        .apply("Subscription", "shop/mail", &mail("type", "9s"));
    rig.until_condition("Subscription", "shop/mail", "Delivering", "False/Held")
        .await;
    let rig = again(rig.stop().await).run();
    rig.until_calls("subscribe shop/mail", 1).await;
    settle().await;
    assert!(!running(&rig));
    rig.cluster.apply("ClusterBus", "main", &bus(1));
    rig.until_ready("Subscription", "shop/mail").await;
    assert!(running(&rig));
}

#[tokio::test(start_paused = true)]
async fn a_paused_subscription_is_ready_and_says_that_it_is_paused() {
    let rig = Rig::ready(Scope::Shared).await;
    let paused = json!({"channel": "orders", "subscriber": "mail", "paused": true});
    rig.cluster.apply("Subscription", "shop/mail", &paused);
    rig.until_condition("Subscription", "shop/mail", "Delivering", "False/Paused")
        .await;
    rig.until_ready("Subscription", "shop/mail").await;
    assert!(rig.routed("shop/mail").unwrap().starts_with("Paused "));
    assert_eq!(rig.bus.count("subscribe"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_does_not_work_yet_is_refused_by_its_path() {
    let rig = Rig::ready(Scope::Shared).await;
    let spec = json!({"clusterBus": "main", "allowedSenders": ["anybody"]});
    rig.cluster.apply("Channel", "shop/new", &spec);
    rig.until_condition("Channel", "shop/new", "Ready", "False/NotYetSupported")
        .await;
    let message = rig
        .cluster
        .raw_condition("Channel", "shop/new", "Ready")
        .unwrap()["message"]
        .to_string();
    assert!(message.contains("spec.allowedSenders"), "{message}");
    assert_eq!(rig.bus.count("provision shop/new"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_cannot_be_compiled_is_told_with_its_place() {
    let rig = Rig::ready(Scope::Shared).await;
    let filters = json!([{"exact": {"type": "t"}}, {"any": [{"cesql": "type ="}]}]);
    let spec = json!({"channel": "orders", "subscriber": "mail", "filters": filters});
    rig.cluster.apply("Subscription", "shop/new", &spec);
    rig.until_condition(
        "Subscription",
        "shop/new",
        "Resolved",
        "False/FilterInvalid",
    )
    .await;
    let message = rig
        .cluster
        .raw_condition("Subscription", "shop/new", "Resolved")
        .unwrap()["message"]
        .to_string();
    assert!(
        message.contains("spec.filters[1].any[0].cesql: line 1, column 7"),
        "{message}"
    );
    rig.until_condition("Subscription", "shop/new", "Ready", "False/FilterInvalid")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_or_reply_that_is_the_own_channel_is_a_loop() {
    let rig = Rig::ready(Scope::Shared).await;
    for (name, spec) in [
        (
            "shop/reply",
            json!({"channel": "orders", "subscriber": "mail", "replyTo": "orders-channel"}),
        ),
        (
            "shop/sink",
            json!({"channel": "orders", "subscriber": "mail", "delivery": {"deadLetterSink": "http://127.0.0.1:8080/shop/orders"}}),
        ),
    ] {
        rig.cluster.apply("Subscription", name, &spec);
        rig.until_condition("Subscription", name, "Resolved", "False/AddressLoop")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn undecodable_objects_keep_their_last_good_form_and_others_go_on() {
    let rig = Rig::ready(Scope::Shared).await;
    let newer =
        json!({"channel": "orders", "subscriber": "mail", "delivery": {"jitter": "spiral"}});
    rig.cluster.apply("Subscription", "shop/mail", &newer);
    rig.cluster.apply("Subscription", "shop/unknown", &newer);
    rig.until_condition(
        "Subscription",
        "shop/unknown",
        "Accepted",
        "False/Undecodable",
    )
    .await;
    rig.cluster.apply(
        "Subscription",
        "shop/other",
        &json!({"channel": "orders", "subscriber": "web"}),
    );
    rig.until_ready("Subscription", "shop/other").await;
    settle().await;
    assert!(rig.routed("shop/mail").unwrap().starts_with("Running "));
    rig.until_condition("Subscription", "shop/mail", "Resolved", "False/Undecodable")
        .await;
    let writes = rig
        .cluster
        .writes_of(Kind::Subscription, "shop/unknown")
        .len();
    assert_eq!(writes, 1);
    rig.cluster.delete("Subscription", "shop/mail");
    rig.until_gone("Subscription", "shop/mail").await;
}
