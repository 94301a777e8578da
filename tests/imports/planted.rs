//! The rules are seen to fail: planted sources, edges and a file that is too long.

use super::*;

#[test]
fn a_planted_wrong_import_is_found_however_it_is_written() {
    let planted = [
        (
            "crates/core/src/a.rs",
            "use kube::Client;",
            "may not mention kube",
        ),
        (
            "crates/core/src/a.rs",
            "fn f() { let c = kube::Client::try_default(); }",
            "may not mention kube",
        ),
        (
            "crates/core/src/a.rs",
            "fn f() { ::busway_monitor::x() }",
            "may not import monitor",
        ),
        (
            "crates/core/src/a.rs",
            "use {std::fmt, busway_dataplane::{self as d, x}};",
            "may not import dataplane",
        ),
        (
            "crates/core/src/a.rs",
            "use busway_monitor;",
            "may not import monitor",
        ),
        (
            "crates/core/src/a.rs",
            "extern crate busway_monitor;",
            "may not import monitor",
        ),
        (
            "crates/core/src/a.rs",
            "#[derive(kube::CustomResource)] struct A;",
            "may not mention kube",
        ),
        (
            "crates/message/src/a.rs",
            "fn f(x: hyper::Request<()>) {}",
            "may not mention hyper",
        ),
        (
            "crates/api/src/a.rs",
            "use kube::{CustomResource, Client};",
            "may not mention kube::Client",
        ),
        (
            "crates/api/src/a.rs",
            "use kube::*;",
            "may not mention kube::Client",
        ),
        (
            "crates/monitor/src/a.rs",
            "fn f() { busway_dataplane::x() }",
            "may not import dataplane",
        ),
        (
            "crates/dataplane/src/a.rs",
            "fn f() { std::env::var(\"A\") }",
            "may not mention std::env",
        ),
        (
            "src/buses/memory/a.rs",
            "use crate::buses::disk::Disk;",
            "may not import buses::disk",
        ),
        (
            "src/buses/memory/a.rs",
            "use super::super::disk::Disk;",
            "may not import buses::disk",
        ),
        (
            "src/buses/memory.rs",
            "mod t { fn f() { super::super::disk::x() } }",
            "may not import buses::disk",
        ),
        (
            "src/operator/a.rs",
            "fn f() { crate::buses::memory::x() }",
            "may not import buses::memory",
        ),
        (
            "src/operator.rs",
            "use busway_core::x;",
            "may not import core",
        ),
        ("src/cli/a.rs", "use crate::app;", "imports app"),
        (
            "src/app/a.rs",
            "use busway_api::A; fn f(c: busway_core::C) {}",
            "both api and core",
        ),
        ("src/new.rs", "", "is in no layer"),
    ];
    for (file, source, expected) in planted {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, source).unwrap();
        let found = violations(root.path());
        assert!(
            found.iter().any(|said| said.contains(expected)),
            "{file}: {source}: {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_or_only_written_about_is_no_violation() {
    let fine = [
        (
            "crates/core/src/a.rs",
            "// kube::Client\n/* hyper::x /* kube::y */ */ const A: &str = \"kube::Client\";",
        ),
        (
            "crates/core/src/a.rs",
            "const A: &str = r#\"\" kube::Client\"#; const B: char = '\"'; fn f<'a>() {}",
        ),
        (
            "crates/core/src/a.rs",
            "use busway_message::Message; use crate::kube_name::X;",
        ),
        (
            "crates/api/src/a.rs",
            "use kube::CustomResource; use kube::core::Duration;",
        ),
        (
            "crates/core/src/a.rs",
            "#[cfg(test)] mod tests { use super::*; use busway_testkit::wait; }",
        ),
        (
            "src/buses/memory/a.rs",
            "use super::queue::Queue; use crate::buses::memory::X;",
        ),
        (
            "src/main.rs",
            "mod app; fn main() { app::run(); crate::app::run() }",
        ),
    ];
    for (file, source) in fine {
        assert_eq!(
            check(file, source),
            Vec::<String>::new(),
            "{file}: {source}"
        );
    }
}

#[test]
fn a_planted_edge_and_a_planted_long_file_are_found() {
    let edge = |to: &str, features: &[&str]| serde_json::json!({"name": to, "kind": null, "features": features});
    let package = |name: &str, edges: &[serde_json::Value]| serde_json::json!({"name": name, "manifest_path": "/w/crates/x/Cargo.toml", "dependencies": edges});
    let found = edge_violations(&serde_json::json!([
        package(
            "busway-core",
            &[edge("kube", &[]), edge("busway-message", &[])]
        ),
        package("busway-monitor", &[edge("busway-dataplane", &[])]),
        package("busway-api", &[edge("kube", &["derive", "client"])]),
    ]));
    assert_eq!(
        found,
        [
            "busway-core may not depend on kube",
            "busway-monitor may not depend on busway-dataplane",
            "busway-api may not turn on kube's client",
        ]
    );

    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("tests")).unwrap();
    fs::write(
        root.path().join("tests/long.rs"),
        "\n".repeat(LONGEST_FILE + 1),
    )
    .unwrap();
    assert!(violations(root.path())[0].contains("601 lines"));
}
