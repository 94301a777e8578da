//! Every case of the conformance kit of CloudEvents SQL, on the same event in structured and in
//! binary mode.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use busway_core::filter::{
    Failure,
    cesql::{Evaluation, Expression, Value},
};
use busway_message::{Message, convert::to_binary};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

/// Cases of the pinned version; a kit that lost some is not the kit.
const CASES: usize = 275;

/// One file.
#[derive(Deserialize)]
struct Topic {
    name: String,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    expression: String,
    result: Option<Scalar>,
    error: Option<String>,
    event: Option<BTreeMap<String, Scalar>>,
    #[serde(default)]
    event_overrides: BTreeMap<String, Scalar>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Boolean(bool),
    Integer(i32),
    Text(String),
}

impl Scalar {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::Text(text) => Value::String(Cow::Borrowed(text)),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Boolean(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

impl Case {
    fn event(&self) -> Message {
        let any = || {
            let text =
                |(name, value): (&str, &str)| (name.to_owned(), Scalar::Text(value.to_owned()));
            [
                ("specversion", "1.0"),
                ("id", "any"),
                ("source", "/any"),
                ("type", "any.type"),
                ("subject", "any"),
            ]
            .map(text)
            .into()
        };
        let mut attributes = self.event.clone().unwrap_or_else(any);
        attributes.extend(self.event_overrides.clone());
        let attributes: serde_json::Map<_, _> = attributes
            .into_iter()
            .map(|(name, value)| (name, value.json()))
            .collect();
        let mut headers = HeaderMap::new();
        let structured = HeaderValue::from_static("application/cloudevents+json");
        headers.insert(header::CONTENT_TYPE, structured);
        Message::new(headers, serde_json::to_vec(&attributes).unwrap().into())
    }

    /// Nothing when it passes, else what was seen.
    fn run(&self) -> Result<(), String> {
        let expression = match Expression::parse(&self.expression) {
            Ok(expression) => expression,
            // Found early: there is no result then.
            Err(error) => {
                let kind = match error.reason() {
                    "ParseError" => "parse",
                    "MissingFunctionError" => "missingFunction",
                    other => other,
                };
                return match self.error.as_deref() == Some(kind) {
                    true => Ok(()),
                    false => Err(format!("refused: {error}")),
                };
            }
        };
        let structured = self.event();
        let binary = to_binary(&structured).map_err(|error| error.to_string())?;
        self.is_met_by(&expression.evaluate(&structured))?;
        self.is_met_by(&expression.evaluate(&binary))
    }

    fn is_met_by(&self, given: &Evaluation<'_>) -> Result<(), String> {
        let error = given.error.map(|error| match error.failure {
            Failure::MissingAttribute => "missingAttribute",
            Failure::Cast => "cast",
            Failure::Math => "math",
            Failure::FunctionEvaluation => "functionEvaluation",
            Failure::NotBoolean | Failure::TooCostly => "generic",
        });
        let result = self.result.as_ref().map(Scalar::value);
        match result.as_ref() == Some(&given.value) && self.error.as_deref() == error {
            true => Ok(()),
            false => Err(format!("gave {:?} and error {error:?}", given.value)),
        }
    }
}

/// The folder that `make tools` fills; the script that fills it knows its name.
fn kit() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hack/tools.sh");
    let told = Command::new(&script).arg("--print-dir").output().unwrap();
    let kit = Path::new(String::from_utf8(told.stdout).unwrap().trim()).join("cesql-tck");
    assert!(kit.is_dir(), "no {}: run `make tools`", kit.display());
    kit
}

#[test]
fn every_case_of_the_conformance_kit_passes() {
    let mut files: Vec<_> = fs::read_dir(kit())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (mut cases, mut failed) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let topic: Topic = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in &topic.tests {
            cases += 1;
            if let Err(seen) = case.run() {
                failed.push(format!(
                    "{}: {}: `{}` {seen}, not {:?} and {:?}",
                    topic.name, case.name, case.expression, case.result, case.error
                ));
            }
        }
    }
    println!("{} passed of {cases}", cases - failed.len());
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert_eq!(cases, CASES);
}
