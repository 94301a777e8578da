#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn kept(extra: &[&'static str], lines: &[(&str, &str)]) -> HeaderMap {
    let extra = extra.iter().map(|name| HeaderName::from_static(name));
    KeepHeaders::new(extra).from_sender(&headers(lines))
}

const KEPT: [&str; 17] = [
    "content-type",
    "content-encoding",
    "content-language",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "ce-id",
    "ce-anything",
    "x-b3-traceid",
    "x-ot-span-context",
    "knative-error-code",
    "busway-hops",
    "busway-error-dest",
    "busway-error-code",
    "busway-error-data",
    "busway-error-attempts",
];

const NEVER: [&str; 24] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "content-length",
    "expect",
    "host",
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "busway-namespace",
    "busway-subscription",
    "busway-attempt",
    "busway-probe",
    "busway-id",
    "busway-replay",
    "busway-redrive",
];

#[test]
fn what_a_message_needs_is_kept() {
    for name in KEPT {
        assert_eq!(kept(&[], &[(name, "a")]), headers(&[(name, "a")]), "{name}");
    }
}

#[test]
fn what_must_not_travel_is_never_kept_even_if_a_bus_adds_it() {
    for name in NEVER {
        assert!(kept(&[], &[(name, "a")]).is_empty(), "{name}");
        assert!(kept(&[name], &[(name, "a")]).is_empty(), "{name}");
    }
}

#[test]
fn other_headers_are_kept_only_if_a_bus_adds_them() {
    let lines = [("accept", "*/*"), ("x-tenant", "blue"), ("x-b", "c")];
    assert!(kept(&[], &lines).is_empty());
    assert_eq!(
        kept(&["x-tenant", "x-tenant", "a-first"], &lines),
        headers(&[("x-tenant", "blue")])
    );
}

#[test]
fn names_that_the_connection_header_lists_are_never_kept() {
    let lines = [
        ("connection", "close, X-Tenant"),
        ("connection", "baggage"),
        ("x-tenant", "blue"),
        ("baggage", "a=b"),
        ("ce-id", "1"),
    ];
    assert_eq!(kept(&["x-tenant"], &lines), headers(&[("ce-id", "1")]));
}

#[test]
fn repeated_values_are_joined_in_their_order() {
    let lines = [
        ("baggage", "a=1"),
        ("tracestate", "x=y"),
        ("baggage", "b=2"),
        ("accept", "b"),
        ("accept", "c"),
        ("baggage", "c=3"),
    ];
    let expected = headers(&[("baggage", "a=1, b=2, c=3"), ("tracestate", "x=y")]);
    assert_eq!(kept(&[], &lines), expected);
}

#[test]
fn values_are_kept_byte_for_byte() {
    let mut sent = HeaderMap::new();
    sent.insert(
        "ce-x",
        HeaderValue::from_bytes(b"caf\xe9 \xff\t%41").unwrap(),
    );
    assert_eq!(KeepHeaders::default().from_sender(&sent), sent);
}

#[test]
fn a_reply_is_believed_no_more_than_a_sender() {
    let lines = [
        ("busway-id", "forged"),
        ("busway-hops", "3"),
        ("ce-id", "1"),
    ];
    let reply = KeepHeaders::default().from_reply(&headers(&lines));
    assert_eq!(reply, headers(&[("busway-hops", "3"), ("ce-id", "1")]));
}

fn name() -> impl Strategy<Value = HeaderName> {
    let known: Vec<_> = KEPT.into_iter().chain(NEVER).chain(["x-tenant"]).collect();
    prop_oneof![
        proptest::sample::select(known).prop_map(HeaderName::from_static),
        "[a-z][a-z0-9-]{0,12}".prop_map(|name| name.parse().unwrap()),
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    prop_oneof![
        "[ -~]{0,20}".prop_map(|value| HeaderValue::from_str(&value).unwrap()),
        name().prop_map(HeaderValue::from),
        proptest::collection::vec(128u8.., 0..8)
            .prop_map(|value| HeaderValue::from_bytes(&value).unwrap()),
    ]
}

proptest! {
    #[test]
    fn keeping_what_was_kept_changes_nothing(
        lines in proptest::collection::vec((name(), value()), 0..20),
        extra in proptest::collection::vec(name(), 0..4),
    ) {
        let sent: HeaderMap = {
            let mut sent = HeaderMap::new();
            for (name, value) in lines {
                sent.append(name, value);
            }
            sent
        };
        let keep = KeepHeaders::new(extra);
        let once = keep.from_sender(&sent);
        prop_assert_eq!(keep.from_sender(&once), once.clone());
        prop_assert_eq!(once.len(), once.keys_len());
        for name in NEVER {
            prop_assert!(!once.contains_key(name));
        }
        for name in once.keys() {
            prop_assert!(sent.contains_key(name));
        }
    }
}
