//! A file's text as documents, read as kubectl reads it.

use busway_api::{API_VERSION, GROUP};
use serde_json::Value;

use crate::source::Kind;

/// Documents of one file that are read; more are told and not read. Far past what a person keeps in one.
const MAX_DOCUMENTS: usize = 10_000;

/// What one document is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Document {
    /// One of ours.
    Ours(Kind, Value),
    /// A Namespace, for its labels.
    Namespace(Value),
    /// Somebody else's kind: not for us.
    Foreign(String),
    /// It cannot be read, or is not an object.
    Broken(String),
}

/// The documents of a file, each with its place in it, from 1.
pub(super) fn parse(file: &str, text: &str) -> Vec<(usize, Document)> {
    let values = if file.ends_with(".json") {
        json(text)
    } else {
        split(text).map(yaml).collect()
    };
    let mut documents = Vec::new();
    for (place, value) in (1..).zip(values) {
        match value {
            Ok(Value::Null) => {}
            Ok(value) => sort(value, place, &mut documents),
            Err(why) => documents.push((place, Document::Broken(why))),
        }
        if documents.len() > MAX_DOCUMENTS {
            documents.truncate(MAX_DOCUMENTS);
            let why =
                format!("more than {MAX_DOCUMENTS} documents in one file: the rest is not read");
            documents.push((place, Document::Broken(why)));
            break;
        }
    }
    documents
}

/// One document after another, so that a mistake in one does not hide the others.
fn split(text: &str) -> impl Iterator<Item = String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            documents.push(String::new());
        }
        if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.into_iter()
}

fn yaml(document: String) -> Result<Value, String> {
    // Comments alone are no document; serde would make an error of them.
    let blank = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line == "..."
    };
    if document.lines().all(blank) {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(&document, options).map_err(|error| {
        let text = error.to_string();
        format!(
            "error parsing YAML: {}",
            text.lines().next().unwrap_or_default()
        )
    })
}

fn json(text: &str) -> Vec<Result<Value, String>> {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let failed = value.is_err();
        found.push(value.map_err(|error| format!("error parsing JSON: {error}")));
        if failed {
            break;
        }
    }
    found
}

fn sort(value: Value, place: usize, documents: &mut Vec<(usize, Document)>) {
    let text = |key| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let broken = |why: &str| (place, Document::Broken(why.to_owned()));
    if !value.is_object() {
        return documents.push(broken("it is not an object with apiVersion and kind"));
    }
    if version.is_empty() {
        return documents.push(broken("apiVersion not set"));
    }
    if kind.is_empty() {
        return documents.push(broken("kind not set"));
    }
    if (version, kind) == ("v1", "List") {
        let items = value.get("items").and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            // A List in a List is nobody's.
            if item.get("kind").and_then(Value::as_str) == Some("List") {
                documents.push(broken("a List in a List"));
            } else {
                sort(item.clone(), place, documents);
            }
        }
        return;
    }
    let document = if (version, kind) == ("v1", "Namespace") {
        Document::Namespace(value)
    } else if version.split('/').next() != Some(GROUP) {
        Document::Foreign(format!("{kind} ({version})"))
    } else {
        match kind_of(kind).filter(|_| version == API_VERSION) {
            Some(kind) => Document::Ours(kind, value),
            None => Document::Broken(format!(
                "no matches for kind \"{kind}\" in version \"{version}\""
            )),
        }
    };
    documents.push((place, document));
}

fn kind_of(name: &str) -> Option<Kind> {
    [
        Kind::Bus,
        Kind::ClusterBus,
        Kind::Channel,
        Kind::Subscription,
    ]
    .into_iter()
    .find(|kind| format!("{kind:?}") == name)
}
