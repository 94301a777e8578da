//! Routes that change, pause, vanish and return; streams that break.

use std::time::Duration;

use busway_core::{Uid, routes::Flow, serving::DataPlane as _};
use busway_testkit::{
    fakes::{Call, FakeBus},
    subscriber::{Answer, Subscriber},
    wait::until,
    zoo::{Manner, Misbehaving},
};

use super::harness::{DEADLINE, Harness, subscription};

async fn gone(h: &Harness, uid: &str) {
    until("it is no longer served", DEADLINE, || async {
        match h.plane.loaded().generation(&Uid::new(uid)) {
            None => Ok(()),
            Some(generation) => Err(generation),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn paused_nothing_is_attempted_and_resumed_it_goes_on_where_it_stood() {
    let h = Harness::start();
    let subscriber = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.retry = 100;
    h.serve(route).await;
    h.send("one").await;
    subscriber.wait_for(2).await.unwrap();
    let mut paused = h.route("s", &subscriber.url());
    paused.flow = Flow::Paused;
    h.serve(paused).await;
    let attempts = subscriber.got().len();
    h.send("two").await;
    until("what was taken is handed back", DEADLINE, || async {
        match (
            h.bus.out(&subscription("s")),
            h.bus.calls(&subscription("s")).pop(),
        ) {
            (0, Some(Call::Closed)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(h.bus.waiting(&subscription("s")), 2);
    assert_eq!(subscriber.got().len(), attempts);
    subscriber.now_answers(|_, _| Answer::status(202));
    h.serve(h.route("s", &subscriber.url())).await;
    h.wait_settled("s").await;
    let got = subscriber.got();
    assert_eq!(got.len(), attempts + 2);
    let resumed = got[attempts..]
        .iter()
        .find(|got| &got.body[..] == b"one")
        .unwrap();
    assert_eq!(resumed.header("busway-attempt"), (attempts + 1).to_string());
}

#[tokio::test]
async fn a_pause_lets_running_attempts_finish_and_they_count() {
    let h = Harness::start();
    let subscriber =
        Subscriber::answering(|_, _| Answer::status(202).after(Duration::from_millis(200)))
            .await
            .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    h.send("one").await;
    subscriber.wait_for(1).await.unwrap();
    let mut held = h.route("s", &subscriber.url());
    held.flow = Flow::Held;
    h.serve(held).await;
    h.wait_metric("busway_dispatcher_settled", &["Delivered"], 1)
        .await;
    h.wait_settled("s").await;
    until("the stream is dropped", DEADLINE, || async {
        let calls = h.bus.calls(&subscription("s"));
        if calls.last() == Some(&Call::Closed) {
            Ok(())
        } else {
            Err(format!("{calls:?}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(subscriber.got().len(), 1);
}

#[tokio::test]
async fn a_change_takes_effect_for_the_next_attempt_and_pauses_nobody() {
    let h = Harness::start();
    let old = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let (new, other) = (
        Subscriber::start().await.unwrap(),
        Subscriber::start().await.unwrap(),
    );
    let mut route = h.route("s", &old.url());
    route.policy.retry = 1000;
    h.serve(route).await;
    h.serve(h.route("other", &other.url())).await;
    h.send("one").await;
    old.wait_for(2).await.unwrap();
    h.serve(h.route("s", &new.url())).await;
    let got = new.wait_for(1).await.unwrap();
    assert!(got[0].header("busway-attempt").parse::<u32>().unwrap() > 2);
    h.wait_settled("s").await;
    assert_eq!(other.got().len(), 1);
    let closed = |name| h.bus.calls(&subscription(name)).contains(&Call::Closed);
    assert!(!closed("other") && !closed("s"));
}

#[tokio::test]
async fn another_credit_opens_the_stream_anew_without_a_second_delivery() {
    let h = Harness::start();
    let subscriber =
        Subscriber::answering(|_, _| Answer::status(202).after(Duration::from_millis(100)))
            .await
            .unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    h.send("one").await;
    subscriber.wait_for(1).await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.max_unsettled = 5;
    h.serve(route).await;
    h.send("two").await;
    h.wait_settled("s").await;
    until("another stream", DEADLINE, || async {
        let calls = h.bus.calls(&subscription("s"));
        match calls.contains(&Call::Consume(5)) {
            true => Ok(()),
            false => Err(format!("{calls:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(subscriber.got().len(), 2);
}

#[tokio::test]
async fn deleted_it_stops_at_once_and_created_again_nothing_of_the_old_is_left() {
    let h = Harness::start();
    let silent = Misbehaving::start(Manner::Silent).await.unwrap();
    let fails = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    for (name, url) in [("hangs", silent.url()), ("waits", fails.url())] {
        let mut route = h.route(name, &url);
        route.policy.backoff.delay = Duration::from_secs(60);
        route.policy.backoff.max = Duration::from_secs(60);
        h.serve(route).await;
    }
    h.send("old").await;
    fails.wait_for(1).await.unwrap();
    h.wait_metric("busway_dispatcher_in_flight", &["subscriber"], 1)
        .await;
    for name in ["hangs", "waits"] {
        h.delete(name);
        gone(&h, &format!("uid-{name}")).await;
        assert_eq!(h.bus.out(&subscription(name)), 0);
        assert!(h.plane.health(&Uid::new(&format!("uid-{name}"))).is_none());
    }
    for gauge in [
        "busway_dispatcher_unsettled",
        "busway_dispatcher_lanes",
        "busway_dispatcher_subscriptions",
    ] {
        h.wait_metric(gauge, &[], 0).await;
    }
    // The same name with another identity.
    let fresh = Subscriber::start().await.unwrap();
    let mut route = h.route("waits", &fresh.url());
    route.uid = Uid::new("another");
    h.serve(route).await;
    fresh.wait_for(1).await.unwrap();
    assert_eq!(fails.got().len(), 1);
}

#[tokio::test]
async fn replaced_in_one_snapshot_the_old_ends_before_the_new_begins() {
    let h = Harness::start();
    let (old, new) = (
        Misbehaving::start(Manner::Silent).await.unwrap(),
        Subscriber::start().await.unwrap(),
    );
    h.serve(h.route("s", &old.url())).await;
    h.send("one").await;
    h.wait_metric("busway_dispatcher_in_flight", &["subscriber"], 1)
        .await;
    let mut route = h.route("s", &new.url());
    route.uid = Uid::new("another");
    h.serve(route).await;
    new.wait_for(1).await.unwrap();
    let calls = h.bus.steps(&subscription("s"));
    assert_eq!(
        calls[..4],
        [
            Call::Consume(1024),
            Call::Released,
            Call::Closed,
            Call::Consume(1024)
        ]
    );
    gone(&h, "uid-s").await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_opened_is_tried_again_and_not_called_served() {
    let h = Harness::start();
    h.bus.fail_consume(2);
    let subscriber = Subscriber::start().await.unwrap();
    let route = h.route("s", &subscriber.url());
    h.bus.join(&super::harness::orders(), &route.subscription);
    h.put(route);
    h.wait_metric("busway_dispatcher_bus_errors", &["consume"], 1)
        .await;
    assert_eq!(h.plane.loaded().generation(&Uid::new("uid-s")), None);
    h.send("x").await;
    subscriber.wait_for(1).await.unwrap();
    assert!(h.plane.loaded().generation(&Uid::new("uid-s")).is_some());
}

#[tokio::test]
async fn a_bus_that_is_removed_takes_its_subscriptions_with_it() {
    let h = Harness::with(FakeBus::durable());
    let subscriber = Subscriber::start().await.unwrap();
    h.serve(h.route("s", &subscriber.url())).await;
    h.dataplane
        .remove(&busway_core::BusRef::parse("memory").unwrap());
    gone(&h, "uid-s").await;
    assert_eq!(h.post("/shop/orders", &[], "x").await.status, 503);
}
