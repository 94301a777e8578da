//! What the operator made, changed by somebody else's hand.

use anyhow::{Result, ensure};
use busway_testkit::wait::until;
use serde_json::Value;

use crate::{
    bed::{Bed, SOON},
    scenarios::shop::Shop,
    status::Object,
};

/// What a Bus `memory` and its Channel `orders` have.
const CHILDREN: &[(&str, &str)] = &[
    ("deployment", "memory-bus-dispatcher"),
    ("service", "memory-bus"),
    ("serviceaccount", "memory-bus-dispatcher"),
    ("role", "memory-bus-dispatcher"),
    ("rolebinding", "memory-bus-dispatcher"),
    ("rolebinding", "memory-bus-dispatcher-channels"),
    ("lease", "memory-bus"),
    ("service", "orders-channel"),
];

pub(crate) async fn a_child_deleted_by_hand_comes_back(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "deleted-child", "").await?;
    for (kind, name) in CHILDREN {
        let child = Object(kind, shop.namespace, name);
        let before = uid(&child.get(bed).await?);
        shop.kubectl(&["delete", kind, name]).await?;
        until(&format!("{kind} {name} is back"), SOON, || async {
            let now = uid(&child.get(bed).await?);
            ensure!(now != before, "it is the old one still");
            Ok(())
        })
        .await?;
    }
    shop.kubectl(&[
        "rollout",
        "status",
        "deployment/memory-bus-dispatcher",
        "--timeout=60s",
    ])
    .await?;
    shop.ready().await?;
    shop.works("again").await
}

pub(crate) async fn a_child_edited_by_hand_is_put_back(bed: &Bed) -> Result<()> {
    let shop = Shop::open(bed, "edited-child", "").await?;
    let service = Object("service", shop.namespace, "memory-bus");
    let selector = |service: &Value| service["spec"]["selector"].clone();
    let before = selector(&service.get(bed).await?);
    shop.kubectl(&[
        "patch",
        "service",
        "memory-bus",
        "--type=merge",
        "-p",
        r#"{"spec":{"selector":{"channels.busway.dev/owner-uid":"nobody"}}}"#,
    ])
    .await?;
    until("the Service selects the dispatcher again", SOON, || async {
        let now = selector(&service.get(bed).await?);
        ensure!(now == before, "{now}");
        Ok(())
    })
    .await?;
    shop.ready().await?;
    shop.works("again").await
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
