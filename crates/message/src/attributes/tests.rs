#![allow(clippy::unwrap_used, reason = "tests")]

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn message(headers: &[(&str, &str)], body: &str) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Message::new(map, body.to_owned().into())
}

#[test]
fn attributes_are_the_same_in_both_modes() {
    let binary = message(
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "%C3%BC%20100%25"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-number", "-7"),
            ("ce-flag", "true"),
            ("ce-empty", ""),
            ("content-type", "text/plain"),
            ("x-request-id", "r"),
        ],
        "data",
    );
    let structured = message(
        &[
            ("content-type", "application/cloudevents+json"),
            ("x-request-id", "r"),
        ],
        r#"{"specversion":"1.0","id":"\u00fc 100%","source":"/s","type":"t","number":-7,
            "flag":true,"empty":"","datacontenttype":"text/plain","unset":null,"data":"data"}"#,
    );
    for (name, value) in [
        ("specversion", Some("1.0")),
        ("id", Some("ü 100%")),
        ("source", Some("/s")),
        ("type", Some("t")),
        ("number", Some("-7")),
        ("flag", Some("true")),
        ("empty", Some("")),
        ("datacontenttype", Some("text/plain")),
        ("unset", None),
        ("data", None),
        ("ID", None),
        ("x-request-id", None),
        ("xrequestid", None),
        ("", None),
    ] {
        assert_eq!(attribute(&binary, name).as_deref(), value, "binary {name}");
        assert_eq!(
            attribute(&structured, name).as_deref(),
            value,
            "structured {name}"
        );
    }
}

#[test]
fn names_of_any_length_are_found() {
    for length in [1, 60, 61, 62, 200] {
        let name = "a".repeat(length);
        let event = message(
            &[("ce-specversion", "1.0"), (&format!("ce-{name}"), "here")],
            "",
        );
        assert_eq!(
            attribute(&event, &name).as_deref(),
            Some("here"),
            "{length}"
        );
        assert_eq!(attribute(&event, &"b".repeat(length)), None);
    }
}

#[test]
fn minus_zero_is_zero() {
    let event = r#"{"a":-0,"b":0}"#;
    let event = message(&[("content-type", "application/cloudevents+json")], event);
    assert_eq!(attribute(&event, "a"), attribute(&event, "b"));
}

#[test]
fn on_a_plain_message_headers_are_attributes_with_and_without_hyphens() {
    let plain = message(
        &[("x-request-id", "r%20"), ("content-type", "text/plain")],
        "",
    );
    assert_eq!(attribute(&plain, "x-request-id").as_deref(), Some("r%20"));
    assert_eq!(attribute(&plain, "xrequestid").as_deref(), Some("r%20"));
    assert_eq!(
        attribute(&plain, "contenttype").as_deref(),
        Some("text/plain")
    );
    assert_eq!(attribute(&plain, "id"), None);
    assert_eq!(attribute(&plain, ""), None);
}

#[test]
fn an_event_that_is_not_valid_has_what_can_be_read() {
    for body in ["", "[]", "{\"id\":"] {
        let event = message(&[("content-type", "application/cloudevents+json")], body);
        assert_eq!(attribute(&event, "id"), None);
    }
    let mut event = message(&[("ce-specversion", "9"), ("ce-id", "1")], "");
    assert_eq!(attribute(&event, "id").as_deref(), Some("1"));
    let broken = HeaderValue::from_bytes(b"\xff").unwrap();
    event = event.with_header(HeaderName::from_static("ce-id"), broken);
    assert_eq!(attribute(&event, "id"), None);
}

proptest! {
    #[test]
    fn any_name_can_be_asked_for(name in any::<String>()) {
        for headers in [&[("ce-specversion", "1.0")][..], &[("content-type", "application/cloudevents+json")], &[]] {
            let message = message(headers, "{}");
            let found = attribute(&message, &name).filter(|_| name != "specversion");
            prop_assert_eq!(found, None);
        }
    }
}
