//! Attempts: what is sent, what each outcome leads to, dead letters, pacing.

use std::time::{Duration, SystemTime};

use busway_core::{
    bus::Fate,
    gate::MaxInFlight,
    outcome::{Cause, RuleAction, StatusRule},
    serving::DataPlane as _,
};
use busway_message::Message;
use busway_testkit::{
    fakes::{Call, FakeBus},
    subscriber::{Answer, Subscriber},
    wait::until,
    zoo::{Manner, Misbehaving},
};

use super::harness::{DEADLINE, Harness, destination, subscription};

#[tokio::test]
async fn a_message_reaches_every_subscription_with_the_headers_of_an_attempt() {
    let h = Harness::start();
    let (one, two) = (
        Subscriber::start().await.unwrap(),
        Subscriber::start().await.unwrap(),
    );
    h.serve(h.route("one", &format!("http://user:pass@{}/in?x=1", one.address())))
        .await;
    h.serve(h.route("two", &two.url())).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("traceparent", trace),
        ("tracestate", "a=b"),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("content-type", "text/xml"),
    ];
    let response = h.post("/shop/orders", &headers, "<a>\u{e4}</a>").await;
    for (subscriber, name) in [(&one, "one"), (&two, "two")] {
        let got = &subscriber.wait_for(1).await.unwrap()[0];
        assert_eq!(&got.body[..], "<a>\u{e4}</a>".as_bytes());
        for (header, value) in [
            ("prefer", "reply"),
            ("busway-namespace", "shop"),
            ("busway-subscription", name),
            ("busway-attempt", "1"),
            ("busway-id", response.header("busway-id")),
            ("host", &*subscriber.address().to_string()),
            ("ce-id", "1"),
            ("content-type", "text/xml"),
            ("tracestate", "a=b"),
            ("content-length", "9"),
        ] {
            assert_eq!(got.header(header), value, "{header}");
        }
        let span = got.header("traceparent");
        assert_eq!((&span[..35], &span[52..]), (&trace[..35], "-01"));
        assert_ne!(span, trace);
    }
    let got = &one.got()[0];
    assert_eq!(
        (&*got.target, got.header("authorization")),
        ("/in?x=1", "Basic dXNlcjpwYXNz")
    );
    assert_eq!(two.got()[0].header("authorization"), "");
    h.wait_settled("one").await;
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], 2)
        .await;
    assert_eq!(h.metric("busway_dispatcher_unsettled", &[]), 0);
}

#[tokio::test]
async fn every_row_of_the_outcome_table_is_acted_on() {
    let h = Harness::start();
    let sink = Subscriber::start().await.unwrap();
    // Status, attempts with `retry: 3`, cause.
    for (status, attempts, cause) in [
        (200, 1, None),
        (202, 1, None),
        (204, 1, None),
        (299, 1, None),
        (300, 1, Some(Cause::Rejected)),
        (304, 1, Some(Cause::Rejected)),
        (400, 1, Some(Cause::Rejected)),
        (401, 1, Some(Cause::Rejected)),
        (403, 1, Some(Cause::Rejected)),
        (405, 1, Some(Cause::Rejected)),
        (413, 1, Some(Cause::Rejected)),
        (422, 1, Some(Cause::Rejected)),
        (501, 1, Some(Cause::Rejected)),
        (505, 1, Some(Cause::Rejected)),
        (410, 1, Some(Cause::Gone)),
        (404, 4, Some(Cause::Exhausted)),
        (408, 4, Some(Cause::Exhausted)),
        (409, 4, Some(Cause::Exhausted)),
        (425, 4, Some(Cause::Exhausted)),
        (429, 4, Some(Cause::Exhausted)),
        (500, 4, Some(Cause::Exhausted)),
        (502, 4, Some(Cause::Exhausted)),
        (503, 4, Some(Cause::Exhausted)),
        (504, 4, Some(Cause::Exhausted)),
        (508, 4, Some(Cause::Exhausted)),
    ] {
        let name = format!("s{status}");
        let subscriber = Subscriber::answering(move |_, _| Answer::status(status))
            .await
            .unwrap();
        let mut route = h.route(&name, &subscriber.url());
        route.dead_letter_sink = Some(destination(&sink.url()));
        h.serve(route).await;
        let before = sink.got().len();
        h.send("body").await;
        h.wait_settled(&name).await;
        let numbers: Vec<String> = subscriber
            .got()
            .iter()
            .map(|g| g.header("busway-attempt").to_owned())
            .collect();
        let expected: Vec<String> = (1..=attempts).map(|n: u32| n.to_string()).collect();
        assert_eq!(numbers, expected, "{status}");
        let dead = sink.got().len() - before;
        assert_eq!(dead, usize::from(cause.is_some()), "{status}");
        if cause.is_some() {
            let letter = sink.got().pop().unwrap();
            assert_eq!(letter.header("busway-error-code"), status.to_string());
            assert_eq!(letter.header("busway-error-attempts"), attempts.to_string());
            assert_eq!(letter.header("busway-error-dest"), subscriber.url());
            assert_eq!(letter.header("busway-hops"), "1");
            assert_eq!(letter.header("prefer"), "");
        }
        h.delete(&name);
        h.bus.put(
            &subscription(&name),
            Message::default(),
            0,
            SystemTime::now(),
            Fate::Deliver,
        );
    }
    assert_eq!(h.metric("busway_dispatcher_dead_letters", &["Gone"]), 1);
    assert_eq!(
        h.metric("busway_dispatcher_dead_letters", &["RetriesExhausted"]),
        10
    );
    assert_eq!(
        h.metric("busway_dispatcher_dead_letters", &["Rejected"]),
        10
    );
}

#[tokio::test]
async fn network_failures_are_retried_and_told_by_their_name() {
    let h = Harness::start();
    let sink = Subscriber::start().await.unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut cases = vec![
        (format!("http://{free}/"), "ConnectError", None),
        ("http://no.such.name.invalid/".to_owned(), "DnsError", None),
    ];
    for (manner, reason) in [
        (Manner::Silent, "Timeout"),
        (Manner::Closes, "ConnectionReset"),
        (Manner::BreaksOff, "ConnectionReset"),
        (Manner::Garbage, "ConnectionReset"),
        (Manner::EndlessHeader, "ConnectionReset"),
    ] {
        let bad = Misbehaving::start(manner).await.unwrap();
        cases.push((bad.url(), reason, Some(bad)));
    }
    let plain = Subscriber::start().await.unwrap();
    cases.push((format!("https://{}/", plain.address()), "TlsError", None));
    for (number, (url, reason, bad)) in cases.into_iter().enumerate() {
        let name = format!("n{number}");
        let mut route = h.route(&name, &url);
        route.policy.retry = 1;
        route.policy.timeout = Duration::from_millis(if reason == "Timeout" { 100 } else { 5_000 });
        route.dead_letter_sink = Some(destination(&sink.url()));
        h.serve(route).await;
        h.send("body").await;
        let letter = sink.wait_for(number + 1).await.unwrap().pop().unwrap();
        assert_eq!(letter.header("busway-error-code"), "0", "{url}");
        assert_eq!(letter.header("busway-error-data"), reason, "{url}");
        assert_eq!(letter.header("busway-error-attempts"), "2", "{url}");
        if let Some(bad) = bad {
            assert_eq!(bad.requests(), 2, "{reason}");
        }
        let health = h
            .plane
            .health(&busway_core::Uid::new(&format!("uid-{name}")))
            .unwrap();
        assert_eq!(health.last_error.as_deref(), Some(reason));
        assert!(health.failing_since.is_some());
        h.delete(&name);
    }
}

#[tokio::test]
async fn answers_that_are_odd_but_whole_count() {
    let h = Harness::start();
    for (name, manner) in [("drips", Manner::Drips), ("endless", Manner::Endless)] {
        let odd = Misbehaving::start(manner).await.unwrap();
        h.serve(h.route(name, &odd.url())).await;
        h.send("body").await;
        h.wait_settled(name).await;
        assert_eq!(odd.requests(), 1);
        h.delete(name);
    }
    assert_eq!(
        h.metric("busway_dispatcher_attempts", &["subscriber", "2xx"]),
        2
    );
    let redirects = Misbehaving::start(Manner::Redirects).await.unwrap();
    h.serve(h.route("redirects", &redirects.url())).await;
    h.send("body").await;
    h.wait_settled("redirects").await;
    assert_eq!(redirects.requests(), 1);
    assert_eq!(h.metric("busway_dispatcher_dropped", &["Rejected"]), 1);
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_closed_costs_no_attempt() {
    let h = Harness::start();
    let good = Subscriber::start().await.unwrap();
    h.serve(h.route("good", &good.url())).await;
    let closes = Misbehaving::start(Manner::ClosesKeptConnections)
        .await
        .unwrap();
    let mut route = h.route("closes", &closes.url());
    route.policy.retry = 0;
    h.serve(route).await;
    for _ in 0..5 {
        h.send("body").await;
        h.wait_settled("good").await;
        h.wait_settled("closes").await;
    }
    assert_eq!((good.got().len(), good.connections()), (5, 1));
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], 10)
        .await;
    assert_eq!(h.metric("busway_dispatcher_reconnects", &[]), 4);
}

#[tokio::test]
async fn status_rules_come_first() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| Answer::status([418, 503][n % 2]))
        .await
        .unwrap();
    let mut route = h.route("rules", &subscriber.url());
    route.policy.status_rules = vec![
        StatusRule::new("418", RuleAction::Retry).unwrap(),
        StatusRule::new("5xx", RuleAction::Accept).unwrap(),
    ];
    h.serve(route).await;
    h.send("body").await;
    h.wait_settled("rules").await;
    assert_eq!(subscriber.got().len(), 2);
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], 1)
        .await;
}

#[tokio::test]
async fn a_failure_that_passes_is_retried_until_it_has_and_health_follows() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| Answer::status(if n < 2 { 500 } else { 200 }))
        .await
        .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    h.send("body").await;
    h.wait_settled("s").await;
    assert_eq!(subscriber.got().len(), 3);
    assert_eq!(h.metric("busway_dispatcher_retries", &["subscriber"]), 2);
    let calls = h.bus.steps(&subscription("s"));
    assert_eq!(
        calls,
        [
            Call::Consume(1024),
            Call::Extended(1),
            Call::Extended(2),
            Call::Done
        ]
    );
    let health = h.plane.health(&busway_core::Uid::new("uid-s")).unwrap();
    assert_eq!((health.failing_since, health.last_error), (None, None));
}

#[tokio::test]
async fn gone_is_reported_until_a_delivery() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| Answer::status(if n == 0 { 410 } else { 200 }))
        .await
        .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    let gone = || {
        h.plane
            .health(&busway_core::Uid::new("uid-s"))
            .unwrap()
            .gone
    };
    for expected in [true, false] {
        h.send("body").await;
        h.wait_settled("s").await;
        assert_eq!(gone(), expected);
    }
    assert_eq!(h.metric("busway_dispatcher_dropped", &["Gone"]), 1);
}

#[tokio::test]
async fn retry_after_lengthens_the_wait_and_has_a_cap() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| match n {
        0 => Answer::status(429).header("retry-after", "99999999999999"),
        1 => Answer::status(503).header("retry-after", "soon"),
        2 => Answer::status(500).header("retry-after", "9999"),
        _ => Answer::status(200),
    })
    .await
    .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.retry_after_max = Duration::from_millis(300);
    h.serve(route).await;
    h.send("body").await;
    let got = subscriber.wait_for(4).await.unwrap();
    let waits: Vec<_> = got.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits[0] >= Duration::from_millis(300), "{waits:?}");
    assert!(
        waits[1] >= Duration::from_millis(10) && waits[1] < Duration::from_secs(5),
        "{waits:?}"
    );
    assert!(waits[2] < Duration::from_secs(5), "{waits:?}");
}

#[tokio::test]
async fn a_long_wait_goes_back_to_a_bus_that_can_delay() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::answering(|_, _| Answer::status(429).header("retry-after", "60"))
        .await
        .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    h.send("body").await;
    h.wait_metric("busway_dispatcher_returned", &[], 1).await;
    let calls = h.bus.steps(&subscription("s"));
    let Some(Call::RetryAt(wait, 1)) = calls.last() else {
        panic!("{calls:?}")
    };
    assert!(wait.as_secs().abs_diff(60) <= 1, "{wait:?}");
    assert_eq!(h.metric("busway_dispatcher_unsettled", &[]), 0);
}

#[tokio::test]
async fn a_message_past_its_age_is_dead_lettered_when_it_would_be_attempted() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.max_age = Some(Duration::from_secs(60));
    h.serve(route).await;
    let old = SystemTime::now() - Duration::from_secs(61);
    h.bus.put(
        &subscription("s"),
        Message::default(),
        2,
        old,
        Fate::Deliver,
    );
    h.wait_metric("busway_dispatcher_dead_letters", &["Expired"], 1)
        .await;
    let (_, letter, cause) = h.bus.stored().pop().unwrap();
    assert_eq!(cause, Cause::Expired);
    assert_eq!(letter.header("busway-error-data"), Some("Expired"));
    assert_eq!(letter.header("busway-error-attempts"), Some("2"));
    assert!(subscriber.got().is_empty());
    let health = h.plane.health(&busway_core::Uid::new("uid-s")).unwrap();
    assert!(health.last_expiry.is_some());
}

#[tokio::test]
async fn attempts_made_before_a_restart_count() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    let now = SystemTime::now();
    h.bus.put(
        &subscription("s"),
        Message::default(),
        3,
        now,
        Fate::Deliver,
    );
    h.wait_metric("busway_dispatcher_dead_letters", &["RetriesExhausted"], 1)
        .await;
    assert_eq!(subscriber.got().len(), 1);
    assert_eq!(subscriber.got()[0].header("busway-attempt"), "4");
    h.bus.put(
        &subscription("s"),
        Message::default(),
        4,
        now,
        Fate::Deliver,
    );
    h.wait_metric("busway_dispatcher_dead_letters", &["RetriesExhausted"], 2)
        .await;
    assert_eq!(subscriber.got().len(), 1);
}

#[tokio::test]
async fn attempts_in_flight_and_messages_held_have_bounds() {
    let h = Harness::start();
    let silent = Misbehaving::start(Manner::Silent).await.unwrap();
    let mut route = h.route("s", &silent.url());
    (route.policy.max_in_flight, route.policy.max_unsettled) = (MaxInFlight::Number(3), 7);
    h.serve(route).await;
    for _ in 0..20 {
        h.send("x").await;
    }
    h.wait_metric("busway_dispatcher_in_flight", &["subscriber"], 3)
        .await;
    h.wait_metric("busway_dispatcher_unsettled", &[], 7).await;
    until("three requests came", DEADLINE, || async {
        if silent.requests() == 3 {
            Ok(())
        } else {
            Err(silent.requests())
        }
    })
    .await
    .unwrap();
    assert_eq!(h.bus.waiting(&subscription("s")), 13);
}

#[tokio::test]
async fn the_bound_of_the_process_on_connections_leaves_each_subscription_one() {
    let h = Harness::start();
    h.settings.lock().unwrap().max_connections = 48;
    h.publish();
    let silent = Misbehaving::start(Manner::Silent).await.unwrap();
    h.serve(h.route("s", &silent.url())).await;
    for _ in 0..60 {
        h.send("x").await;
    }
    let in_flight = || h.metric("busway_dispatcher_in_flight", &["subscriber"]);
    h.wait_metric("busway_dispatcher_unsettled", &[], 60).await;
    assert!((1..=36).contains(&in_flight()), "{}", in_flight());
    let good = Subscriber::start().await.unwrap();
    h.serve(h.route("good", &good.url())).await;
    let name = subscription("good");
    for _ in 0..10 {
        h.bus.put(
            &name,
            Message::default(),
            0,
            SystemTime::now(),
            Fate::Deliver,
        );
    }
    h.wait_settled("good").await;
    assert_eq!(good.got().len(), 10);
}
