//! Leaving.

use std::time::Duration;

use busway_core::gate::MaxInFlight;
use busway_dataplane::{Network, Settings, World};
use busway_testkit::{
    fakes::{Call, FakeBus},
    subscriber::{Answer, Subscriber},
    wait::until,
    zoo::{Manner, Misbehaving},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::harness::{Harness, Response, subscription};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_bus_in_memory_is_delivered_to_the_last_message() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|n, _| {
        Answer::status(if n % 3 == 0 { 500 } else { 202 }).after(Duration::from_millis(2))
    })
    .await
    .unwrap();
    let mut route = h.route("s", &subscriber.url());
    (
        route.policy.max_in_flight,
        route.policy.max_unsettled,
        route.policy.retry,
    ) = (MaxInFlight::Number(2), 3, 50);
    h.serve(route).await;
    for _ in 0..50 {
        h.send("x").await;
    }
    assert_eq!(h.dataplane.drain(GRACE).await.lost, 0);
    assert_eq!(h.metric("busway_dispatcher_settled", &["Delivered"]), 50);
    assert!(!h.dataplane.is_ready());
    assert!(TcpStream::connect(h.address()).await.is_err());
}

#[tokio::test]
async fn what_a_bus_in_memory_still_holds_at_the_end_of_the_grace_is_counted() {
    let h = Harness::start();
    let silent = Misbehaving::start(Manner::Silent).await.unwrap();
    let mut route = h.route("s", &silent.url());
    route.policy.timeout = Duration::from_secs(60);
    h.serve(route).await;
    for _ in 0..3 {
        h.send("x").await;
    }
    assert_eq!(h.dataplane.drain(Duration::from_millis(200)).await.lost, 3);
    assert_eq!(h.metric("busway_dispatcher_lost_on_shutdown", &[]), 3);
    assert_eq!(
        h.metric("busway_dispatcher_dropped", &["RetriesExhausted"]),
        0
    );
}

#[tokio::test]
async fn on_a_durable_bus_running_attempts_finish_and_the_rest_is_handed_back() {
    let h = Harness::with(FakeBus::durable());
    let subscriber =
        Subscriber::answering(|_, _| Answer::status(202).after(Duration::from_millis(200)))
            .await
            .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.max_in_flight = MaxInFlight::Number(2);
    h.serve(route).await;
    for _ in 0..5 {
        h.send("x").await;
    }
    subscriber.wait_for(2).await.unwrap();
    assert_eq!(h.dataplane.drain(GRACE).await.lost, 0);
    assert_eq!(subscriber.got().len(), 2);
    assert_eq!(h.bus.waiting(&subscription("s")), 3);
    let done = h
        .bus
        .calls(&subscription("s"))
        .iter()
        .filter(|call| **call == Call::Done)
        .count();
    assert_eq!(done, 2);
}

#[tokio::test]
async fn an_attempt_cut_off_by_the_end_of_the_grace_is_not_counted() {
    let h = Harness::with(FakeBus::durable());
    let silent = Misbehaving::start(Manner::Silent).await.unwrap();
    h.serve(h.route("s", &silent.url())).await;
    h.send("x").await;
    h.wait_metric("busway_dispatcher_in_flight", &["subscriber"], 1)
        .await;
    h.dataplane.drain(Duration::from_millis(100)).await;
    assert_eq!(h.bus.waiting(&subscription("s")), 1);
    assert_eq!(
        h.bus.steps(&subscription("s")),
        [Call::Consume(1024), Call::Released, Call::Closed]
    );
    assert!(h.bus.stored().is_empty());
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_idle_connections_closed() {
    let h = Harness::start();
    let mut idle = TcpStream::connect(h.address()).await.unwrap();
    let mut busy = TcpStream::connect(h.address()).await.unwrap();
    let head = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel";
    busy.write_all(head).await.unwrap();
    idle.write_all(b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let mut first = vec![0; 12];
    idle.read_exact(&mut first).await.unwrap();
    h.wait_metric("busway_receiver_connections", &[], 2).await;
    let dataplane = h.dataplane.clone();
    let drained = tokio::spawn(async move { dataplane.drain(GRACE).await });
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    busy.write_all(b"lo").await.unwrap();
    let mut text = Vec::new();
    busy.read_to_end(&mut text).await.unwrap();
    let response = Response::parse(&text);
    assert_eq!(
        (response.status, response.header("connection")),
        (202, "close")
    );
    assert_eq!(drained.await.unwrap().lost, 0);
    assert_eq!(h.bus.published().len(), 2);
}

#[tokio::test]
async fn as_a_lame_duck_it_still_accepts_and_says_that_it_leaves() {
    let settings = Settings {
        lame_duck: Duration::from_millis(500),
        ..Settings::default()
    };
    let h = Harness::set(FakeBus::new(), World::new(Network::system()), settings);
    h.publish();
    assert!(h.dataplane.is_ready());
    let dataplane = h.dataplane.clone();
    let drained = tokio::spawn(async move { dataplane.drain(GRACE).await });
    until("it is no longer ready", GRACE, || async {
        if h.dataplane.is_ready() {
            Err("it is")
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    // Without `connection: close` of its own.
    let text = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    let response = h.raw(text).await;
    assert_eq!(
        (response.status, response.header("connection")),
        (202, "close")
    );
    drained.await.unwrap();
    assert!(TcpStream::connect(h.address()).await.is_err());
}
