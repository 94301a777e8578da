//! One subscription's trouble is nobody else's.

use std::time::Duration;

use busway_testkit::subscriber::{Answer, Manner, Misbehaving, Subscriber};

use super::harness::Harness;

const HEALTHY: usize = 18;
const MESSAGES: usize = 50;

#[tokio::test]
async fn of_twenty_one_hangs_and_one_fails_and_the_rest_gets_each_message_once() {
    let h = Harness::start();
    let hangs = Misbehaving::start(Manner::Silent).await.unwrap();
    let fails = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let mut route = h.route("hangs", &hangs.url());
    route.policy.timeout = Duration::from_secs(60);
    h.serve(route).await;
    h.serve(h.route("fails", &fails.url())).await;
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
    h.wait_settled("fails").await;
    assert_eq!(fails.got().len(), MESSAGES * 4);
}
