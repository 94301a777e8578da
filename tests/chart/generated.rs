//! What is made of other files: the chart's definitions, the page of its values, the plain manifests. `UPDATE=1` writes them.

use std::{env, fmt::Write as _, fs, sync::Once};

use crate::{
    helm::{NAMESPACE, read, root, text},
    values::settings,
};

/// A definition stays when the release goes: with it would go every object of it.
const KEEP: &str = "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  labels:\n    app.kubernetes.io/name: busway\n";

fn compare(path: &str, now: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::write(root().join(path), now).unwrap();
    }
    let committed = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        committed == now,
        "{path} is not what it is made of: run `make generate`"
    );
}

/// The definitions, before anything is rendered of them.
fn definitions() {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        let mut files: Vec<_> = fs::read_dir(root().join("crds"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files.len(), 4, "{files:?}");
        for file in files {
            let definition = read(&format!("crds/{file}"));
            assert_eq!(definition.matches("\nmetadata:\n").count(), 1, "{file}");
            let kept = definition.replacen("metadata:\n", KEEP, 1);
            compare(&format!("charts/busway/files/crds/{file}"), &kept);
        }
    });
}

#[test]
fn the_charts_definitions_are_the_committed_ones_and_are_kept() {
    definitions();
}

#[test]
fn the_page_of_values_is_what_values_yaml_says() {
    let mut page = String::from(
        "# Settings of the chart\n\nGenerated from charts/busway/values.yaml by `make generate`. \
         What is not here is refused, with its path.\n\n| setting | default | meaning |\n|---|---|---|\n",
    );
    for setting in settings() {
        let cell = |text: &str| text.replace('|', "\\|");
        writeln!(
            page,
            "| `{}` | `{}` | {} |",
            setting.path,
            cell(&setting.default),
            cell(&setting.means)
        )
        .unwrap();
    }
    compare("docs/chart-values.md", &page);
}

#[test]
fn the_plain_manifests_are_the_chart_with_its_defaults() {
    definitions();
    // `helm test` is helm's: its objects are not part of an installation.
    let rendered = text(&["--skip-tests"]);
    let manifests = format!(
        "# Generated from charts/busway by `make generate`; do not edit.\n\
         # kubectl apply -f deploy/busway.yaml\n\
         ---\n\
         apiVersion: v1\n\
         kind: Namespace\n\
         metadata:\n  \
           name: {NAMESPACE}\n  \
           labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n{rendered}"
    );
    compare("deploy/busway.yaml", &manifests);
}
