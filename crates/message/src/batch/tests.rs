#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http::HeaderName;
use proptest::prelude::*;

use super::*;
use crate::{Kind, Mode, SpecVersion, names::BATCH_JSON};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/","type":"t"}"#;

fn batch(content_type: &str, body: impl Into<Bytes>) -> Message {
    let headers = [
        ("content-type", content_type),
        ("traceparent", "t"),
        ("x-request-id", "r"),
        ("ce-id", "of nothing"),
    ];
    let headers = headers.map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    Message::new(headers.into_iter().collect(), body.into())
}

fn bodies(events: &[Message]) -> Vec<&[u8]> {
    events.iter().map(|event| &**event.body()).collect()
}

#[test]
fn each_event_becomes_a_structured_message_with_its_own_bytes() {
    let old =
        r#"{ "specversion" : "0.3", "id":"\u00e9", "source":"/é", "type":"t", "data": [1,  2] }"#;
    let body = Bytes::from(format!(" [ {EVENT} ,\n{old}\t] "));
    let events = split(&batch(BATCH_JSON, body.clone())).unwrap();
    assert_eq!(bodies(&events), [EVENT.as_bytes(), old.as_bytes()]);
    for (event, version) in events.iter().zip([SpecVersion::V1, SpecVersion::V03]) {
        let kind = Kind::Event {
            mode: Mode::Structured,
            version,
        };
        assert_eq!(Kind::of(event).unwrap(), kind);
        assert!(
            body.as_ptr_range().contains(&event.body().as_ptr()),
            "bytes are shared"
        );
        assert_eq!(event.header("content-type"), Some(STRUCTURED_JSON));
        assert_eq!(event.header("traceparent"), Some("t"));
        assert_eq!(event.header("x-request-id"), Some("r"));
        assert_eq!(event.header("ce-id"), None);
    }
}

#[test]
fn the_charset_of_the_batch_goes_along() {
    for (parameters, expected) in [
        (
            "; charset=utf-8",
            "application/cloudevents+json; charset=utf-8",
        ),
        (
            " ;a=b;Charset=\"UTF-8\" ; c=d",
            "application/cloudevents+json; Charset=\"UTF-8\"",
        ),
        ("; boundary=x", STRUCTURED_JSON),
        ("; a=\"b;charset=utf-8\"", STRUCTURED_JSON),
    ] {
        let batch = batch(&format!("{BATCH_JSON}{parameters}"), format!("[{EVENT}]"));
        let events = split(&batch).unwrap();
        assert_eq!(
            events[0].header("content-type"),
            Some(expected),
            "{parameters}"
        );
    }
}

#[test]
fn an_empty_batch_is_valid() {
    assert_eq!(split(&batch(BATCH_JSON, " [ ] ")).unwrap(), []);
}

#[test]
fn one_invalid_event_refuses_all_and_is_named() {
    for (event, reason) in [
        ("{}", "MissingAttribute"),
        ("1", "MalformedEvent"),
        ("null", "MalformedEvent"),
        (&format!("[{EVENT}]"), "MalformedEvent"),
        (&EVENT.replace("1.0", "0.2"), "UnsupportedSpecVersion"),
    ] {
        let error = split(&batch(BATCH_JSON, format!("[{EVENT},{EVENT},{event}]"))).unwrap_err();
        assert!(
            matches!(error, InvalidBatch::Event { index: 2, .. }),
            "{event}: {error:?}"
        );
        assert_eq!(error.reason(), reason, "{event}");
        assert!(error.to_string().contains("event 2"), "{error}");
    }
}

#[test]
fn what_is_no_json_array_is_refused() {
    for (body, reason) in [
        (&b""[..], "MalformedBatch"),
        (b"[", "MalformedBatch"),
        (b"[] []", "MalformedBatch"),
        (b"[1,]", "MalformedBatch"),
        (b"{}", "MalformedBatch"),
        (b"null", "MalformedBatch"),
        (b"[\"\xff\"]", "MalformedBatch"),
    ] {
        let error = split(&batch(BATCH_JSON, body)).unwrap_err();
        assert_eq!(error.reason(), reason, "{body:?}");
    }
    let error = split(&batch(STRUCTURED_JSON, "[]")).unwrap_err();
    assert_eq!(error.reason(), "NotABatch");
}

#[test]
fn a_batch_at_the_limit_is_taken_and_one_over_it_refused() {
    let of = |count: usize| batch(BATCH_JSON, format!("[{}]", vec![EVENT; count].join(",")));
    assert_eq!(split(&of(MAX_EVENTS)).unwrap().len(), MAX_EVENTS);
    let error = split(&of(MAX_EVENTS + 1)).unwrap_err();
    assert_eq!(error.reason(), "BatchTooLarge");
    assert!(error.to_string().contains("200"), "{error}");
}

#[test]
fn the_ids_of_the_largest_batch_fit_into_a_header_of_8_kib() {
    let id = crate::MessageId::new(0, 0).to_string();
    assert!(vec![id; MAX_EVENTS].join(", ").len() < 8 << 10);
}

proptest! {
    #[test]
    fn splitting_is_byte_exact(
        events in proptest::collection::vec(("[ -~é😀]{1,9}", any::<Option<i32>>(), "[ \n\t]{0,2}"), 0..9),
    ) {
        let events: Vec<_> = events
            .iter()
            .map(|(id, data, space)| {
                let id = serde_json::to_string(id).unwrap();
                let data = data.map(|data| format!(",{space}\"data\":{space}{data}")).unwrap_or_default();
                format!("{{{space}\"specversion\":\"1.0\",\"id\":{id},\"source\":\"/\",\"type\":\"t\"{data}{space}}}")
            })
            .collect();
        let split = split(&batch(BATCH_JSON, format!("[{}]", events.join(" ,")))).unwrap();
        let expected: Vec<_> = events.iter().map(String::as_bytes).collect();
        prop_assert_eq!(bodies(&split), expected);
    }

    #[test]
    fn any_bytes_are_split_or_refused(bytes: Vec<u8>) {
        let _split = split(&batch(BATCH_JSON, bytes));
    }

    #[test]
    fn one_broken_byte_never_panics(at in 0usize..120, byte: u8) {
        let mut body = format!("[{EVENT},{EVENT}]").into_bytes();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        let _split = split(&batch(BATCH_JSON, body));
    }
}
