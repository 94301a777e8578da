//! The table of good and bad manifests (`crates/api/testdata`) on a real API server: the same verdict as without one,
//! at the same path, in the same words. The offline half is `crates/api/tests/manifests.rs`. And the definitions
//! themselves, applied as people apply them. Every case runs on the newest Kubernetes and on the oldest that Busway states.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busway_api::validate::Schemas;
use busway_testkit::control::{ApiServer, ControlPlane, Namespace};
use busway_testkit::wait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::OnceCell;

/// How long the server may take to publish new definitions, on a machine that is busy.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);
/// kubectl processes at once.
const AT_ONCE: usize = 4;

/// Every case, on an API server of each version.
macro_rules! on_every_version {
    ($($case:ident),+ $(,)?) => {
        mod newest { $(
            #[tokio::test]
            async fn $case() { super::$case(super::ApiServer::Newest).await; }
        )+ }
        mod oldest { $(
            #[tokio::test]
            async fn $case() { super::$case(super::ApiServer::Oldest).await; }
        )+ }
    };
}

on_every_version!(
    the_api_server_is_of_the_version_that_is_meant,
    good_manifests_are_accepted_by_the_api_server_too,
    bad_manifests_are_refused_by_the_api_server_at_the_same_paths,
    explain_describes_every_kind,
    definitions_are_applied_over_an_older_form_with_objects_present,
);

/// The control plane with our definitions; the first test that asks applies them.
async fn with_definitions(version: ApiServer) -> &'static ControlPlane {
    static NEWEST: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    static OLDEST: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    let applied = match version {
        ApiServer::Newest => &NEWEST,
        ApiServer::Oldest => &OLDEST,
    };
    applied
        .get_or_init(|| async {
            let plane = ControlPlane::shared_of(version).await.unwrap();
            // Client-side, as people do: what it remembers must fit into an annotation.
            plane.apply_yaml(&definitions()).await.unwrap();
            served(plane).await;
            plane
        })
        .await
}

fn definitions() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds.yaml");
    fs::read_to_string(path).unwrap()
}

async fn served(plane: &ControlPlane) {
    wait::until("the four kinds are served", PUBLISHED_WITHIN, || async {
        for kind in ["buses", "clusterbuses", "channels", "subscriptions"] {
            let kind = format!("{kind}.channels.busway.dev");
            plane
                .kubectl_ok(&["get", &kind, "--all-namespaces"])
                .await?;
        }
        anyhow::Ok(())
    })
    .await
    .unwrap();
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crates/api/testdata")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// What the API server says of the last document, after the others were stored.
async fn verdict(plane: &ControlPlane, text: &str) -> Result<(), String> {
    let documents: Vec<_> = text.split("---\n").collect();
    if let [only] = documents.as_slice() {
        return run(plane, &["create", "--dry-run=server"], only).await;
    }
    let namespace = plane.namespace("manifests").await.unwrap();
    let within = ["--namespace", namespace.name()];
    let (last, earlier) = documents.split_last().unwrap();
    for (place, document) in earlier.iter().enumerate() {
        let verb = if place == 0 { "create" } else { "replace" };
        run(plane, &[&within[..], &[verb]].concat(), document)
            .await
            .unwrap();
    }
    run(plane, &[&within[..], &["replace"]].concat(), last).await
}

async fn run(plane: &ControlPlane, args: &[&str], document: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), document).unwrap();
    let path = file.path().display().to_string();
    let output = plane
        .kubectl(&[args, &["-f", &path]].concat())
        .await
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

async fn good_manifests_are_accepted_by_the_api_server_too(version: ApiServer) {
    let plane = with_definitions(version).await;
    stream::iter(files("good"))
        .map(|path| async move {
            let text = fs::read_to_string(&path).unwrap();
            verdict(plane, &text)
                .await
                .map_err(|said| format!("{}: {said}", path.display()))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .unwrap();
}

async fn bad_manifests_are_refused_by_the_api_server_at_the_same_paths(version: ApiServer) {
    let plane = with_definitions(version).await;
    let wrong: Vec<String> = stream::iter(files("bad"))
        .map(|path| async move {
            let text = fs::read_to_string(&path).unwrap();
            let differs = match verdict(plane, &text).await {
                Ok(()) => Some("it is accepted".to_owned()),
                Err(said) => difference(&text, &said),
            };
            differs.map(|differs| format!("{}: {differs}", path.display()))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|differs| async { differs })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the first line of the file names, and every path refused offline, is in what the server said.
fn difference(text: &str, said: &str) -> Option<String> {
    let expected = text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("# refused: ")
        .unwrap();
    let (path, message) = expected.split_once(": ").unwrap();
    let names =
        |path: &str| said.contains(&format!("{path}: ")) || said.contains(&format!("\"{path}\""));
    if !names(path) || !said.to_lowercase().contains(&message.to_lowercase()) {
        return Some(format!("expected {expected:?}, the server said {said}"));
    }
    let schemas = Schemas::new();
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    let last = documents.pop().unwrap();
    let refusals = schemas.check(&last, documents.last()).unwrap_err();
    let only_here = refusals
        .iter()
        .find(|refusal| !refusal.path.is_empty() && !names(&refusal.path));
    only_here.map(|refusal| format!("refused offline only: {refusal}; the server said {said}"))
}

async fn explain_describes_every_kind(version: ApiServer) {
    let plane = with_definitions(version).await;
    for (field, words) in [
        ("subscription.spec.delivery", "Longest time of one attempt"),
        ("channel.spec.migration", "Drain"),
        ("bus.spec.memory", "dropOldest"),
        ("bus.spec.dispatcher.image", "Container image name"),
        (
            "clusterbus.spec.allowedNamespaces",
            "Labels of the namespaces",
        ),
    ] {
        // The server publishes what it explains from a little after it serves the kind.
        let what = format!("explain {field} says {words:?}");
        wait::until(&what, PUBLISHED_WITHIN, || async {
            let page = plane.kubectl_ok(&["explain", field]).await?;
            anyhow::ensure!(page.contains(words), "{page}");
            anyhow::Ok(())
        })
        .await
        .unwrap();
    }
}

async fn the_api_server_is_of_the_version_that_is_meant(version: ApiServer) {
    let plane = ControlPlane::shared_of(version).await.unwrap();
    let said = plane.kubectl_ok(&["get", "--raw", "/version"]).await;
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    let reported = said["gitVersion"].as_str().unwrap();
    assert!(reported.starts_with(version.reports()), "{reported}");
    let oldest = reported.starts_with(ApiServer::Oldest.reports());
    assert_eq!(oldest, version == ApiServer::Oldest, "{reported}");
}

/// As an older version might have had them: no rules, no columns, no short names, and a Bus without `limits`.
fn older_definitions() -> String {
    let mut all: Vec<Value> = serde_saphyr::from_multiple(&definitions()).unwrap();
    for definition in &mut all {
        let spec = definition["spec"].as_object_mut().unwrap();
        spec["names"].as_object_mut().unwrap().remove("shortNames");
        let version = spec["versions"][0].as_object_mut().unwrap();
        version.remove("additionalPrinterColumns");
        let schema = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let schema = schema.as_object_mut().unwrap();
        schema.remove("x-kubernetes-validations");
        schema["properties"]
            .as_object_mut()
            .unwrap()
            .remove("limits");
    }
    let all: Vec<_> = all.iter().map(Value::to_string).collect();
    all.join("\n---\n")
}

async fn definitions_are_applied_over_an_older_form_with_objects_present(version: ApiServer) {
    const BUS: &str = "{apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {name: kept}, spec: {memory: {maxMessages: 7}}}";
    const CHANNEL: &str = "{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {name: kept}, spec: {bus: kept}}";
    let plane = ControlPlane::start_of(version).await.unwrap();
    let namespace = plane.namespace("kept").await.unwrap();
    // What somebody applied client-side is somebody else's to a server-side apply.
    let server_side = ["apply", "--server-side", "--force-conflicts"];
    for (apply, connections) in [(&["apply"][..], 64), (&server_side, 65)] {
        run(&plane, apply, &older_definitions()).await.unwrap();
        served(&plane).await;
        namespace.apply_yaml(BUS).await.unwrap();
        namespace.apply_yaml(CHANNEL).await.unwrap();
        let before = uids(&namespace).await;
        let given = format!(r#""limits":{{"connections":{connections}"#);
        let limits = format!(r#"{{"spec":{{{given}}}}}}}"#);
        let set = ["patch", "bus", "kept", "--type=merge", "-p", &limits];
        let now = ["get", "bus", "kept", "-o", "jsonpath={.spec}"];
        wait::until(
            "the older form knows no limits",
            PUBLISHED_WITHIN,
            || async {
                namespace.kubectl_ok(&set).await?;
                let spec = namespace.kubectl_ok(&now).await?;
                anyhow::ensure!(!spec.contains("limits"), "{spec}");
                Ok(())
            },
        )
        .await
        .unwrap();

        run(&plane, apply, &definitions()).await.unwrap();
        // The server takes a new schema up a little after it stored it.
        wait::until("the newer form does", PUBLISHED_WITHIN, || async {
            namespace.kubectl_ok(&set).await?;
            let spec = namespace.kubectl_ok(&now).await?;
            anyhow::ensure!(spec.contains(&given), "{spec}");
            Ok(())
        })
        .await
        .unwrap();
        let spec = namespace.kubectl_ok(&now).await.unwrap();
        assert!(spec.contains(r#""maxMessages":7"#), "{spec}");
        assert_eq!(uids(&namespace).await, before);
        let moved = r#"{"spec":{"bus":"other"}}"#;
        let move_it = ["patch", "channel", "kept", "--type=merge", "-p", moved];
        wait::until("the rules are back", PUBLISHED_WITHIN, || async {
            let dry = [&move_it[..], &["--dry-run=server"]].concat();
            match namespace.kubectl_ok(&dry).await {
                Ok(taken) => anyhow::bail!("{taken}"),
                Err(refused) => {
                    let said = format!("{refused:#}");
                    anyhow::ensure!(said.contains("spec.bus"), "{said}");
                    Ok(())
                }
            }
        })
        .await
        .unwrap();
        let columns = ["get", "bus", "kept", "--no-headers=false"];
        wait::until("the columns are back", PUBLISHED_WITHIN, || async {
            let table = namespace.kubectl_ok(&columns).await?;
            anyhow::ensure!(table.contains("REASON"), "{table}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

async fn uids(namespace: &Namespace) -> String {
    let both = [
        "get",
        "bus/kept",
        "channel/kept",
        "-o",
        "jsonpath={.items[*].metadata.uid}",
    ];
    namespace.kubectl_ok(&both).await.unwrap()
}
