#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::attributes::tests::attribute;

const VERSIONS: [SpecVersion; 2] = [SpecVersion::V03, SpecVersion::V1];

fn binary(
    version: SpecVersion,
    attributes: &[(&str, &str)],
    kind: Option<&str>,
    body: &[u8],
) -> Message {
    let mut headers = HeaderMap::new();
    let all = [
        ("specversion", version.as_str()),
        ("id", "1"),
        ("source", "/s"),
        ("type", "t"),
    ];
    for (name, value) in all.iter().chain(attributes) {
        let name = HeaderName::try_from(format!("ce-{name}")).unwrap();
        headers.insert(name, HeaderValue::from_str(&to_header(value)).unwrap());
    }
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    }
    Message::new(headers, Bytes::copy_from_slice(body))
}

fn structured(version: SpecVersion, rest: &str) -> Message {
    let version = version.as_str();
    let body = format!(r#"{{"specversion":"{version}","id":"1","source":"/s","type":"t"{rest}}}"#);
    let value = HeaderValue::from_static(STRUCTURED_JSON);
    Message::default()
        .with_body(body.into())
        .with_header(header::CONTENT_TYPE, value)
}

fn body(message: &Message) -> &str {
    std::str::from_utf8(message.body()).unwrap()
}

#[test]
fn data_is_written_in_the_way_that_fits_its_type() {
    for (kind, data, v1, v03) in [
        (None, "", "", ""),
        (
            Some("application/json"),
            " {\"a\": 1e999} ",
            r#","data":{"a": 1e999}"#,
            "",
        ),
        (
            Some("application/vnd.a+json;b=c"),
            "\"text\"",
            r#","data":"text""#,
            "",
        ),
        (Some("text/plain"), "a \"b\"", r#","data":"a \"b\"""#, ""),
        (Some("application/xml"), "<a/>", r#","data":"<a/>""#, ""),
        (
            None,
            "hi",
            r#","data_base64":"aGk=""#,
            r#","datacontentencoding":"base64","data":"aGk=""#,
        ),
        (
            Some("application/json"),
            "hi",
            r#","data_base64":"aGk=""#,
            r#","datacontentencoding":"base64","data":"aGk=""#,
        ),
        (
            Some("text/plain; charset=utf-16"),
            "hi",
            r#","data_base64":"aGk=""#,
            r#","datacontentencoding":"base64","data":"aGk=""#,
        ),
    ] {
        for (version, data_member) in [
            (SpecVersion::V1, v1),
            (SpecVersion::V03, if v03.is_empty() { v1 } else { v03 }),
        ] {
            let kind_member = kind
                .map(|kind| format!(",\"datacontenttype\":\"{kind}\""))
                .unwrap_or_default();
            let written = to_structured(&binary(version, &[], kind, data.as_bytes())).unwrap();
            let expected = structured(version, &format!("{kind_member}{data_member}"));
            assert_eq!(body(&written), body(&expected), "{kind:?}");
            assert_eq!(written.headers(), expected.headers());
            let back = to_binary(&written).unwrap();
            assert_eq!(back.headers(), binary(version, &[], kind, b"").headers());
            let is_json = data_member.contains("\"data\":{");
            assert_eq!(body(&back), if is_json { data.trim() } else { data });
        }
    }
}

#[test]
fn data_is_read_in_the_way_it_was_written() {
    for version in VERSIONS {
        for (rest, kind, data) in [
            ("", None, ""),
            (
                r#","data":{"a": [1]}"#,
                Some("application/json"),
                r#"{"a": [1]}"#,
            ),
            (r#","data":"text""#, Some("application/json"), r#""text""#),
            (r#","data":null"#, Some("application/json"), "null"),
            (
                r#","data":"a\nb","datacontenttype":"text/plain""#,
                Some("text/plain"),
                "a\nb",
            ),
            (
                r#","data":{"a":1},"datacontenttype":"text/xml""#,
                Some("text/xml"),
                r#"{"a":1}"#,
            ),
        ] {
            let read = to_binary(&structured(version, rest)).unwrap();
            assert_eq!(
                (read.header("content-type"), body(&read)),
                (kind, data),
                "{rest}"
            );
        }
    }
    let read = to_binary(&structured(SpecVersion::V1, r#","data_base64":"aGk=""#)).unwrap();
    assert_eq!((read.header("content-type"), body(&read)), (None, "hi"));
    let encoded = r#","datacontentencoding":"base64","data":"aGk=""#;
    let read = to_binary(&structured(SpecVersion::V03, encoded)).unwrap();
    assert_eq!((read.header("content-type"), body(&read)), (None, "hi"));
    assert_eq!(read.header("ce-datacontentencoding"), None);
}

#[test]
fn attributes_keep_their_names_and_canonical_values() {
    let rest = r#","dataschema":"urn:x","number":-7,"flag":true,"unset":null,"text":"ü \"100%\"""#;
    let event = structured(SpecVersion::V1, rest);
    let read = to_binary(&event).unwrap();
    for name in [
        "specversion",
        "id",
        "source",
        "type",
        "dataschema",
        "number",
        "flag",
        "unset",
        "text",
    ] {
        assert_eq!(attribute(&read, name), attribute(&event, name), "{name}");
    }
    assert_eq!(read.header("ce-text"), Some("%C3%BC%20%22100%25%22"));
    assert_eq!(read.header("ce-unset"), None);
    let old = structured(SpecVersion::V03, r#","schemaurl":"/x","map":{"a": 1}"#);
    let read = to_binary(&old).unwrap();
    assert_eq!(read.header("ce-schemaurl"), Some("/x"));
    assert_eq!(attribute(&read, "map").as_deref(), Some("{\"a\": 1}"));
}

#[test]
fn other_headers_go_along_and_copies_of_attributes_do_not() {
    let request_id = HeaderName::from_static("x-request-id");
    let copy = HeaderName::from_static("ce-id");
    let event = structured(SpecVersion::V1, "")
        .with_header(request_id.clone(), HeaderValue::from_static("r"))
        .with_header(copy, HeaderValue::from_static("another"));
    let read = to_binary(&event).unwrap();
    assert_eq!(
        (read.header("x-request-id"), read.header("ce-id")),
        (Some("r"), Some("1"))
    );
    assert_eq!(
        to_structured(&read).unwrap().header("x-request-id"),
        Some("r")
    );
}

#[test]
fn an_event_that_has_the_mode_already_stays_as_it_is() {
    for version in VERSIONS {
        let event = structured(version, ",  \"data\" : 1");
        assert_eq!(to_structured(&event).unwrap(), event);
        let event = binary(version, &[], None, b"");
        assert_eq!(to_binary(&event).unwrap(), event);
    }
}

#[test]
fn what_is_not_one_valid_event_is_refused() {
    let batch = HeaderValue::from_static(crate::names::BATCH_JSON);
    let batch = Message::default().with_header(header::CONTENT_TYPE, batch);
    for message in [Message::default(), batch] {
        assert_eq!(to_structured(&message).unwrap_err().reason(), "NotAnEvent");
        assert_eq!(to_binary(&message).unwrap_err().reason(), "NotAnEvent");
    }
    let invalid = structured(SpecVersion::V1, ",\"time\":\"\"");
    assert_eq!(to_binary(&invalid).unwrap_err().attribute(), Some("time"));
}

#[test]
fn an_encoding_of_0_3_is_believed_only_if_it_is_true() {
    let encoded = |encoding, data: &[u8]| {
        let event = binary(
            SpecVersion::V03,
            &[("datacontentencoding", encoding)],
            None,
            data,
        );
        to_structured(&event)
    };
    let event = encoded("base64", b"aGk=").unwrap();
    assert_eq!(body(&to_binary(&event).unwrap()), "hi");
    assert_eq!(
        encoded("base64", b"hi!").unwrap_err().attribute(),
        Some("data")
    );
    assert_eq!(
        encoded("8bit", b"\xff").unwrap_err().attribute(),
        Some("datacontentencoding")
    );
}

#[test]
fn more_or_longer_attributes_than_headers_can_be_are_refused() {
    let many: String = (0..40_000).map(|at| format!(",\"a{at}\":1")).collect();
    assert_eq!(
        to_binary(&structured(SpecVersion::V1, &many))
            .unwrap_err()
            .reason(),
        "InvalidAttribute"
    );
    let long = format!(",\"{}\":1", "a".repeat(100_000));
    assert_eq!(
        to_binary(&structured(SpecVersion::V1, &long))
            .unwrap_err()
            .reason(),
        "InvalidAttribute"
    );
}

fn string() -> impl Strategy<Value = String> {
    let any = any::<String>().prop_filter("not a String", |it| crate::value::is_string(it));
    prop_oneof![any, "[ -~üé€😀]{0,12}"]
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    /// An event in binary mode whose JSON data, if any, has no white space around it.
    fn event()(
        version in proptest::sample::select(&VERSIONS[..]),
        id in string().prop_filter("empty", |it| !it.is_empty()),
        subject in proptest::option::of("[ -~ü😀]{1,9}"),
        time in any::<bool>(),
        extensions in proptest::collection::btree_map("x[a-z0-9]{0,8}", string(), 0..4),
        (kind, body) in prop_oneof![
            Just((None, Vec::new())),
            any::<Vec<u8>>().prop_map(|bytes| (None, bytes)),
            any::<Vec<u8>>().prop_map(|bytes| (Some("application/octet-stream"), bytes)),
            any::<Vec<u8>>().prop_map(|bytes| (Some("application/json"), bytes)),
            any::<String>().prop_map(|text| (Some("text/plain; charset=UTF-8"), text.into())),
            "<[a-zé]{0,9}/>".prop_map(|text| (Some("text/xml"), text.into())),
            json_value().prop_map(|json| (Some("application/json"), json.to_string().into())),
        ],
    ) -> Message {
        let mut attributes = vec![("id", &*id)];
        attributes.extend(subject.as_deref().map(|subject| ("subject", subject)));
        attributes.extend(time.then_some(("time", "2018-04-05T17:31:00Z")));
        attributes.extend(extensions.iter().map(|(name, value)| (&**name, &**value)));
        let trimmed = if kind == Some("application/json") { body.trim_ascii() } else { &body };
        binary(version, &attributes, kind, trimmed)
    }
}

proptest! {
    #[test]
    fn a_round_trip_loses_nothing(event in event()) {
        let written = to_structured(&event).unwrap();
        let structured = matches!(Kind::of(&written).unwrap(), Kind::Event { mode: Mode::Structured, .. });
        prop_assert!(structured);
        prop_assert_eq!(to_binary(&written).unwrap(), event.clone());
        for name in event.headers().keys().filter_map(|name| name.as_str().strip_prefix(CE_PREFIX)) {
            prop_assert_eq!(attribute(&written, name), attribute(&event, name), "{}", name);
        }
        prop_assert_eq!(to_structured(&to_binary(&written).unwrap()).unwrap(), written);
    }

    #[test]
    fn any_body_is_converted_or_refused(bytes: Vec<u8>) {
        for version in VERSIONS {
            let event = structured(version, "").with_body(bytes.clone().into());
            let _converted = to_binary(&event);
            let _converted = to_structured(&binary(version, &[], Some("a/json"), &bytes));
        }
    }
}
