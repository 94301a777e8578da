#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn text(event: &Event) -> String {
    String::from_utf8(write(event).unwrap().to_vec()).unwrap()
}

#[test]
fn what_is_unset_is_written_all_the_same_and_in_order() {
    assert_eq!(
        text(&Event::default()),
        r#"{"name":"","version":0,"id":"","flowId":"","payload":null,"metadata":{},"identity":{},"auth":{}}"#
    );
}

#[test]
fn what_is_not_json_is_not_written() {
    for json in ["", "{", "{} {}", "nul", "\u{0}", "'a'"] {
        for part in 0..4 {
            let mut event = Event::default();
            let payload = Payload::raw(json.as_bytes().to_vec());
            match part {
                0 => event.payload = payload,
                1 => event.metadata = payload,
                2 => event.identity = payload,
                _ => event.auth = payload,
            }
            assert!(write(&event).is_err(), "{json:?}");
        }
    }
    let not_utf8 = Payload::raw(&b"\"\xff\""[..]);
    let event = Event {
        payload: not_utf8,
        ..Event::default()
    };
    assert!(write(&event).is_err());
}

#[test]
fn what_is_not_utf_8_is_refused_in_every_member() {
    for member in ["name", "id", "payload", "metadata", "ignored"] {
        let mut body = format!("{{\"{member}\":\"?\"}}").into_bytes();
        let at = body.iter().position(|byte| *byte == b'?').unwrap();
        assert!(
            read(&body.clone().into(), Validation::Off).is_ok(),
            "{member}"
        );
        body[at] = 0xff;
        assert!(read(&body.into(), Validation::Off).is_err(), "{member}");
    }
    let name = Bytes::from_static(b"{\"\xff\":1}");
    assert!(read(&name, Validation::Off).is_err());
}

#[test]
fn neither_payload_nor_who_asks_is_shown_for_debugging() {
    let secret = Payload::of("secret").unwrap();
    let event = Event {
        payload: secret.clone(),
        metadata: secret.clone(),
        identity: secret.clone(),
        auth: secret,
        ..Event::default()
    };
    let shown = format!("{event:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn an_error_does_not_repeat_who_asks() {
    let body = Bytes::from_static(br#"{"payload":"shown","identity":"secret","auth":"secret"}"#);
    let event = read(&body, Validation::Off).unwrap();
    let told = |payload: &Payload| {
        let error = payload.get::<u32>().unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    assert!(told(&event.payload).contains("shown"));
    for hidden in [&event.identity, &event.auth] {
        let told = told(hidden);
        assert!(
            !told.contains("secret") && told.contains("line 1"),
            "{told}"
        );
    }
}

#[test]
fn slices_of_a_payload_share_the_body() {
    let body = Bytes::from_static(br#"{"name":"a","version":1,"payload":{"b":1}}"#);
    let event = read(&body, Validation::Off).unwrap();
    let at = event.payload.as_bytes().as_ptr();
    assert!(body.as_ptr_range().contains(&at));
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.00".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[ {} ]", items.join(" ,"))),
            inner.prop_map(|value| format!("{{\"a\" : {value}}}")),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let body = Bytes::from(bytes);
        let _read = read(&body, Validation::Schema);
        let _read = read(&body, Validation::Off);
    }

    #[test]
    fn bytes_that_are_almost_an_event_are_read_or_refused(at in 0usize..80, byte in any::<u8>()) {
        let mut body = br#"{"name":"a","version":12,"id":"\u00e9","flowId":"f","payload":{"b":[1]},"auth":{}}"#.to_vec();
        body[at] = byte;
        let _read = read(&Bytes::from(body), Validation::Schema);
    }

    #[test]
    fn what_is_written_is_read_as_it_was(
        name in "\\PC+",
        version in 1i64..,
        id in ".+",
        flow_id in ".+",
        payload in json().prop_filter("not null", |json| json != "null"),
    ) {
        let event = Event {
            name,
            version,
            id,
            flow_id,
            payload: Payload::raw(payload.into_bytes()),
            metadata: Payload::raw(&b"{ \"x\":1}"[..]),
            identity: Payload::raw(&b"{}"[..]),
            auth: Payload::raw(&b"{}"[..]),
        };
        let body = write(&event).unwrap().freeze();
        prop_assert_eq!(read(&body, Validation::Schema).unwrap(), event);
    }
}
