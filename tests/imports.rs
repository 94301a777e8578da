//! Who may import whom. The table below is the layering of ARCHITECTURE.md; `use` lines, full paths and Cargo's edges
//! are all held against it.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "imports/planted.rs"]
mod planted;
#[path = "imports/scan.rs"]
mod scan;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One row: where the layer lives, which of ours it may import, and which paths from outside it must not mention.
struct Layer {
    at: &'static str,
    may: &'static [&'static str],
    never: &'static [&'static [&'static str]],
}

const KUBE: &[&str] = &["kube", "kube_client", "kube_runtime", "k8s_openapi"];
const KUBE_CLIENT: &[&str] = &[
    "kube::Client",
    "kube::Api",
    "kube::client",
    "kube::api::Api",
    "kube::runtime",
    "kube_client",
    "kube_runtime",
];
const HTTP: &[&str] = &["hyper", "hyper_util", "axum", "tower"];
const TOKIO: &[&str] = &["tokio"];
const BROKERS: &[&str] = &["async_nats", "rdkafka", "rusqlite", "fjall", "redb"];
const IO: &[&str] = &[
    "std::fs",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "tokio::fs",
    "tokio::net",
];
/// What only `app`, and `buskit` for third parties, may do: read the environment, listen for signals, install
/// telemetry, end the process. Files named `tests.rs` may too: they read `SEED` and the like.
const OUTER: &[&str] = &[
    "std::env",
    "std::process::exit",
    "tokio::signal",
    "tracing_subscriber",
];

/// The first row whose place a file is in counts. `testkit` may be used by the tests of all.
const LAYERS: &[Layer] = &[
    Layer {
        at: "crates/message/",
        may: &[],
        never: &[KUBE, HTTP, TOKIO, BROKERS, IO, OUTER],
    },
    Layer {
        at: "crates/core/",
        may: &["message"],
        never: &[KUBE, HTTP, BROKERS, IO, OUTER],
    },
    Layer {
        at: "crates/dataplane/",
        may: &["core", "message"],
        never: &[KUBE, BROKERS, OUTER],
    },
    Layer {
        at: "crates/api/",
        may: &[],
        never: &[KUBE_CLIENT, HTTP, TOKIO, BROKERS, IO, OUTER],
    },
    Layer {
        at: "crates/monitor/",
        may: &["api", "core"],
        never: &[BROKERS, OUTER],
    },
    // message: the types of core's own surface
    Layer {
        at: "crates/buskit/",
        may: &["core", "dataplane", "monitor", "message"],
        never: &[BROKERS],
    },
    Layer {
        at: "crates/sdk/",
        may: &["message"],
        never: &[KUBE, BROKERS, OUTER],
    },
    Layer {
        at: "crates/jobs/",
        may: &["core", "message"],
        never: &[KUBE, OUTER],
    },
    Layer {
        at: "crates/testkit/",
        may: &["core", "message"],
        never: &[KUBE, BROKERS],
    },
    Layer {
        at: "src/buses/memory",
        may: &["core", "message"],
        never: &[KUBE, HTTP, BROKERS, OUTER],
    },
    Layer {
        at: "src/buses/disk",
        may: &["core", "message"],
        never: &[KUBE, HTTP, OUTER],
    },
    Layer {
        at: "src/buses/nats",
        may: &["core", "message"],
        never: &[KUBE, HTTP, OUTER],
    },
    Layer {
        at: "src/buses/kafka",
        may: &["core", "message"],
        never: &[KUBE, HTTP, OUTER],
    },
    Layer {
        at: "src/buses.rs",
        may: &["buses", "core", "message"],
        never: &[KUBE, HTTP, BROKERS, OUTER],
    },
    Layer {
        at: "src/operator",
        may: &["operator", "api"],
        never: &[BROKERS, OUTER],
    },
    Layer {
        at: "src/ops",
        may: &["ops", "core", "message"],
        never: &[KUBE, OUTER],
    },
    Layer {
        at: "src/packs",
        may: &["packs", "core", "message", "dataplane"],
        never: &[KUBE, OUTER],
    },
    Layer {
        at: "src/cli",
        may: &["cli", "api", "ops"],
        never: &[BROKERS, OUTER],
    },
    Layer {
        at: "src/app",
        may: EVERYTHING,
        never: &[],
    },
    Layer {
        at: "src/lib.rs",
        may: EVERYTHING,
        never: &[],
    },
    Layer {
        at: "src/main.rs",
        may: EVERYTHING,
        never: &[],
    },
    Layer {
        at: "src/bin/",
        may: EVERYTHING,
        never: &[],
    },
    Layer {
        at: "examples/handlers/",
        may: &["sdk"],
        never: &[KUBE],
    },
    Layer {
        at: "examples/third-party-bus/",
        may: &["buskit"],
        never: &[KUBE],
    },
];

const CRATES: &[&str] = &[
    "message",
    "core",
    "dataplane",
    "api",
    "monitor",
    "buskit",
    "sdk",
    "jobs",
    "testkit",
];
const EVERYTHING: &[&str] = &[
    "message",
    "core",
    "dataplane",
    "api",
    "monitor",
    "buskit",
    "jobs",
    "app",
    "buses",
    "operator",
    "ops",
    "packs",
    "cli",
];

/// Only these turn resources into core's types, so only their files may name both.
const BOTH_API_AND_CORE: &[&str] = &["crates/monitor/", "src/main.rs"];
/// The entry points that may import `app`.
const MAY_IMPORT_APP: &[&str] = &["src/app", "src/lib.rs", "src/main.rs", "src/bin/"];
/// Past this a file is split.
const LONGEST_FILE: usize = 600;

/// Everything in the tree at `root` that breaks a rule, one line each.
fn violations(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files(root) {
        let name = file
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/");
        let source = fs::read_to_string(&file).unwrap();
        let lines = source.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!(
                "{name} has {lines} lines; split it ({LONGEST_FILE} at most)"
            ));
        }
        if is_layered(&name) {
            found.extend(
                check(&name, &source)
                    .into_iter()
                    .map(|what| format!("{name}: {what}")),
            );
        }
    }
    found
}

/// Tests, benches, fuzz targets and build scripts stand outside the layers.
fn is_layered(name: &str) -> bool {
    let inner = name.starts_with("src/") || name.contains("/src/");
    inner
        && (name.starts_with("src/")
            || name.starts_with("crates/")
            || name.starts_with("examples/"))
}

fn check(name: &str, source: &str) -> Vec<String> {
    let Some(layer) = LAYERS.iter().find(|layer| name.starts_with(layer.at)) else {
        return vec!["is in no layer: add it to the table in tests/imports.rs".to_owned()];
    };
    let within = name.split_once("src/").unwrap().1.trim_end_matches(".rs");
    let module: Vec<&str> = within
        .split('/')
        .filter(|part| !matches!(*part, "lib" | "main" | "bin" | "mod"))
        .collect();
    let in_root = name.starts_with("src/");
    let paths = scan::paths(source, &module);
    let mut found = Vec::new();
    let mut ours_named = Vec::new();
    for path in &paths {
        let text = path.join("::");
        if let Some(ours) = ours(path, in_root) {
            let own = layer.at.contains(&format!(
                "/{}",
                ours.trim_start_matches("buses::")
                    .split("::")
                    .next()
                    .unwrap()
            ));
            let allowed = own
                || layer
                    .may
                    .iter()
                    .any(|may| ours == *may || ours.starts_with(&format!("{may}::")));
            if ours == "app" && !MAY_IMPORT_APP.iter().any(|at| name.starts_with(at)) {
                found.push(format!("imports app, which nobody may ({text})"));
            } else if !allowed && ours != "testkit" {
                found.push(format!("may not import {ours} ({text})"));
            }
            ours_named.push(ours);
        }
        for never in layer.never.iter().flat_map(|list| list.iter()) {
            let in_test = OUTER.contains(never) && name.ends_with("tests.rs");
            if mentions(path, never) && !in_test {
                found.push(format!("may not mention {never} ({text})"));
            }
        }
    }
    let both = ["api", "core"]
        .iter()
        .all(|one| ours_named.iter().any(|named| named == one));
    if both && !BOTH_API_AND_CORE.iter().any(|at| name.starts_with(at)) {
        found.push("names both api and core: only monitor turns one into the other".to_owned());
    }
    found.dedup();
    found
}

/// Which of our layers a path leads into.
fn ours(path: &[String], in_root: bool) -> Option<String> {
    let first = path.first()?;
    if let Some(krate) = first.strip_prefix("busway_") {
        return CRATES.contains(&krate).then(|| krate.to_owned());
    }
    if !in_root || !matches!(first.as_str(), "crate" | "busway") {
        return None;
    }
    match (path.get(1)?.as_str(), path.get(2)) {
        ("buses", Some(bus)) if bus.chars().all(|c| c.is_lowercase() || c == '*') => {
            Some(format!("buses::{bus}"))
        }
        (module, _) if EVERYTHING.contains(&module) => Some(module.to_owned()),
        _ => None,
    }
}

/// Whether `path` is or leads below `never`; a glob above it pulls it in too.
fn mentions(path: &[String], never: &str) -> bool {
    let never: Vec<&str> = never.split("::").collect();
    for (at, word) in path.iter().enumerate() {
        match never.get(at) {
            None => return true,
            Some(_) if word == "*" => return at > 0,
            Some(expected) if word != expected => return false,
            Some(_) => {}
        }
    }
    path.len() >= never.len()
}

/// Cargo's edges that break a rule; `packages` as `cargo metadata` has them. Dev-dependencies are free.
fn edge_violations(packages: &serde_json::Value) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages.as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        // The root's layers are its modules; benches and examples stand outside.
        let manifest = package["manifest_path"].as_str().unwrap();
        if !manifest.contains("/crates/") {
            continue;
        }
        let place = format!("crates/{}/", name.trim_start_matches("busway-"));
        let Some(layer) = LAYERS.iter().find(|layer| layer.at == place) else {
            found.push(format!(
                "{name} is in no layer: add it to the table in tests/imports.rs"
            ));
            continue;
        };
        let edges = package["dependencies"].as_array().unwrap();
        for edge in edges.iter().filter(|edge| edge["kind"].is_null()) {
            let to = edge["name"].as_str().unwrap();
            let import = to.replace('-', "_");
            let ours_refused = to
                .strip_prefix("busway-")
                .is_some_and(|to| !layer.may.contains(&to));
            if ours_refused
                || layer
                    .never
                    .iter()
                    .flat_map(|list| list.iter())
                    .any(|never| *never == import)
            {
                found.push(format!("{name} may not depend on {to}"));
            }
            let features = edge["features"].as_array().unwrap();
            let client = features
                .iter()
                .any(|feature| feature == "client" || feature == "runtime");
            if import == "kube" && client && layer.never.contains(&KUBE_CLIENT) {
                found.push(format!("{name} may not turn on kube's client"));
            }
        }
    }
    found
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "crates", "examples", "tests", "benches", "fuzz"]
        .map(|name| root.join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn every_source_keeps_to_its_layer_and_its_length() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(
        rust_files(root).len() > 10,
        "the sources are there to be read"
    );
    let found = violations(root);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_cargo_edge_keeps_to_its_layer() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let found = edge_violations(&metadata["packages"]);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
