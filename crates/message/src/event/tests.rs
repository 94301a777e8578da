#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const VERSIONS: [SpecVersion; 2] = [SpecVersion::V03, SpecVersion::V1];
const REQUIRED: [(&str, &str); 3] = [("id", "1"), ("source", "/s"), ("type", "t")];

fn message(headers: &[(&str, &str)], body: &str) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    Message::new(map, Bytes::copy_from_slice(body.as_bytes()))
}

/// A binary event with the required attributes, then these; nothing removes one.
fn binary(version: SpecVersion, attributes: &[(&str, Option<&str>)]) -> Message {
    let mut all: Vec<(&str, &str)> = vec![("specversion", version.as_str())];
    all.extend(REQUIRED);
    for (name, value) in attributes {
        all.retain(|(other, _)| other != name);
        all.extend(value.map(|value| (*name, value)));
    }
    let names: Vec<_> = all.iter().map(|(name, _)| format!("ce-{name}")).collect();
    let lines: Vec<_> = names
        .iter()
        .zip(&all)
        .map(|(name, (_, value))| (&**name, *value))
        .collect();
    message(&lines, "data")
}

/// A structured event with the required attributes, then these in JSON; nothing removes one.
fn json(version: SpecVersion, members: &[(&str, Option<&str>)]) -> Message {
    let mut all = vec![(
        "specversion".to_owned(),
        format!("\"{}\"", version.as_str()),
    )];
    all.extend(REQUIRED.map(|(name, value)| (name.to_owned(), format!("\"{value}\""))));
    for (name, value) in members {
        all.retain(|(other, _)| other != name);
        all.extend(value.map(|value| ((*name).to_owned(), value.to_owned())));
    }
    let members: Vec<_> = all
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    structured_message(&format!("{{{}}}", members.join(",")))
}

fn structured_message(body: &str) -> Message {
    message(&[("content-type", STRUCTURED_JSON)], body)
}

#[track_caller]
fn assert_invalid(message: &Message, reason: &str, attribute: Option<&str>) {
    let error = match Kind::of(message) {
        Ok(kind) => panic!("{kind:?}: {message:?}"),
        Err(error) => error,
    };
    assert_eq!(
        (error.reason(), error.attribute()),
        (reason, attribute),
        "{message:?}: {error}"
    );
}

#[track_caller]
fn assert_event(message: &Message, mode: Mode, version: SpecVersion) {
    assert_eq!(
        Kind::of(message).unwrap(),
        Kind::Event { mode, version },
        "{message:?}"
    );
}

#[test]
fn what_does_not_say_that_it_is_an_event_is_plain() {
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[
            ("content-type", "text/plain"),
            ("ce-id", "1"),
            ("ce-type", ""),
        ],
        &[("content-type", "application/cloudevent+json")],
        &[("content-type", "")],
    ] {
        assert_eq!(
            Kind::of(&message(headers, "{\"specversion\":\"9\"}")).unwrap(),
            Kind::Plain
        );
    }
}

#[test]
fn the_content_type_decides_before_the_headers() {
    for kind in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON ; charset=utf-8",
    ] {
        let body = json(SpecVersion::V03, &[]).body().clone();
        let message = binary(SpecVersion::V1, &[]).with_body(body);
        let message = message.with_header(header::CONTENT_TYPE, kind.parse().unwrap());
        assert_event(&message, Mode::Structured, SpecVersion::V03);
    }
    for kind in [
        "application/cloudevents-batch+json",
        "APPLICATION/cloudevents-batch+json;a=b",
    ] {
        assert_eq!(
            Kind::of(&message(&[("content-type", kind)], "")).unwrap(),
            Kind::Batch
        );
    }
}

#[test]
fn formats_other_than_json_are_refused_by_name() {
    for kind in [
        "application/cloudevents+avro",
        "application/cloudevents",
        "application/cloudevents+json2",
        "application/cloudevents-batch+protobuf; a=b",
        "application/cloudevents+json, text/plain",
    ] {
        let message = message(&[("content-type", kind)], "{}");
        assert_invalid(&message, "UnsupportedEventFormat", None);
        let text = Kind::of(&message).unwrap_err().to_string();
        assert!(text.contains(essence(kind)), "{text}");
    }
}

#[test]
fn an_event_is_valid_in_both_modes_and_versions() {
    for version in VERSIONS {
        assert_event(&binary(version, &[]), Mode::Binary, version);
        assert_event(&json(version, &[]), Mode::Structured, version);
    }
}

#[test]
fn each_required_attribute_is_required_in_both_modes_and_versions() {
    for version in VERSIONS {
        for (name, _) in REQUIRED {
            assert_invalid(
                &binary(version, &[(name, None)]),
                "MissingAttribute",
                Some(name),
            );
            assert_invalid(
                &json(version, &[(name, None)]),
                "MissingAttribute",
                Some(name),
            );
            assert_invalid(
                &json(version, &[(name, Some("null"))]),
                "MissingAttribute",
                Some(name),
            );
            assert_invalid(
                &binary(version, &[(name, Some(""))]),
                "InvalidAttribute",
                Some(name),
            );
            assert_invalid(
                &json(version, &[(name, Some("\"\""))]),
                "InvalidAttribute",
                Some(name),
            );
            assert_invalid(
                &json(version, &[(name, Some("1"))]),
                "InvalidAttribute",
                Some(name),
            );
            assert_invalid(
                &json(version, &[(name, Some("[]"))]),
                "InvalidAttribute",
                Some(name),
            );
        }
    }
    let name = "specversion";
    for value in [None, Some("null")] {
        assert_invalid(
            &json(SpecVersion::V1, &[(name, value)]),
            "MissingAttribute",
            Some(name),
        );
    }
    assert_invalid(
        &json(SpecVersion::V1, &[(name, Some("1.0"))]),
        "InvalidAttribute",
        Some(name),
    );
}

#[test]
fn other_versions_are_refused() {
    for version in [
        "0.1", "0.2", "0.4", "1", "1.0.1", "1.1", "2.0", "", "v1.0", "1.0, 1.0",
    ] {
        let name = "specversion";
        let event = binary(SpecVersion::V1, &[(name, Some(version))]);
        assert_invalid(&event, "UnsupportedSpecVersion", Some(name));
        let event = json(SpecVersion::V1, &[(name, Some(&format!("\"{version}\"")))]);
        assert_invalid(&event, "UnsupportedSpecVersion", Some(name));
    }
}

#[test]
fn values_that_the_specification_forbids_are_refused_in_both_modes() {
    let both = |version, name, value: &str, valid: bool| {
        let quoted = serde_json::to_string(value).unwrap();
        let binary = binary(version, &[(name, Some(&crate::value::to_header(value)))]);
        let json = json(version, &[(name, Some(&quoted))]);
        if valid {
            assert_event(&binary, Mode::Binary, version);
            assert_event(&json, Mode::Structured, version);
        } else {
            assert_invalid(&binary, "InvalidAttribute", Some(name));
            assert_invalid(&json, "InvalidAttribute", Some(name));
        }
    };
    for version in VERSIONS {
        for (name, value, valid) in [
            ("source", "not a uri", false),
            ("source", "urn:a:b", true),
            ("id", "a\u{7}", false),
            ("id", "ünïcode 😀 100%", true),
            ("type", "\u{fffe}", false),
            ("subject", "", false),
            ("subject", "a b", true),
            ("time", "yesterday", false),
            ("time", "", false),
            ("time", "2018-04-05T17:31:00Z", true),
            ("datacontenttype", "json", false),
            ("datacontenttype", "text/xml", true),
            ("extension", "", true),
            ("extension", "a\nb", false),
            ("comexampleextensionofmorethantwentycharacters", "a", true),
        ] {
            both(version, name, value, valid);
        }
    }
    both(SpecVersion::V1, "dataschema", "/relative", false);
    both(SpecVersion::V1, "dataschema", "https://host/schema", true);
    both(SpecVersion::V03, "dataschema", "/an extension", true);
    both(SpecVersion::V03, "schemaurl", "/relative", true);
    both(SpecVersion::V03, "schemaurl", "", false);
    both(SpecVersion::V1, "schemaurl", "", true);
    both(SpecVersion::V1, "0name", "a", true);
    both(SpecVersion::V03, "0name", "a", false);
}

#[test]
fn names_that_no_attribute_may_have_are_refused() {
    for version in VERSIONS {
        for name in ["my-name", "my_name", "data"] {
            let event = binary(version, &[(name, Some("a"))]);
            assert_invalid(&event, "InvalidAttribute", Some(name));
        }
        for name in ["myName", "my-name", "my_name", "ä", ""] {
            for value in ["\"a\"", "null"] {
                let event = json(version, &[(name, Some(value))]);
                assert_invalid(&event, "InvalidAttribute", Some(name));
            }
        }
    }
}

#[test]
fn extensions_have_the_types_of_their_version() {
    for value in [
        "true",
        "false",
        "0",
        "-0",
        "2147483647",
        "-2147483648",
        "\"a\"",
        "null",
    ] {
        assert_event(
            &json(SpecVersion::V1, &[("x", Some(value))]),
            Mode::Structured,
            SpecVersion::V1,
        );
    }
    for value in [
        "1.0",
        "1e3",
        "2147483648",
        "-2147483649",
        "[]",
        "{}",
        "\"\\ud800\"",
    ] {
        assert_invalid(
            &json(SpecVersion::V1, &[("x", Some(value))]),
            "InvalidAttribute",
            Some("x"),
        );
    }
    for value in ["1.5", "{\"a\":[1]}", "[]", "true"] {
        let event = json(SpecVersion::V03, &[("x", Some(value))]);
        assert_event(&event, Mode::Structured, SpecVersion::V03);
    }
}

#[test]
fn data_may_be_any_json_and_base64_must_be_base64() {
    for version in VERSIONS {
        for data in [
            "null",
            "1e999",
            "\"\\ud800\"",
            "[{\"a\":1,\"a\":2}]",
            "\"\\u0000\"",
            "true",
        ] {
            assert_event(
                &json(version, &[("data", Some(data))]),
                Mode::Structured,
                version,
            );
        }
    }
    for (value, valid) in [
        ("\"aGk=\"", true),
        ("\"aG\\/=\"", true),
        ("null", true),
        ("\"aGk\"", false),
        ("1", false),
    ] {
        let event = json(SpecVersion::V1, &[("data_base64", Some(value))]);
        assert_eq!(Kind::of(&event).is_ok(), valid, "{value}");
        let encoding = ("datacontentencoding", Some("\"Base64\""));
        let event = json(SpecVersion::V03, &[encoding, ("data", Some(value))]);
        assert_eq!(Kind::of(&event).is_ok(), valid, "{value}");
        let event = json(SpecVersion::V03, &[("data_base64", Some(value))]);
        assert_invalid(&event, "InvalidAttribute", Some("data_base64"));
    }
    let twice = json(
        SpecVersion::V1,
        &[("data", Some("1")), ("data_base64", Some("\"aGk=\""))],
    );
    assert_invalid(&twice, "InvalidAttribute", Some("data_base64"));
}

#[test]
fn what_is_there_twice_is_refused() {
    let event = structured_message(
        r#"{"specversion":"1.0","id":"1","\u0069d":"2","source":"/","type":"t"}"#,
    );
    assert_invalid(&event, "DuplicateAttribute", Some("id"));
    let event = structured_message(
        r#"{"specversion":"1.0","data":1,"id":"1","source":"/","type":"t","data":1}"#,
    );
    assert_invalid(&event, "DuplicateAttribute", Some("data"));
    let (mut headers, body) = binary(SpecVersion::V1, &[]).into_parts();
    headers.append("ce-id", HeaderValue::from_static("2"));
    assert_invalid(
        &Message::new(headers, body),
        "DuplicateAttribute",
        Some("id"),
    );
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in [
        "",
        " ",
        "[]",
        "1",
        "\"a\"",
        "null",
        "{",
        "{}}",
        "{\"a\":1,}",
        "<xml/>",
        "\u{feff}{}",
    ] {
        assert_invalid(&structured_message(body), "MalformedEvent", None);
    }
    let event = structured_message("").with_body(Bytes::from_static(b"{\"id\":\"\xff\"}"));
    assert_invalid(&event, "MalformedEvent", None);
    assert_invalid(
        &structured_message("{}"),
        "MissingAttribute",
        Some("specversion"),
    );
}

#[test]
fn data_may_nest_as_deep_as_the_limit_and_no_deeper() {
    use crate::json::MAX_NESTING;
    for version in VERSIONS {
        for (depth, valid) in [
            (MAX_NESTING, true),
            (MAX_NESTING + 1, false),
            (300_000, false),
        ] {
            let data = "[".repeat(depth) + &"]".repeat(depth);
            let event = json(version, &[("data", Some(&data))]);
            if valid {
                assert_event(&event, Mode::Structured, version);
            } else {
                assert_invalid(&event, "EventTooDeep", Some("data"));
            }
        }
    }
}

#[test]
fn headers_that_are_not_utf_8_are_refused() {
    for value in [&b"\xff"[..], b"%ff", b"%C0%A0"] {
        for name in ["id", "extension"] {
            let header = HeaderName::try_from(format!("ce-{name}")).unwrap();
            let event = binary(SpecVersion::V1, &[]);
            let event = event.with_header(header, HeaderValue::from_bytes(value).unwrap());
            assert_invalid(&event, "InvalidAttribute", Some(name));
        }
    }
}

#[test]
fn an_error_repeats_little_of_what_was_sent_and_no_control_characters() {
    let event = json(SpecVersion::V1, &[(&"\\n".repeat(1000), Some("1"))]);
    let text = Kind::of(&event).unwrap_err().to_string();
    assert!(text.len() < 200 && !text.contains('\n'), "{text}");
}

proptest! {
    #[test]
    fn any_message_is_told_what_it_is(
        kind in prop_oneof![Just(STRUCTURED_JSON), Just("application/cloudevents"), Just("a/b"), Just("")],
        headers in proptest::collection::vec(("ce-[a-z-]{1,4}|ce-specversion|ce-id|ce-type|ce-source|ce-time", proptest::collection::vec(b' '..=b'~', 0..6)), 0..8),
        body: Vec<u8>,
    ) {
        let mut map = HeaderMap::new();
        map.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        for (name, value) in headers {
            map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(&value).unwrap());
        }
        let message = Message::new(map, body.into());
        if let Err(error) = Kind::of(&message) {
            prop_assert!(!error.to_string().is_empty() && !error.reason().is_empty());
        }
    }

    #[test]
    fn one_broken_byte_never_panics(at in 0usize..100, byte: u8) {
        let event = json(SpecVersion::V1, &[("time", Some("\"2018-04-05T17:31:00Z\"")), ("data", Some("[1]"))]);
        let mut body = event.body().to_vec();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        let _told = Kind::of(&event.with_body(body.into()));
    }
}
