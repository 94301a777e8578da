#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http::header;
use proptest::prelude::*;

use super::*;
use crate::{
    Kind,
    attributes::tests::attribute,
    names::{BATCH_JSON, CE_SPECVERSION, STRUCTURED_JSON},
};

const INFO: ErrorInfo<'_> = ErrorInfo {
    dest: "http://user:secret@web.default.svc/a%20b?token=secret",
    cause: Cause::Answer {
        status: 503,
        body: b"try later",
    },
    attempts: 11,
};
const LATER: ErrorInfo<'_> = ErrorInfo {
    dest: "http://other",
    cause: Cause::NoAnswer {
        reason: "ConnectError",
    },
    attempts: 1,
};
const NAMES: [&str; 4] = [
    ERROR_DEST_ATTRIBUTE,
    ERROR_CODE_ATTRIBUTE,
    ERROR_DATA_ATTRIBUTE,
    ERROR_ATTEMPTS_ATTRIBUTE,
];
const OF_INFO: [&str; 4] = ["http://web.default.svc/a%20b", "503", "dHJ5IGxhdGVy", "11"];
const OF_LATER: [&str; 4] = ["http://other", "0", "ConnectError", "1"];

fn structured(body: &str) -> Message {
    let value = HeaderValue::from_static(STRUCTURED_JSON);
    Message::default()
        .with_body(Bytes::copy_from_slice(body.as_bytes()))
        .with_header(header::CONTENT_TYPE, value)
}

fn binary() -> Message {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/"),
        ("type", "t"),
    ] {
        let name = HeaderName::try_from(format!("ce-{name}")).unwrap();
        headers.insert(name, HeaderValue::from_static(value));
    }
    Message::new(headers, Bytes::from_static(b"data"))
}

fn attributes(message: &Message) -> Vec<String> {
    NAMES
        .iter()
        .map(|name| attribute(message, name).unwrap().into_owned())
        .collect()
}

fn error_headers(message: &Message) -> Vec<&str> {
    let names = ["dest", "code", "data", "attempts"];
    names
        .iter()
        .map(|name| message.header(&format!("busway-error-{name}")).unwrap())
        .collect()
}

#[test]
fn a_plain_message_gets_headers() {
    let plain = Message::default().with_body(Bytes::from_static(b"body"));
    let marked = mark(plain.clone(), &INFO);
    assert_eq!(error_headers(&marked), OF_INFO);
    assert_eq!(marked.headers().len(), 4);
    assert_eq!(marked.body(), plain.body());
    assert_eq!(error_headers(&mark(marked, &LATER)), OF_LATER);
}

#[test]
fn a_binary_event_gets_extensions() {
    let marked = mark(binary(), &INFO);
    assert_eq!(attributes(&marked), OF_INFO);
    assert_eq!(
        marked.header("ce-knativeerrordest"),
        Some("http://web.default.svc/a%2520b")
    );
    assert_eq!(marked.body(), binary().body());
    assert_eq!(marked.headers().len(), binary().headers().len() + 4);
    assert!(matches!(Kind::of(&marked).unwrap(), Kind::Event { .. }));
    let again = mark(marked, &LATER);
    assert_eq!(attributes(&again), OF_LATER);
    assert_eq!(again.headers().len(), binary().headers().len() + 4);
}

#[test]
fn a_structured_event_gets_members_before_its_end_and_stays_otherwise() {
    let start =
        r#" { "specversion":"1.0", "id":"é\u00e9","source":"/","type":"t" , "data":{"a" : "}"} "#;
    let marked = mark(structured(&format!("{start}}} \n")), &INFO);
    let members = r#","knativeerrordest":"http://web.default.svc/a%20b","knativeerrorcode":503,"knativeerrordata":"dHJ5IGxhdGVy","buswayattempts":11"#;
    assert_eq!(*marked.body(), format!("{start}{members}}} \n"));
    assert_eq!(marked.header("content-type"), Some(STRUCTURED_JSON));
    assert_eq!(marked.headers().len(), 1);
    assert!(matches!(Kind::of(&marked).unwrap(), Kind::Event { .. }));
    assert_eq!(attributes(&marked), OF_INFO);
    let again = mark(marked, &LATER);
    let members = r#","knativeerrordest":"http://other","knativeerrorcode":0,"knativeerrordata":"ConnectError","buswayattempts":1"#;
    assert_eq!(*again.body(), format!("{start}{members}}} \n"));
}

#[test]
fn a_mark_of_another_is_replaced_where_it_stands_and_the_rest_is_added() {
    let marked = mark(
        structured(
            r#"{"knativeerrorcod\u0065" : null ,"data":{"knativeerrordest":"in data"},"knativeerrordest":[ 1 ]}"#,
        ),
        &LATER,
    );
    let expected = r#"{"knativeerrorcod\u0065" : 0 ,"data":{"knativeerrordest":"in data"},"knativeerrordest":"http://other","knativeerrordata":"ConnectError","buswayattempts":1}"#;
    assert_eq!(marked.body(), expected);
}

#[test]
fn an_object_without_members_stays_json() {
    let marked = mark(structured("{ }"), &LATER);
    assert!(
        serde_json::from_slice::<serde_json::Value>(marked.body()).is_ok(),
        "{marked:?}"
    );
    assert_eq!(attributes(&marked), OF_LATER);
}

#[test]
fn what_only_says_that_it_is_an_event_gets_headers() {
    for body in ["", "[]", "{", "{}}"] {
        let marked = mark(structured(body), &INFO);
        assert_eq!(error_headers(&marked), OF_INFO, "{body:?}");
        assert_eq!(marked.body(), body);
    }
    let batch = Message::default().with_header(header::CONTENT_TYPE, BATCH_JSON.parse().unwrap());
    assert_eq!(error_headers(&mark(batch, &INFO)), OF_INFO);
}

#[test]
fn only_the_beginning_of_an_answer_is_repeated() {
    for (length, repeated) in [
        (0, 0),
        (1023, 1023),
        (1024, 1024),
        (1025, 1024),
        (70_000, 1024),
    ] {
        let body: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
        let cause = Cause::Answer {
            status: 500,
            body: &body,
        };
        let marked = mark(binary(), &ErrorInfo { cause, ..INFO });
        let data = attribute(&marked, ERROR_DATA_ATTRIBUTE).unwrap();
        assert_eq!(
            STANDARD.decode(&*data).unwrap(),
            body[..repeated],
            "{length}"
        );
    }
}

#[test]
fn attempts_never_exceed_an_attributes_integer() {
    let marked = mark(
        structured("{}"),
        &ErrorInfo {
            attempts: u32::MAX,
            ..INFO
        },
    );
    let attempts = attribute(&marked, ERROR_ATTEMPTS_ATTRIBUTE).unwrap();
    assert_eq!(attempts, "2147483647");
}

proptest! {
    #[test]
    fn any_message_can_be_marked_twice(
        kind in prop_oneof![Just(Some(STRUCTURED_JSON)), Just(None)],
        is_binary: bool,
        body in prop_oneof![any::<String>(), Just("{\"a\":1}".to_owned()), "\\{ ?(\"[ab]\":[1-9],?){0,3} ?\\}"],
        dest: String,
        reason: String,
    ) {
        let mut message = Message::default().with_body(body.clone().into());
        if let Some(kind) = kind {
            message = message.with_header(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if is_binary {
            message = message.with_header(CE_SPECVERSION, HeaderValue::from_static("1.0"));
        }
        let info = ErrorInfo { dest: &dest, cause: Cause::NoAnswer { reason: &reason }, attempts: 3 };
        let once = mark(message, &info);
        prop_assert_eq!(mark(once.clone(), &info), once.clone());
        let as_headers = once.headers().contains_key(BUSWAY_ERROR_DATA);
        if as_headers {
            prop_assert_eq!(once.body(), body.as_bytes());
        } else {
            let found = attribute(&once, ERROR_DATA_ATTRIBUTE).unwrap().into_owned();
            prop_assert_eq!(found, reason);
            let found = attribute(&once, ERROR_DEST_ATTRIBUTE).unwrap().into_owned();
            prop_assert_eq!(found, redact_url(&dest));
        }
    }
}
