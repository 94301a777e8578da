use anyhow::ensure;
use busway_testkit::{control::ControlPlane, wait};
use serde_json::json;

use crate::support::{DEADLINE, bus, get, operator, says, with_crds};

/// A field of the status that the operator always says.
const NEWER: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/service";

#[tokio::test]
async fn a_field_that_definitions_do_not_have_yet_keeps_nothing_else_of_a_status_from_being_said() {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let patch = json!([{ "op": "remove", "path": NEWER }]).to_string();
    let crd = "crd/buses.channels.busway.dev";
    control
        .kubectl_ok(&["patch", crd, "--type=json", "-p", &patch])
        .await
        .unwrap();
    let namespace = control.namespace("older").await.unwrap();
    namespace
        .apply_yaml(&bus("memory", json!({ "memory": {} })))
        .await
        .unwrap();

    // The API server takes a moment to follow its definitions.
    let status = json!({
        "apiVersion": "channels.busway.dev/v1alpha1",
        "kind": "Bus",
        "metadata": { "name": "memory" },
        "status": { "service": "s" },
    });
    let status = status.to_string();
    let to_status = ["--server-side", "--subresource=status", "--validate=false"];
    wait::until("the field is refused", DEADLINE, || async {
        let said = match namespace.apply_with(&to_status, &status).await {
            Ok(done) => done,
            Err(refused) => format!("{refused:#}"),
        };
        ensure!(said.contains("field not declared in schema"), "{said}");
        Ok(())
    })
    .await
    .unwrap();

    let _operator = operator(&control, namespace.name(), &["--scope", "own"]);
    says(&namespace, "bus/memory", "Dispatching", "False Unavailable").await;
    let found = get(&namespace, "bus/memory").await.unwrap();
    assert_eq!(found["status"].get("service"), None, "{found}");
    assert!(found["status"]["address"]["url"].is_string(), "{found}");
}
