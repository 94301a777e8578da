//! The table of good and bad manifests, offline. The same table runs against a real API server
//! (`tests/control_manifests.rs` of the root package).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use busway_api::crds::crds;
use busway_api::validate::Schemas;
use serde_json::Value;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn documents(path: &Path) -> (String, Vec<Value>) {
    let text = fs::read_to_string(path).unwrap();
    let documents = serde_saphyr::from_multiple(&text).unwrap();
    (text, documents)
}

/// `# refused: PATH: PART OF MESSAGE`.
fn expected(text: &str) -> (String, String) {
    let line = text
        .lines()
        .next()
        .unwrap()
        .strip_prefix("# refused: ")
        .unwrap();
    let (path, message) = line.split_once(": ").unwrap();
    (
        path.trim_start_matches("<nil>").to_owned(),
        message.to_owned(),
    )
}

#[test]
fn good_manifests_are_accepted_and_decode() {
    let schemas = Schemas::new();
    for path in files("good") {
        let mut stored = None;
        for document in documents(&path).1 {
            let checked = schemas.check(&document, stored.as_ref());
            let object = checked.unwrap_or_else(|wrong| panic!("{}: {wrong:?}", path.display()));
            decode(&object).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            stored = Some(object);
        }
    }
}

#[test]
fn bad_manifests_are_refused_at_the_path_and_with_the_words_they_name() {
    let schemas = Schemas::new();
    for path in files("bad") {
        let (text, mut documents) = documents(&path);
        let (field, message) = expected(&text);
        let last = documents.pop().unwrap();
        let mut stored = None;
        for earlier in documents {
            stored = Some(schemas.check(&earlier, stored.as_ref()).unwrap());
        }
        let Err(wrong) = schemas.check(&last, stored.as_ref()) else {
            panic!("{} is accepted", path.display());
        };
        assert!(
            wrong.iter().any(|refusal| {
                refusal.path == field
                    && refusal
                        .to_string()
                        .to_lowercase()
                        .contains(&message.to_lowercase())
            }),
            "{}: {wrong:?}",
            path.display()
        );
    }
}

#[test]
fn every_rule_is_refused_by_a_bad_manifest_and_met_by_a_good_one() {
    let mut rules = BTreeSet::new();
    for crd in crds() {
        collect_messages(&serde_json::to_value(&crd).unwrap(), &mut rules);
    }
    assert!(rules.len() > 20, "{rules:?}");
    let schemas = Schemas::new();
    let mut refused = BTreeSet::new();
    for path in files("bad") {
        let mut stored = None;
        for document in documents(&path).1 {
            match schemas.check(&document, stored.as_ref()) {
                Ok(object) => stored = Some(object),
                Err(wrong) => refused.extend(wrong.into_iter().map(|refusal| refusal.detail)),
            }
        }
    }
    let never: Vec<_> = rules.difference(&refused).collect();
    assert!(never.is_empty(), "no bad manifest shows these: {never:#?}");
}

#[test]
fn what_is_no_kind_of_ours_is_refused() {
    let schemas = Schemas::new();
    for (api_version, kind) in [
        (busway_api::API_VERSION, "Stream"),
        ("channels.busway.dev/v2", "Channel"),
        ("v1", "Service"),
    ] {
        let manifest = serde_json::json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "it" } });
        assert!(!schemas.knows(&manifest));
        let wrong = schemas.check(&manifest, None).unwrap_err();
        assert_eq!(wrong[0].path, "kind");
    }
    for nothing in [
        Value::Null,
        serde_json::json!([]),
        serde_json::json!({ "kind": 3 }),
    ] {
        assert!(schemas.check(&nothing, None).is_err());
    }
}

fn collect_messages(value: &Value, rules: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let validations = fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in validations.into_iter().flatten() {
                rules.insert(
                    rule["message"]
                        .as_str()
                        .expect("every rule has a message")
                        .to_owned(),
                );
            }
            fields
                .values()
                .for_each(|inner| collect_messages(inner, rules));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|inner| collect_messages(inner, rules)),
        _ => {}
    }
}

fn decode(object: &Value) -> Result<(), serde_json::Error> {
    use busway_api::{Bus, Channel, ClusterBus, Subscription};
    match object["kind"].as_str() {
        Some("Bus") => serde_json::from_value::<Bus>(object.clone()).map(drop),
        Some("ClusterBus") => serde_json::from_value::<ClusterBus>(object.clone()).map(drop),
        Some("Channel") => serde_json::from_value::<Channel>(object.clone()).map(drop),
        _ => serde_json::from_value::<Subscription>(object.clone()).map(drop),
    }
}
