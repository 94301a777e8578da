#![allow(clippy::unwrap_used, reason = "tests")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;

#[test]
fn attribute_names_are_lower_case_letters_and_digits() {
    for name in ["id", "a", "7", "0a", "dataschema"] {
        assert!(is_attribute_name(name), "{name:?}");
    }
    for name in ["", "Id", "a-b", "a_b", "a.b", "é", "a b"] {
        assert!(!is_attribute_name(name), "{name:?}");
    }
}

#[test]
fn strings_have_no_control_characters() {
    assert!(is_string("plain, ünïcode, 😀"));
    for value in [
        "\0",
        "a\n",
        "\x7f",
        "\u{85}",
        "\u{fffe}",
        "\u{1ffff}",
        "\u{fdd0}",
    ] {
        assert!(!is_string(value), "{value:?}");
    }
}

#[test]
fn uri_references_are_told_from_other_text() {
    for value in [
        "/",
        "a",
        "/a:b",
        "./1:2",
        "?a:b",
        "#1:2",
        "https://user@host:80/path?query=[]#fragment",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "mailto:cncf-wg-serverless@lists.cncf.io",
        "/caf%C3%A9",
        "/café",
        "//host",
        "100%",
    ] {
        assert!(is_uri_reference(value), "{value:?}");
    }
    for value in [
        "a b", "\"a\"", "<a>", "a\\b", "1:2", ":a", "a_b:c", "a\tb", "{x}", "a|b", "^", "`",
    ] {
        assert!(!is_uri_reference(value), "{value:?}");
    }
}

#[test]
fn a_uri_has_a_scheme() {
    assert!(is_uri("https://host/schema") && is_uri("urn:x"));
    assert!(!is_uri("/schema") && !is_uri("") && !is_uri("a b:c") && !is_uri("a/b:c"));
}

#[test]
fn media_types_have_two_parts() {
    for value in [
        "text/plain",
        "application/json; charset=utf-8",
        "a/b+c ;x=y/z",
    ] {
        assert!(is_media_type(value), "{value:?}");
    }
    for value in [
        "",
        "text",
        "text/",
        "/plain",
        "te xt/plain",
        "a/b/c",
        "a/b, c/d",
        ";a/b",
    ] {
        assert!(!is_media_type(value), "{value:?}");
    }
}

#[test]
fn timestamps_are_those_of_the_calendar() {
    for value in [
        "2018-04-05T17:31:00Z",
        "2018-04-05t17:31:00z",
        "2018-04-05T17:31:00.123456789+02:00",
        "2020-02-29T23:59:60-23:59",
        "2000-02-29T00:00:00Z",
    ] {
        assert!(is_timestamp(value), "{value:?}");
    }
    for value in [
        "",
        "2018-04-05",
        "2018-04-05 17:31:00Z",
        "2018-04-05T17:31:00",
        "2018-04-05T17:31Z",
        "2018-04-05T17:31:00.Z",
        "2018-04-05T17:31:00+0200",
        "2018-04-05T17:31:00+24:00",
        "2018-04-05T17:31:00+02:60",
        "2018-04-05T17:31:00Zx",
        "2018-13-05T17:31:00Z",
        "2018-00-05T17:31:00Z",
        "2018-04-00T17:31:00Z",
        "2018-04-31T17:31:00Z",
        "2019-02-29T17:31:00Z",
        "1900-02-29T17:31:00Z",
        "2018-04-05T24:31:00Z",
        "2018-04-05T17:60:00Z",
        "2018-04-05T17:31:61Z",
        "+018-04-05T17:31:00Z",
        "2018/04/05T17:31:00Z",
    ] {
        assert!(!is_timestamp(value), "{value:?}");
    }
}

#[test]
fn header_values_are_decoded_once() {
    for (header, value) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%2541", "%41"),
        ("100%", "100%"),
        ("%4", "%4"),
        ("%zz%+1", "%zz%+1"),
        ("%%41", "%A"),
        ("\"a \\\"quoted\\\" \\\\ b\"", "a \"quoted\" \\ b"),
        ("\"%41\"", "A"),
        ("\"\"", ""),
        ("\"", "\""),
        ("a\"b\"", "a\"b\""),
        ("raw é", "raw é"),
    ] {
        assert_eq!(
            from_header(header.as_bytes()).as_deref(),
            Some(value),
            "{header:?}"
        );
    }
}

#[test]
fn header_values_that_are_not_utf_8_are_refused() {
    for header in [&b"%C0%A0"[..], b"%ff", b"\xff", b"\"\xff\\\"\""] {
        assert_eq!(from_header(header), None, "{header:?}");
    }
}

proptest! {
    #[test]
    fn any_string_survives_a_header(value in any::<String>()) {
        let header = to_header(&value);
        prop_assert!(header.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'));
        prop_assert_eq!(from_header(header.as_bytes()).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _read = from_header(&bytes);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _checked = (is_timestamp(text), is_uri(text), is_media_type(text), is_base64(text));
        }
    }

    #[test]
    fn base64_is_what_an_encoder_writes(bytes: Vec<u8>) {
        let encoded = STANDARD.encode(&bytes);
        prop_assert!(is_base64(&encoded));
        let (longer, padded_first) = (format!("{encoded}A"), format!("===={encoded}"));
        prop_assert!(!is_base64(&longer) && !is_base64(&padded_first));
    }

    #[test]
    fn almost_a_timestamp_never_panics(text in "[0-9]{3,5}-[0-9]{1,2}-[0-9]{2}[Tt ][0-9:.]{7,14}[Zz+-]?[0-9:é]{0,6}") {
        let _checked = is_timestamp(&text);
    }
}
