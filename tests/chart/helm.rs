//! Real helm on the chart of this checkout, without a cluster.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use busway_testkit::control::tool;
use serde_json::Value;

/// The namespace that everything here is rendered for.
pub(crate) const NAMESPACE: &str = "busway-system";
/// The oldest Kubernetes that the chart takes; helm's own default depends on how helm was built.
const KUBE_VERSION: &str = "1.33.0";

/// Sets of values that together turn every setting on, with the name of each.
pub(crate) const SETS: &[(&str, &[&str])] = &[
    ("the default", &[]),
    (
        "everything on",
        &["-f", "tests/chart/testdata/everything.yaml"],
    ),
    (
        "own namespace",
        &["--set", "scope.mode=own,cluster.id=c1,operator.replicas=1"],
    ),
    (
        "a list of namespaces",
        &[
            "--set",
            "scope.mode=list,scope.namespaces={team-a,team-b},cluster.id=c1",
        ],
    ),
    (
        "others' accounts and roles",
        &[
            "--set",
            "rbac.create=false,rbac.aggregate=false,serviceAccount.create=false,serviceAccount.name=mine,crds.install=false,test.enabled=false",
        ],
    ),
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of this checkout.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whatever came of `helm ARGS`.
pub(crate) fn helm(args: &[&str]) -> Output {
    let home: PathBuf = root().join("target/helm");
    Command::new(tool("helm").unwrap())
        .args(args)
        .current_dir(root())
        // Nothing of this machine's: no plugins, repositories or settings.
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .unwrap()
}

/// What `helm template` prints.
pub(crate) fn text(args: &[&str]) -> String {
    let out = template(args);
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Whatever came of `helm template`.
pub(crate) fn template(args: &[&str]) -> Output {
    let fixed = [
        "template",
        "busway",
        "charts/busway",
        "--namespace",
        NAMESPACE,
        "--kube-version",
        KUBE_VERSION,
    ];
    helm(&[&fixed[..], args].concat())
}

/// The manifests.
pub(crate) fn render(args: &[&str]) -> Vec<Value> {
    parse(&text(args))
}

/// The documents of a YAML text, those of a List one by one.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    documents(text)
        .into_iter()
        .flat_map(|document| match document["items"].as_array() {
            Some(items) if document["kind"] == "List" => items.clone(),
            _ => vec![document],
        })
        .collect()
}

/// The documents of a YAML text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

/// The manifests of one kind.
pub(crate) fn of_kind<'a>(
    manifests: &'a [Value],
    kind: &'a str,
) -> impl Iterator<Item = &'a Value> + 'a {
    manifests
        .iter()
        .filter(move |manifest| manifest["kind"] == kind)
}

/// `Kind/name`, for messages.
pub(crate) fn name(manifest: &Value) -> String {
    format!(
        "{}/{}",
        manifest["kind"].as_str().unwrap(),
        manifest["metadata"]["name"].as_str().unwrap()
    )
}
