#![allow(clippy::unwrap_used, reason = "tests")]

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// Of a name that is asked for once.
pub(crate) fn attribute<'a>(message: &'a Message, name: &str) -> Option<Cow<'a, str>> {
    super::attribute(message, &AttributeName::new(name).ok()?)
}

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
        ("data_base64", None),
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
fn clones_share_what_was_read_and_a_changed_message_is_read_anew() {
    let event = r#"{"id":"a","flag":true,"escaped":"\u0061"}"#;
    let first = message(&[("content-type", "application/cloudevents+json")], event);
    let clone = first.clone();
    assert_eq!(attribute(&first, "escaped").as_deref(), Some("a"));
    assert!(std::ptr::eq(
        first.members().unwrap(),
        clone.members().unwrap()
    ));
    let other = clone.clone().with_body(r#"{"id":"b"}"#.into());
    assert_eq!(attribute(&other, "id").as_deref(), Some("b"));
    assert_eq!(attribute(&other, "flag"), None);
    assert_eq!(attribute(&clone, "flag").as_deref(), Some("true"));
    let plain = clone.with_header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert_eq!(attribute(&plain, "id"), None);
    assert_eq!(
        attribute(&plain, "contenttype").as_deref(),
        Some("text/plain")
    );
}

#[test]
fn events_of_many_or_large_attributes_are_read_all_the_same() {
    let many: String = (0..200).map(|n| format!(r#""a{n}":{n},"#)).collect();
    let large = "\\n".repeat(5000);
    for (body, name, value) in [
        (format!(r#"{{{many}"last":"x"}}"#), "last", "x".to_owned()),
        (
            format!(r#"{{"large":"{large}","last":true}}"#),
            "last",
            "true".to_owned(),
        ),
        (
            format!(r#"{{"large":"{large}"}}"#),
            "large",
            "\n".repeat(5000),
        ),
    ] {
        let event = message(&[("content-type", "application/cloudevents+json")], &body);
        assert!(matches!(event.members(), Some(Members::Many)));
        assert_eq!(attribute(&event, name), Some(value.into()));
    }
}

#[test]
fn the_first_of_a_repeated_attribute_counts() {
    let event = message(
        &[("content-type", "application/cloudevents+json")],
        r#"{"a":"1","a":"2"}"#,
    );
    assert_eq!(attribute(&event, "a").as_deref(), Some("1"));
}

#[test]
fn what_no_header_can_be_called_is_no_name() {
    for name in ["", "a b", "ü", "a\n"] {
        assert!(AttributeName::new(name).is_err(), "{name}");
    }
    assert_eq!(
        AttributeName::new("X-Request-Id").unwrap().as_str(),
        "X-Request-Id"
    );
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
