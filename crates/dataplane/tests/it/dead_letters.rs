//! Dead letters of every kind: to the sink, to the store, to nowhere.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use busway_core::{bus::Fate, outcome::Cause, serving::DataPlane as _};
use busway_message::Message;
use busway_testkit::{
    fakes::FakeBus,
    subscriber::{Answer, Subscriber},
};

use super::harness::{Harness, destination, subscription};

#[tokio::test]
async fn what_the_bus_gave_up_goes_to_the_sink_unattempted() {
    let h = Harness::start();
    let (subscriber, sink) = (
        Subscriber::start().await.unwrap(),
        Subscriber::start().await.unwrap(),
    );
    let mut route = h.route("s", &subscriber.url());
    route.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(route).await;
    let fate = Fate::DeadLetter(Cause::Overflow);
    h.bus.put(
        &subscription("s"),
        Message::default(),
        0,
        SystemTime::now(),
        fate,
    );
    let letter = sink.wait_for(1).await.unwrap().pop().unwrap();
    assert_eq!(letter.header("busway-error-data"), "Overflow");
    assert!(subscriber.got().is_empty());
    let health = h.plane.health(&busway_core::Uid::new("uid-s")).unwrap();
    assert!(health.last_overflow.is_some());
}

#[tokio::test]
async fn a_dead_event_tells_its_story_in_extensions() {
    let h = Harness::start();
    let html = "<html>no</html>";
    let subscriber = Subscriber::answering(move |_, _| {
        Answer::status(422)
            .header("content-type", "text/html")
            .body(html)
    })
    .await
    .unwrap();
    let sink = Subscriber::start().await.unwrap();
    let mut route = h.route(
        "s",
        &format!("http://user:SECRET@{}/p?token=SECRET", subscriber.address()),
    );
    route.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(route).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data": [1 ] }"#;
    h.post(
        "/shop/orders",
        &[("content-type", "application/cloudevents+json")],
        event,
    )
    .await;
    let letter = sink.wait_for(1).await.unwrap().pop().unwrap();
    let text = String::from_utf8(letter.body.to_vec()).unwrap();
    assert!(text.starts_with(event.strip_suffix('}').unwrap()), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        json["knativeerrordest"],
        format!("http://{}/p", subscriber.address())
    );
    assert_eq!(json["knativeerrorcode"], 422);
    assert_eq!(json["knativeerrordata"], STANDARD.encode(html));
    assert_eq!(json["buswayattempts"], 1);
    assert!(!format!("{letter:?}").contains("SECRET"));
}

#[tokio::test]
async fn a_sink_is_retried_and_when_it_fails_for_good_the_store_takes_it() {
    let h = Harness::with(FakeBus::durable());
    h.bus.fail_store(1);
    let subscriber = Subscriber::answering(|_, _| Answer::status(400))
        .await
        .unwrap();
    let sink = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(route).await;
    h.send("body").await;
    h.wait_metric("busway_dispatcher_settled", &["DeadLettered"], 1)
        .await;
    assert_eq!((subscriber.got().len(), sink.got().len()), (1, 4));
    let (_, letter, cause) = h.bus.stored().pop().unwrap();
    assert_eq!(cause, Cause::Rejected);
    assert_eq!(letter.header("busway-error-code"), Some("400"));
    assert_eq!(
        h.metric("busway_dispatcher_bus_errors", &["dead_letter"]),
        1
    );
}

#[tokio::test]
async fn a_dead_letter_that_went_too_far_goes_to_the_store_only() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::answering(|_, _| Answer::status(400))
        .await
        .unwrap();
    let channel = Harness::start();
    let mut route = h.route("s", &subscriber.url());
    route.dead_letter_sink = Some(destination(&format!(
        "http://{}/shop/orders",
        channel.address()
    )));
    h.serve(route).await;
    h.post("/shop/orders", &[("busway-hops", "31")], "x").await;
    h.wait_metric("busway_dispatcher_settled", &["DeadLettered"], 1)
        .await;
    assert_eq!(h.bus.stored().len(), 1);
    assert_eq!(
        h.metric("busway_dispatcher_attempts", &["dead-letter", "5xx"]),
        1
    );
    assert!(channel.bus.published().is_empty());
    // A channel's address works as a sink.
    h.post("/shop/orders", &[("busway-hops", "3")], "x").await;
    h.wait_metric("busway_dispatcher_settled", &["DeadLettered"], 2)
        .await;
    let (_, letter) = channel.bus.published().pop().unwrap();
    assert_eq!(letter.header("busway-hops"), Some("4"));
    assert_eq!(letter.header("busway-error-code"), Some("400"));
}

#[tokio::test]
async fn a_508_of_the_next_channel_ends_a_message_a_subscribers_own_does_not() {
    let h = Harness::with(FakeBus::durable());
    let channel = Harness::start();
    h.serve(h.route("s", &format!("http://{}/shop/orders", channel.address())))
        .await;
    channel.settings.lock().unwrap().max_hops = 0;
    channel.publish();
    h.send("x").await;
    h.wait_metric("busway_dispatcher_dead_letters", &["HopLimit"], 1)
        .await;
    assert_eq!(
        h.metric("busway_dispatcher_attempts", &["subscriber", "5xx"]),
        1
    );
}

#[tokio::test]
async fn dropped_is_counted_where_there_is_neither_sink_nor_store() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|_, _| Answer::status(400))
        .await
        .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    for _ in 0..3 {
        h.send("x").await;
    }
    h.wait_metric("busway_dispatcher_settled", &["Dropped"], 3)
        .await;
    assert_eq!(h.metric("busway_dispatcher_dropped", &["Rejected"]), 3);
}
