//! What is generated from this crate is committed, and the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::{env, fs};

use busway_api::crds::{crds, crds_yaml, yaml};
use busway_api::fields::fields_markdown;
use busway_api::reason::{Reason, reasons_markdown};

/// Above this, the annotation of client-side `kubectl apply` does not hold the definition (256 KiB for all).
const MAX_CRD_BYTES: usize = 200_000;

/// Compares, or with `UPDATE=1` writes.
fn committed(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == generated,
        "{} is not what is generated: run UPDATE=1 cargo test -p busway-api",
        path.display()
    );
}

#[test]
fn the_definitions_are_committed() {
    for crd in crds() {
        committed(
            &format!("crds/{}.yaml", crd.spec.names.plural),
            &yaml(&crd).unwrap(),
        );
    }
    committed("deploy/crds.yaml", &crds_yaml().unwrap());
}

#[test]
fn the_pages_are_committed() {
    committed("docs/reasons.md", &reasons_markdown());
    committed("docs/fields.md", &fields_markdown());
}

#[test]
fn the_definitions_are_small_enough_for_client_side_apply() {
    for crd in crds() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(
            size < MAX_CRD_BYTES,
            "{} has {size} bytes",
            crd.spec.names.kind
        );
    }
}

#[test]
fn reasons_are_unique_and_say_what_they_mean() {
    let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(
            reason.meaning().ends_with('.') && !reason.conditions().is_empty(),
            "{reason}"
        );
    }
}
