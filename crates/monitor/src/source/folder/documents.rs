//! A file's text as documents, read as kubectl reads it.

use busway_api::{API_VERSION, GROUP};
use serde_json::Value;

use crate::source::Kind;

/// Documents of one file that are read; more are told and not read. Far past what a person keeps in one.
const MAX_DOCUMENTS: usize = 10_000;

/// What one document is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// One of ours.
    Ours(Kind, Value),
    /// A Namespace, for its labels.
    Namespace(Value),
    /// A ConfigMap: a bus may name one.
    ConfigMap(Value),
    /// Somebody else's kind: not for us.
    Foreign(String),
    /// It cannot be read, or is not an object.
    Broken(String),
}

/// The documents of a file, each with its place in it, from 1.
pub(crate) fn parse(file: &str, text: &str) -> Vec<(usize, Document)> {
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
    } else if (version, kind) == ("v1", "ConfigMap") {
        Document::ConfigMap(value)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn spec(text: &str) -> Value {
        let head = "apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {name: s}\nspec:\n";
        match parse("a.yaml", &format!("{head}{text}")).remove(0) {
            (1, Document::Ours(Kind::Subscription, value)) => value["spec"].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_mean_what_kubectl_takes_them_for() {
        let said = spec(
            "  a: yes\n  b: 'yes'\n  c: 10\n  d: 1.5\n  e: ~\n  f: 200ms\n  g: \"10\"\n  h: off\n",
        );
        assert_eq!(
            said,
            json!({ "a": true, "b": "yes", "c": 10, "d": 1.5, "e": null, "f": "200ms", "g": "10", "h": false })
        );
        let block = spec("  text: |\n    one\n    --- not a document\n    two\n");
        assert_eq!(block, json!({ "text": "one\n--- not a document\ntwo\n" }));
        assert_eq!(
            spec("  a: &x {b: 1}\n  c: *x\n"),
            json!({ "a": { "b": 1 }, "c": { "b": 1 } })
        );
    }

    #[test]
    fn a_list_is_its_items_and_a_json_file_may_have_several() {
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Namespace"}, {"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "v1", "kind": "List"}]}"#;
        let found = parse("a.json", &format!("{list}\n{list} nonsense"));
        let kinds: Vec<_> = found
            .iter()
            .map(|(place, document)| match document {
                Document::Ours(..) => (*place, "ours"),
                Document::Namespace(_) => (*place, "namespace"),
                Document::ConfigMap(_) => (*place, "config map"),
                Document::Foreign(_) => (*place, "foreign"),
                Document::Broken(_) => (*place, "broken"),
            })
            .collect();
        let all = ["namespace", "config map", "foreign", "broken"];
        let of = |place| all.map(|kind| (place, kind));
        assert_eq!(kinds, [of(1).as_slice(), &of(2), &[(3, "broken")]].concat());
    }

    #[test]
    fn what_is_no_object_of_ours_says_so() {
        for (text, why) in [
            ("- a\n- b", "not an object"),
            ("kind: Channel", "apiVersion not set"),
            ("apiVersion: channels.busway.dev/v1alpha1", "kind not set"),
            (
                "{apiVersion: channels.busway.dev/v1, kind: Channel}",
                "no matches for kind \"Channel\"",
            ),
            (
                "{apiVersion: channels.busway.dev/v1alpha1, kind: Topic}",
                "no matches for kind \"Topic\"",
            ),
            ("a: [", "error parsing YAML"),
            ("a: 1\na: 2", "error parsing YAML"),
        ] {
            match parse("a.yaml", text).as_slice() {
                [(1, Document::Broken(said))] => assert!(said.contains(why), "{text:?}: {said}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert_eq!(parse("a.yaml", "# nothing\n---\n\n---\n"), []);
    }

    #[test]
    fn a_yaml_bomb_is_refused_and_not_blown_up() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(matches!(
            parse("a.yaml", &text).as_slice(),
            [(1, Document::Broken(_))]
        ));
        let deep = "[".repeat(100_000);
        assert!(matches!(
            parse("a.yaml", &deep).as_slice(),
            [(1, Document::Broken(_))]
        ));
        assert!(matches!(
            parse("a.json", &deep).as_slice(),
            [(1, Document::Broken(_))]
        ));
    }
}
