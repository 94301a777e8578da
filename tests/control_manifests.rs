//! The table of good and bad manifests (`crates/api/testdata`) on a real API server: the same verdict as without one,
//! at the same path, in the same words. The offline half is `crates/api/tests/manifests.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busway_api::validate::Schemas;
use busway_testkit::control::ControlPlane;
use busway_testkit::wait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::OnceCell;

/// How long the server may take to publish new definitions, on a machine that is busy.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);
/// kubectl processes at once.
const AT_ONCE: usize = 4;

/// The control plane with our definitions; the first test that asks applies them.
async fn with_definitions() -> &'static ControlPlane {
    static APPLIED: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    APPLIED.get_or_init(apply_definitions).await
}

async fn apply_definitions() -> &'static ControlPlane {
    let plane = ControlPlane::shared().await.unwrap();
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds.yaml");
    // Client-side, as people do: what it remembers must fit into an annotation.
    plane
        .apply_yaml(&fs::read_to_string(definitions).unwrap())
        .await
        .unwrap();
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
    plane
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

#[tokio::test]
async fn good_manifests_are_accepted_by_the_api_server_too() {
    let plane = with_definitions().await;
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

#[tokio::test]
async fn bad_manifests_are_refused_by_the_api_server_at_the_same_paths() {
    let plane = with_definitions().await;
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

#[tokio::test]
async fn explain_describes_every_kind() {
    let plane = with_definitions().await;
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
