//! Replies, and the loops they can make.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use busway_core::{gate::MaxInFlight, outcome::Cause};
use busway_testkit::{
    fakes::{Call, FakeBus},
    subscriber::{Answer, Subscriber},
};

use super::harness::{Harness, destination, subscription};

const EVENT: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

fn event() -> Answer {
    EVENT
        .iter()
        .fold(Answer::status(200), |answer, (name, value)| {
            answer.header(name, value)
        })
        .body("answer")
}

#[tokio::test]
async fn a_reply_goes_to_reply_to_and_the_message_is_settled_after_it() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|_, _| event()).await.unwrap();
    let target = Subscriber::answering(|n, _| Answer::status(if n < 2 { 500 } else { 202 }))
        .await
        .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    h.serve(route).await;
    let mut headers = EVENT.to_vec();
    headers.extend([("x-request-id", "r"), ("busway-hops", "2")]);
    h.post("/shop/orders", &headers, "question").await;
    let reply = target.wait_for(3).await.unwrap().pop().unwrap();
    assert_eq!(&reply.body[..], b"answer");
    for (name, value) in [
        ("x-request-id", "r"),
        ("busway-hops", "3"),
        ("ce-id", "1"),
        ("prefer", ""),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    h.wait_settled("s").await;
    // The subscriber is not called again for its reply's sake.
    assert_eq!(subscriber.got().len(), 1);
    assert_eq!(h.metric("busway_dispatcher_replies", &[]), 1);
    assert_eq!(
        h.bus.steps(&subscription("s")),
        [Call::Consume(1024), Call::Done]
    );
}

#[tokio::test]
async fn what_is_no_reply_goes_nowhere() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| match n {
        0 => Answer::status(202).body("x"),
        1 => Answer::status(204),
        2 => Answer::status(200)
            .header("content-type", "text/html")
            .body("<p>"),
        _ => Answer::status(200),
    })
    .await
    .unwrap();
    let target = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    h.serve(route).await;
    for _ in 0..4 {
        h.post("/shop/orders", &EVENT, "x").await;
        h.wait_settled("s").await;
    }
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], 4)
        .await;
    assert!(target.got().is_empty());
}

#[tokio::test]
async fn a_reply_that_fails_dead_letters_the_reply() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|_, _| Answer::status(201).body("plain answer"))
        .await
        .unwrap();
    let target = Subscriber::answering(|_, _| Answer::status(422).body("why"))
        .await
        .unwrap();
    let sink = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    route.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(route).await;
    h.send("question").await;
    let letter = sink.wait_for(1).await.unwrap().pop().unwrap();
    assert_eq!(&letter.body[..], b"plain answer");
    assert_eq!(letter.header("busway-error-dest"), target.url());
    assert_eq!(letter.header("busway-error-code"), "422");
    assert_eq!(letter.header("busway-hops"), "2");
    h.wait_settled("s").await;
    assert_eq!((subscriber.got().len(), target.got().len()), (1, 1));
}

#[tokio::test]
async fn a_reply_larger_than_a_message_may_be_is_not_lost_in_silence() {
    let h = Harness::with(FakeBus::durable());
    h.settings.lock().unwrap().max_body = 100_000;
    h.publish();
    let subscriber = Subscriber::answering(|_, _| Answer::status(200).body(vec![b'x'; 200_000]))
        .await
        .unwrap();
    let target = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    h.serve(route).await;
    h.send("question").await;
    h.wait_metric("busway_dispatcher_dead_letters", &["Rejected"], 1)
        .await;
    assert_eq!(h.bus.stored()[0].2, Cause::Rejected);
    assert!(target.got().is_empty());
}

#[tokio::test]
async fn a_large_reply_within_the_limit_arrives_whole() {
    let h = Harness::start();
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let sent = body.clone();
    let subscriber = Subscriber::answering(move |_, _| Answer::status(200).body(sent.clone()))
        .await
        .unwrap();
    let target = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    h.serve(route).await;
    h.send("question").await;
    let reply = target.wait_for(1).await.unwrap().pop().unwrap();
    assert!(reply.body == body, "{} bytes", reply.body.len());
}

#[tokio::test]
async fn an_endless_loop_of_replies_ends_at_the_hop_limit() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::answering(|_, _| event()).await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&format!("http://{}/shop/orders", h.address())));
    h.serve(route).await;
    h.post("/shop/orders", &EVENT, "x").await;
    h.wait_metric("busway_dispatcher_dead_letters", &["HopLimit"], 1)
        .await;
    h.wait_settled("s").await;
    assert_eq!(subscriber.got().len(), 32);
    assert_eq!(h.bus.published().len(), 32);
}

#[tokio::test]
async fn replies_that_nobody_takes_are_bounded_by_the_memory_of_the_process() {
    const REPLY: usize = 40_000;
    let h = Harness::start();
    h.settings.lock().unwrap().max_memory = 100_000;
    h.publish();
    let subscriber = Subscriber::answering(|_, _| Answer::status(200).body(vec![b'x'; REPLY]))
        .await
        .unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&open);
    let target = Subscriber::answering(move |_, _| {
        Answer::status(if opened.load(Ordering::Relaxed) {
            202
        } else {
            503
        })
    })
    .await
    .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.reply_to = Some(destination(&target.url()));
    route.policy.max_in_flight = MaxInFlight::Number(1);
    route.policy.retry = 1000;
    h.serve(route).await;
    for _ in 0..10 {
        h.send("question").await;
    }
    // Two fit, and a third shows that there is no room: the subscriber is asked for no more.
    target.wait_for(50).await.unwrap();
    assert_eq!(subscriber.got().len(), 3);
    open.store(true, Ordering::Relaxed);
    subscriber.wait_for(10).await.unwrap();
    h.wait_settled("s").await;
    assert_eq!(h.metric("busway_dispatcher_replies", &[]), 10);
    assert_eq!(h.metric("busway_memory_bytes", &[]), 0);
}
