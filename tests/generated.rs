//! What `busway crds` and `busway docs` print is what is committed. `UPDATE=1` writes the pages that no crate writes itself.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{env, fs, path::Path, process::Command};

fn printed(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_busway"))
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn compare(file: &str, args: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let now = printed(args);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "{file} is not what `busway {}` prints: run `make generate`",
        args.join(" ")
    );
}

#[test]
fn the_committed_definitions_are_what_busway_crds_prints() {
    compare("deploy/crds.yaml", &["crds"]);
    let split = tempfile::tempdir().unwrap();
    printed(&["crds", "--split", &split.path().to_string_lossy()]);
    for entry in fs::read_dir(split.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("crds")
            .join(&name);
        assert_eq!(
            fs::read_to_string(entry.path()).unwrap(),
            fs::read_to_string(committed).unwrap(),
            "{name:?}"
        );
    }
}

#[test]
fn the_committed_pages_are_what_busway_docs_prints() {
    compare("docs/metrics.md", &["docs", "metrics"]);
    compare("docs/reasons.md", &["docs", "reasons"]);
    compare("docs/fields.md", &["docs", "fields"]);
}
