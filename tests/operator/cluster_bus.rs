use anyhow::ensure;
use busway_testkit::control::{ControlPlane, Namespace};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, bus, get, gone, object, operator, pods_run, says, until, with_crds,
};

const LATER_IMAGE: &str = "registry.test/busway:2";

#[tokio::test]
async fn what_serves_a_cluster_bus_is_in_the_operators_namespace_and_stays_for_other_teams_channels()
 {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let system = control.namespace("system").await.unwrap();
    let team = control.namespace("team").await.unwrap();
    let _operator = operator(&control, system.name(), &["--channel-service", "None"]);
    control
        .apply_yaml(&object("ClusterBus", "fast", json!({ "memory": {} })))
        .await
        .unwrap();
    let account = until(&system, "sa/fast-clusterbus-dispatcher", "is there", |_| {
        Ok::<_, String>(())
    })
    .await;
    assert_eq!(account["metadata"].get("ownerReferences"), None);
    let binding = format!("clusterrolebinding/busway-{system}-fast-clusterbus-dispatcher");
    let found = until(&system, &binding, "is there", |_| Ok::<_, String>(())).await;
    assert_eq!(found["roleRef"]["name"], "busway-dispatcher");
    assert_eq!(found["subjects"][0]["namespace"], system.name());
    says(
        &system,
        "clusterbus/fast",
        "Dispatching",
        "False Unavailable",
    )
    .await;

    team.apply_yaml(&object(
        "Channel",
        "orders",
        json!({ "clusterBus": "fast" }),
    ))
    .await
    .unwrap();
    decoy(&team, account["metadata"]["labels"].clone()).await;
    control
        .kubectl_ok(&[
            "delete",
            "clusterbus/fast",
            "--wait=false",
            "--cascade=foreground",
        ])
        .await
        .unwrap();
    let said = says(
        &system,
        "clusterbus/fast",
        "DeletionBlocked",
        "True ChannelsRemain",
    )
    .await;
    assert!(said.contains(&format!("{team}/orders")), "{said}");
    team.kubectl_ok(&["delete", "channel/orders", "--timeout=60s"])
        .await
        .unwrap();
    gone(&system, "clusterbus/fast").await;
    gone(&system, &binding).await;
    gone(&system, "deployment/fast-clusterbus-dispatcher").await;
    let decoy = get(&team, "service/decoy").await.unwrap();
    assert_eq!(decoy["metadata"].get("deletionTimestamp"), None);
}

/// Somebody in a namespace of their own labels an object as the bus's, and has it stay: nobody waits for it.
async fn decoy(team: &Namespace, labels: Value) {
    let metadata =
        json!({ "name": "decoy", "labels": labels, "finalizers": ["example.test/held"] });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": { "ports": [{ "port": 80 }] },
    });
    team.apply_yaml(&service.to_string()).await.unwrap();
}

#[tokio::test]
async fn after_an_upgrade_buses_roll_one_at_a_time_and_a_pinned_one_does_not() {
    let (first, mut before) = crate::support::looked_after("rolls", &[]).await;
    let pinned = json!({ "memory": {}, "image": "registry.test/busway:0" });
    first.apply_yaml(&bus("pinned", pinned)).await.unwrap();
    for name in ["a", "b"] {
        first
            .apply_yaml(&bus(name, json!({ "memory": {} })))
            .await
            .unwrap();
    }
    for name in ["a", "b", "pinned"] {
        says(&first, &format!("bus/{name}"), "Dispatching", "False").await;
    }
    pods_run(&first).await;
    for name in ["a", "b", "pinned"] {
        says(&first, &format!("bus/{name}"), "Dispatching", "True").await;
    }
    before.signal("TERM").await.unwrap();
    before.ended(DEADLINE).await.unwrap();

    let control = crate::support::shared().await;
    let later = ["--scope", "own", "--image", LATER_IMAGE];
    let _after = operator(control, first.name(), &later);
    let rolling = wait_for_one(&first).await;
    let (one, other) = if rolling == "a" {
        ("a", "b")
    } else {
        ("b", "a")
    };
    says(
        &first,
        &format!("bus/{one}"),
        "Dispatching",
        "Unknown RollingOut",
    )
    .await;
    assert_ne!(
        image(&first, other).await.unwrap(),
        LATER_IMAGE,
        "it waits for its turn"
    );
    pods_run(&first).await;
    says(&first, &format!("bus/{one}"), "Dispatching", "True").await;
    let deployment = format!("deployment/{other}-bus-dispatcher");
    until(&first, &deployment, "has the new image", |found| {
        let image = &found["spec"]["template"]["spec"]["containers"][0]["image"];
        ensure!(image == LATER_IMAGE, "{image}");
        Ok(())
    })
    .await;
    assert_eq!(
        image(&first, "pinned").await.unwrap(),
        "registry.test/busway:0"
    );
}

async fn image(namespace: &Namespace, bus: &str) -> anyhow::Result<String> {
    let deployment = get(namespace, &format!("deployment/{bus}-bus-dispatcher")).await?;
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    Ok(image.as_str().unwrap_or_default().to_owned())
}

async fn wait_for_one(namespace: &Namespace) -> &'static str {
    busway_testkit::wait::until("one bus has the new image", DEADLINE, || async {
        for name in ["a", "b"] {
            if image(namespace, name).await? == LATER_IMAGE {
                return Ok(name);
            }
        }
        anyhow::bail!("none has")
    })
    .await
    .unwrap()
}
