//! One subscription's trouble is nobody else's.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use busway_testkit::{
    subscriber::{Answer, Subscriber},
    zoo::{Manner, Misbehaving},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::harness::{Harness, subscription};

const HEALTHY: usize = 99;
const MESSAGES: usize = 50;

#[tokio::test]
async fn beside_one_that_hangs_and_one_that_fails_ninety_nine_get_each_message_once() {
    let h = Harness::start();
    let hangs = Misbehaving::start(Manner::Silent).await.unwrap();
    let fails = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let mut route = h.route("hangs", &hangs.url());
    route.policy.timeout = Duration::from_secs(60);
    h.serve(route).await;
    let mut route = h.route("fails", &fails.url());
    // So that none of its messages ends meanwhile.
    route.policy.retry = 100;
    h.serve(route).await;
    let mut healthy = Vec::new();
    for number in 0..HEALTHY {
        let subscriber = Subscriber::start().await.unwrap();
        h.serve(h.route(&format!("good-{number}"), &subscriber.url()))
            .await;
        healthy.push(subscriber);
    }
    for number in 0..MESSAGES {
        h.send(&number.to_string()).await;
    }
    for subscriber in &healthy {
        let got = subscriber.wait_for(MESSAGES).await.unwrap();
        let mut numbers: Vec<usize> = got
            .iter()
            .map(|got| String::from_utf8_lossy(&got.body).parse().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
        assert!(got.iter().all(|got| got.header("busway-attempt") == "1"));
    }
    // Its breaker is open, and what it has not got is held.
    let attempts = fails.got().len();
    assert!((10..MESSAGES * 4).contains(&attempts), "{attempts}");
    assert_eq!(h.bus.out(&subscription("fails")), MESSAGES);
}

const SENDERS: usize = 20;
const EACH: usize = 100;

#[tokio::test]
async fn many_senders_on_kept_connections_reach_every_subscription_once() {
    let h = Harness::start();
    let mut subscribers = Vec::new();
    for name in ["a", "b", "c"] {
        let subscriber = Subscriber::start().await.unwrap();
        h.serve(h.route(name, &subscriber.url())).await;
        subscribers.push(subscriber);
    }
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let address = h.address();
        senders.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for number in 0..EACH {
                let body = format!("{:05}", sender * EACH + number);
                let head = "POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
                stream
                    .write_all(format!("{head}{body}").as_bytes())
                    .await
                    .unwrap();
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\n") {
                    answer.push(stream.read_u8().await.unwrap());
                }
                assert!(answer.starts_with(b"HTTP/1.1 202"));
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.unwrap();
    }
    for subscriber in &subscribers {
        let got = subscriber.wait_for(SENDERS * EACH).await.unwrap();
        let mut numbers: Vec<usize> = got
            .iter()
            .map(|got| String::from_utf8_lossy(&got.body).parse().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..SENDERS * EACH).collect::<Vec<_>>());
    }
    let settled = u64::try_from(SENDERS * EACH * 3).unwrap();
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], settled)
        .await;
    assert_eq!(h.metric("busway_dispatcher_unsettled", &[]), 0);
    assert_eq!(h.metric("busway_receiver_connections_opened", &[]), 20);
}

/// How many requests were under way at once, at most.
#[derive(Clone, Default)]
struct AtOnce(Arc<Mutex<(Vec<Instant>, usize)>>);

/// How long an answer takes.
const SLOW: Duration = Duration::from_millis(50);

impl AtOnce {
    async fn subscriber(&self) -> Subscriber {
        let this = self.clone();
        let answer = move |_, _: &_| {
            let mut seen = this.0.lock().unwrap();
            let now = Instant::now();
            seen.0.retain(|began| now < *began + SLOW);
            seen.0.push(now);
            seen.1 = seen.1.max(seen.0.len());
            Answer::status(202).after(SLOW)
        };
        Subscriber::answering(answer).await.unwrap()
    }

    fn most(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[tokio::test]
async fn connections_that_one_subscription_took_are_shared_when_another_needs_some() {
    const ALL: usize = 48;
    let h = Harness::start();
    h.settings.lock().unwrap().max_connections = ALL;
    h.publish();
    let (greedy, late) = (AtOnce::default(), AtOnce::default());
    let (first, second) = (greedy.subscriber().await, late.subscriber().await);
    h.serve(h.route("greedy", &first.url())).await;
    for number in 0..400 {
        h.send(&number.to_string()).await;
    }
    first.wait_for(40).await.unwrap();
    // Many, and not the quarter that is kept for senders.
    assert!((18..=36).contains(&greedy.most()), "{}", greedy.most());
    h.serve(h.route("late", &second.url())).await;
    for number in 0..100 {
        h.send(&number.to_string()).await;
    }
    second.wait_for(100).await.unwrap();
    first.wait_for(500).await.unwrap();
    assert!((6..=36).contains(&late.most()), "{}", late.most());
    h.wait_settled("late").await;
}
