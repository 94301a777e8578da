//! One test per row of the receiver's table.

use std::time::Duration;

use busway_core::{ChannelRef, bus::PublishError};
use busway_dataplane::{Network, World};
use busway_message::MessageId;
use busway_testkit::fakes::FakeBus;

use super::harness::Harness;

const EVENT: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

#[tokio::test]
async fn a_message_is_accepted_by_path_and_by_host_with_an_id() {
    let h = Harness::start();
    for (path, host) in [
        ("/shop/orders", "anything"),
        ("/shop/orders/", "localhost"),
        ("/", "orders-channel.shop"),
        ("/", "ORDERS-channel.shop.svc.cluster.local.:8080"),
        ("/", "orders.shop.channels.cluster.local"),
    ] {
        let response = h.post(path, &[("host", host)], "hello").await;
        assert_eq!(
            (response.status, &*response.body),
            (202, ""),
            "{path} {host}"
        );
        let id: MessageId = response.header("busway-id").parse().unwrap();
        let (channel, message) = h.bus.published().pop().unwrap();
        assert_eq!(channel.as_str(), "shop/orders");
        assert_eq!(message.header("busway-id"), Some(&*id.to_string()));
        assert_eq!(&message.body()[..], b"hello");
    }
    assert_eq!(h.metric("busway_receiver_messages", &[]), 5);
    assert_eq!(h.metric("busway_receiver_bytes", &[]), 25);
}

#[tokio::test]
async fn a_target_in_absolute_form_wins_over_the_host() {
    let h = Harness::start();
    let request = b"POST http://orders-channel.shop/ HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(h.raw(request).await.status, 202);
}

#[tokio::test]
async fn kept_headers_stay_and_others_go() {
    let h = Harness::start();
    let headers = [
        ("content-type", "text/plain"),
        ("x-request-id", "r"),
        ("X-B3-TraceId", "b"),
        ("authorization", "secret"),
        ("cookie", "secret"),
        ("busway-attempt", "9"),
        ("busway-id", "mine"),
        ("x-mine", "kept by the setting"),
    ];
    h.settings.lock().unwrap().keep_headers = vec![http::HeaderName::from_static("x-mine")];
    h.publish();
    assert_eq!(h.post("/shop/orders", &headers, "").await.status, 202);
    let (_, message) = h.bus.published().pop().unwrap();
    let mut names: Vec<_> = message.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "busway-id",
            "content-type",
            "x-b3-traceid",
            "x-mine",
            "x-request-id"
        ]
    );
    assert_ne!(message.header("busway-id"), Some("mine"));
}

#[tokio::test]
async fn unknown_malformed_and_other_addresses_are_told_apart() {
    let h = Harness::start();
    for (path, host, status, problem) in [
        ("/shop/nothing", "x", 404, "unknown-channel"),
        ("/", "nothing-channel.shop", 404, "unknown-channel"),
        ("/shop/pending", "x", 503, "not-provisioned"),
        ("/shop/revoked", "x", 403, "revoked"),
        ("/Shop/orders", "x", 400, "malformed-address"),
        ("/shop/or%64ers", "x", 400, "malformed-address"),
        ("/", "orders-channel.sh_op", 400, "malformed-address"),
        ("/shop", "x", 404, "not-a-channel"),
        ("/shop/orders/more", "x", 404, "not-a-channel"),
        ("/", "localhost:8080", 404, "not-a-channel"),
    ] {
        let response = h.post(path, &[("host", host)], "x").await;
        assert_eq!(
            (response.status, &*response.problem()),
            (status, problem),
            "{path} {host}"
        );
        let retry = if status == 503 { "1" } else { "" };
        assert_eq!(response.header("retry-after"), retry);
    }
    assert!(h.bus.published().is_empty());
}

#[tokio::test]
async fn there_has_to_be_one_host() {
    let h = Harness::start();
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let text = format!(
            "POST /shop/orders HTTP/1.1\r\n{hosts}content-length: 0\r\nconnection: close\r\n\r\n"
        );
        let response = h.raw(text.as_bytes()).await;
        assert_eq!(
            (response.status, &*response.problem()),
            (400, "malformed-host")
        );
    }
    let old = b"POST /shop/orders HTTP/1.0\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(h.raw(old).await.status, 202);
}

#[tokio::test]
async fn before_the_first_load_the_answer_is_503_and_never_404() {
    let world = || World::new(Network::system());
    let h = Harness::unloaded(FakeBus::new(), world());
    let response = h.post("/shop/nothing", &[], "").await;
    assert_eq!((response.status, &*response.problem()), (503, "not-loaded"));
    assert_eq!(response.header("retry-after"), "1");
    assert!(!h.dataplane.is_ready());
    h.publish();
    assert!(h.dataplane.is_ready());
    assert_eq!(h.post("/shop/nothing", &[], "").await.status, 404);
    // A second bus that is not loaded may have the channel; what the first has is served.
    let other = busway_core::BusRef::parse("other").unwrap();
    let _plane = h.dataplane.add(&other, std::sync::Arc::new(FakeBus::new()));
    assert!(!h.dataplane.is_ready());
    assert_eq!(h.post("/shop/nothing", &[], "").await.status, 503);
    assert_eq!(h.post("/shop/orders", &[], "").await.status, 202);
    h.dataplane.remove(&other);
    assert_eq!(h.post("/shop/nothing", &[], "").await.status, 404);
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let h = Harness::start();
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        let response = h.request(method, "/shop/orders", &[], "").await;
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), "POST, OPTIONS");
        assert_eq!(response.problem(), "method-not-allowed");
    }
}

#[tokio::test]
async fn the_webhook_handshake_is_answered() {
    let h = Harness::start();
    let asked = [
        ("webhook-request-origin", "eventemitter.example.com"),
        ("webhook-request-rate", "120"),
    ];
    let response = h.request("OPTIONS", "/shop/orders", &asked, "").await;
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("webhook-allowed-origin"),
        "eventemitter.example.com"
    );
    assert_eq!(response.header("webhook-allowed-rate"), "*");
    let plain = h.request("OPTIONS", "/shop/orders", &[], "").await;
    assert_eq!(
        (plain.status, plain.header("webhook-allowed-origin")),
        (200, "")
    );
    assert_eq!(plain.header("allow"), "POST, OPTIONS");
}

#[tokio::test]
async fn what_says_it_is_an_event_must_be_one() {
    let h = Harness::start();
    assert_eq!(h.post("/shop/orders", &EVENT, "data").await.status, 202);
    for missing in ["ce-id", "ce-source", "ce-type"] {
        let headers: Vec<_> = EVENT
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .collect();
        let response = h.post("/shop/orders", &headers, "data").await;
        assert_eq!(
            (response.status, &*response.problem()),
            (400, "invalid-event"),
            "{missing}"
        );
        assert!(response.body.contains(&missing[3..]), "{}", response.body);
    }
    let structured = [("content-type", "application/cloudevents+json")];
    for (body, status) in [
        (
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            202,
        ),
        (
            r#"{"specversion":"2.0","id":"1","source":"/s","type":"t"}"#,
            400,
        ),
        (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, 400),
        ("no json", 400),
        ("", 400),
    ] {
        assert_eq!(
            h.post("/shop/orders", &structured, body).await.status,
            status,
            "{body}"
        );
    }
    let avro = [("content-type", "application/cloudevents+avro")];
    assert_eq!(h.post("/shop/orders", &avro, "x").await.status, 400);
    assert_eq!(h.bus.published().len(), 2);
}

#[tokio::test]
async fn anything_else_is_a_plain_message_byte_for_byte() {
    let h = Harness::start();
    for body in ["", "\u{0}\u{1}binary\r\n\r\n", "<xml/>", "{\"json\": 1 }"] {
        assert_eq!(h.post("/shop/orders", &[], body).await.status, 202);
        let (_, message) = h.bus.published().pop().unwrap();
        assert_eq!(&message.body()[..], body.as_bytes());
    }
    let chunked = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(h.raw(chunked).await.status, 202);
    assert_eq!(&h.bus.published().pop().unwrap().1.body()[..], b"abcdefg");
}

const BATCH: [(&str, &str); 1] = [("content-type", "application/cloudevents-batch+json")];

fn event(id: u8) -> String {
    format!(r#"{{"specversion":"1.0", "id":"{id}","source":"/s","type":"t"}}"#)
}

#[tokio::test]
async fn each_event_of_a_batch_is_a_message_of_its_own_bytes() {
    let h = Harness::start();
    let body = format!("[{}, {}]", event(1), event(2));
    let response = h.post("/shop/orders", &BATCH, &body).await;
    assert_eq!(response.status, 202);
    let published = h.bus.published();
    let bodies: Vec<_> = published.iter().map(|(_, m)| m.body().to_vec()).collect();
    assert_eq!(bodies, [event(1).into_bytes(), event(2).into_bytes()]);
    let ids: Vec<_> = published
        .iter()
        .map(|(_, m)| m.header("busway-id").unwrap())
        .collect();
    assert_eq!(response.header("busway-id"), ids.join(", "));
    for (_, message) in &published {
        assert_eq!(
            message.header("content-type"),
            Some("application/cloudevents+json")
        );
    }
    let empty = h.post("/shop/orders", &BATCH, "[]").await;
    assert_eq!((empty.status, empty.header("busway-id")), (202, ""));
}

#[tokio::test]
async fn one_invalid_event_refuses_the_whole_batch() {
    let h = Harness::start();
    for body in [
        format!("[{}, {{}}]", event(1)),
        "{}".to_owned(),
        "[".to_owned(),
    ] {
        let response = h.post("/shop/orders", &BATCH, &body).await;
        assert_eq!(
            (response.status, &*response.problem()),
            (400, "invalid-batch"),
            "{body}"
        );
    }
    assert!(h.bus.published().is_empty());
}

#[tokio::test]
async fn a_batch_that_is_stored_half_way_is_answered_503() {
    let h = Harness::start();
    h.bus
        .fail_publish([None, Some(PublishError::Other("disk".to_owned()))]);
    let body = format!("[{}, {}, {}]", event(1), event(2), event(3));
    let response = h.post("/shop/orders", &BATCH, &body).await;
    assert_eq!((response.status, &*response.problem()), (503, "half-batch"));
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(h.bus.published().len(), 1);
}

#[tokio::test]
async fn what_the_bus_says_becomes_the_answer() {
    let h = Harness::start();
    let after = Duration::from_millis(2500);
    let secret = || "SECRET".to_owned();
    for (error, status, problem, retry) in [
        (
            PublishError::UnknownChannel(ChannelRef::new("a", "b")),
            404,
            "unknown-channel",
            "",
        ),
        (PublishError::Busy { after }, 429, "busy", "3"),
        (
            PublishError::Unavailable {
                after,
                why: secret(),
            },
            503,
            "unavailable",
            "3",
        ),
        (PublishError::TooLarge { limit: 77 }, 413, "too-large", ""),
        (PublishError::Other(secret()), 500, "internal", ""),
    ] {
        h.bus.fail_publish([Some(error)]);
        let response = h.post("/shop/orders", &[], "x").await;
        assert_eq!((response.status, &*response.problem()), (status, problem));
        assert_eq!(response.header("retry-after"), retry);
        assert!(!response.body.contains("SECRET"));
        assert_eq!(response.body.contains("77"), status == 413);
        assert_eq!(response.body.contains("an error occurred"), status == 500);
    }
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_next_request_is_served() {
    let h = Harness::start();
    h.bus.panic_on_publish();
    for _ in 0..2 {
        let response = h.post("/shop/orders", &[], "x").await;
        assert_eq!((response.status, &*response.problem()), (500, "internal"));
        assert!(response.body.contains("an error occurred"));
    }
    assert_eq!(h.metric("busway_receiver_panics", &[]), 2);
}

#[tokio::test]
async fn a_message_that_went_too_far_is_refused() {
    let h = Harness::start();
    for (hops, status) in [("31", 202), ("32", 508), ("33", 508), ("many", 508)] {
        let response = h.post("/shop/orders", &[("busway-hops", hops)], "").await;
        assert_eq!(response.status, status, "{hops}");
        if status == 508 {
            assert_eq!(response.problem(), "hop-limit");
        }
    }
}
