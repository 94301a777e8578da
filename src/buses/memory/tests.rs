//! The bus as a whole, where the contract's own suite does not look: full queues, memory, settings.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use busway_core::{
    BusRef, Uid,
    bus::{Delivery, Fate, MemorySettings, Retention, WhenFull},
    outcome::Cause,
    world::SystemClock,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::{config::RETRY_AFTER, *};

const WIDE: Credit = Credit {
    messages: 1000,
    bytes: 1 << 30,
};

fn settings(when_full: WhenFull, max_messages: usize) -> MemorySettings {
    MemorySettings {
        when_full,
        max_messages,
        ..MemorySettings::default()
    }
}

fn bus_spec(memory: MemorySettings, max_memory: usize) -> BusSpec {
    BusSpec {
        bus: BusRef::Cluster {
            name: "memory".to_owned(),
        },
        uid: Uid::new("bus"),
        memory: Some(memory),
        max_memory,
    }
}

fn channel() -> ChannelRef {
    ChannelRef::new("shop", "orders")
}

fn subscription(name: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        subscription: SubscriptionRef::new("shop", name),
        uid: Uid::new(name),
        channel: channel(),
        channel_uid: Uid::new("channel"),
        parameters: BTreeMap::new(),
        timeout: Duration::from_secs(30),
    }
}

async fn bus(memory: MemorySettings, max_memory: usize, subscriptions: &[&str]) -> MemoryBus {
    let bus = MemoryBus::new(MemoryBudget::new(0), Arc::new(SystemClock));
    bus.sync_bus(&bus_spec(memory, max_memory)).await.unwrap();
    let spec = ChannelSpec {
        channel: channel(),
        uid: Uid::new("channel"),
        parameters: BTreeMap::new(),
        retention: Retention::Delete,
    };
    bus.provision(&spec).await.unwrap();
    for name in subscriptions {
        bus.subscribe(&subscription(name)).await.unwrap();
    }
    bus
}

async fn send(bus: &MemoryBus, body: impl Into<Bytes>) -> Result<(), PublishError> {
    let message = Message::default().with_body(body.into());
    bus.publish(&channel(), message).await
}

async fn consume(bus: &MemoryBus, name: &str) -> Deliveries {
    let subscription = SubscriptionRef::new("shop", name);
    bus.consume(&subscription, WIDE).await.unwrap()
}

/// What is there now.
fn drain(deliveries: &mut Deliveries) -> Vec<Delivery> {
    std::iter::from_fn(|| deliveries.next().now_or_never().flatten())
        .map(Result::unwrap)
        .collect()
}

fn bodies(deliveries: &[Delivery]) -> Vec<(&str, Fate)> {
    let text = |d: &Delivery| std::str::from_utf8(d.message.body()).unwrap().to_owned();
    deliveries
        .iter()
        .map(|d| (&*text(d).leak(), d.fate))
        .collect()
}

const OVERFLOW: Fate = Fate::DeadLetter(Cause::Overflow);

#[tokio::test]
async fn a_body_that_comes_in_finds_room_where_a_queue_may_shed() {
    for (when_full, makes_room) in [(WhenFull::DropOldest, true), (WhenFull::Reject, false)] {
        let bus = bus(settings(when_full, 1000), 64 * 1024, &["hung", "small"]).await;
        while bus.budget.used() < 56 * 1024 {
            send(&bus, vec![b'x'; 1024]).await.unwrap();
        }
        let room = bus.budget.make_room(16 * 1024);
        assert_eq!(room.is_some(), makes_room, "{when_full:?}");
        assert_eq!(bus.stats().shed > 0, makes_room, "{when_full:?}");
        assert!(bus.budget.used() <= bus.budget.limit());
    }
}

#[tokio::test]
async fn a_full_queue_hands_its_oldest_out_as_a_dead_letter_and_others_notice_nothing() {
    let bus = bus(
        settings(WhenFull::DropOldest, 2),
        1 << 20,
        &["slow", "quick"],
    )
    .await;
    let (mut slow, mut quick) = (consume(&bus, "slow").await, consume(&bus, "quick").await);
    for body in ["a", "b", "c"] {
        send(&bus, body).await.unwrap();
        let got = drain(&mut quick);
        assert_eq!(bodies(&got), [(body, Fate::Deliver)]);
        for delivery in got {
            delivery.settle.done().await.unwrap();
        }
    }
    let got = drain(&mut slow);
    let expected = [("a", OVERFLOW), ("b", Fate::Deliver), ("c", Fate::Deliver)];
    assert_eq!(bodies(&got), expected);
    assert_eq!((bus.stats().shed, bus.stats().dropped), (1, 0));
}

#[tokio::test]
async fn what_is_held_is_never_shed_so_the_new_message_is() {
    let bus = bus(settings(WhenFull::DropOldest, 1), 1 << 20, &["s"]).await;
    let mut consumer = consume(&bus, "s").await;
    send(&bus, "held").await.unwrap();
    let held = drain(&mut consumer);
    send(&bus, "new").await.unwrap();
    assert_eq!(bodies(&drain(&mut consumer)), [("new", OVERFLOW)]);
    drop(held);
    assert_eq!(
        bodies(&drain(&mut consumer)),
        [("new", OVERFLOW), ("held", Fate::Deliver)]
    );
}

#[tokio::test]
async fn reject_refuses_a_message_for_all_when_one_queue_is_full() {
    let bus = bus(settings(WhenFull::Reject, 1), 1 << 20, &["a", "b"]).await;
    let (mut a, mut b) = (consume(&bus, "a").await, consume(&bus, "b").await);
    send(&bus, "1").await.unwrap();
    for delivery in drain(&mut a) {
        delivery.settle.done().await.unwrap();
    }
    let refused = send(&bus, "2").await;
    assert_eq!(refused, Err(PublishError::Busy { after: RETRY_AFTER }));
    assert!(drain(&mut a).is_empty());
    for delivery in drain(&mut b) {
        delivery.settle.done().await.unwrap();
    }
    send(&bus, "3").await.unwrap();
    assert_eq!(bodies(&drain(&mut a)), [("3", Fate::Deliver)]);
    assert_eq!(bodies(&drain(&mut b)), [("3", Fate::Deliver)]);
    assert_eq!(bus.stats().shed, 0);
}

#[tokio::test]
async fn over_the_memory_of_the_process_the_subscription_that_holds_most_is_shed_from() {
    let bus = bus(
        settings(WhenFull::DropOldest, 1000),
        1 << 20,
        &["full", "empty"],
    )
    .await;
    let mut empty = consume(&bus, "empty").await;
    for _ in 0..200 {
        send(&bus, vec![b'x'; 64 * 1024]).await.unwrap();
        let got = drain(&mut empty);
        assert_eq!(got.len(), 1);
        assert!(bus.budget.used() <= 1 << 20);
        for delivery in got {
            assert_eq!(delivery.fate, Fate::Deliver);
            delivery.settle.done().await.unwrap();
        }
    }
    let stats = bus.stats();
    assert_eq!(stats.held + stats.dropped, 200);
    assert!(stats.dropped > 100, "{stats:?}");
}

#[tokio::test]
async fn over_the_memory_of_the_process_a_rejecting_bus_is_unavailable() {
    let bus = bus(settings(WhenFull::Reject, 1000), 100 * 1024, &["s"]).await;
    send(&bus, vec![b'x'; 64 * 1024]).await.unwrap();
    let refused = send(&bus, vec![b'x'; 64 * 1024]).await.unwrap_err();
    assert_eq!(refused.reason(), "Unavailable");
    let huge = send(&bus, vec![b'x'; 128 * 1024]).await.unwrap_err();
    assert_eq!(huge.reason(), "TooLarge");
    assert_eq!(bus.stats().held, 1);
}

#[tokio::test]
async fn new_settings_hold_for_what_comes_and_a_queue_comes_down_to_them_bit_by_bit() {
    let bus = bus(settings(WhenFull::DropOldest, 10), 1 << 20, &["s"]).await;
    for n in 0..10 {
        send(&bus, n.to_string()).await.unwrap();
    }
    let spec = bus_spec(settings(WhenFull::DropOldest, 4), 1 << 20);
    bus.sync_bus(&spec).await.unwrap();
    assert_eq!(bus.stats().shed, 0);
    for (sent, held) in (1..=8).zip([9, 8, 7, 6, 5, 4, 4, 4]) {
        send(&bus, "m").await.unwrap();
        let stats = bus.stats();
        // What was shed is handed out as dead letters, and counts until then.
        assert_eq!(stats.held - stats.shed, held, "after {sent}");
    }
    let spec = bus_spec(settings(WhenFull::Reject, 4), 1 << 20);
    bus.sync_bus(&spec).await.unwrap();
    assert_eq!(send(&bus, "no").await.unwrap_err().reason(), "Busy");
}

#[tokio::test]
async fn what_goes_with_a_subscription_is_counted() {
    let bus = bus(settings(WhenFull::DropOldest, 10), 1 << 20, &["a", "b"]).await;
    for _ in 0..3 {
        send(&bus, "m").await.unwrap();
    }
    bus.unsubscribe(&subscription("a")).await.unwrap();
    bus.unsubscribe(&subscription("a")).await.unwrap();
    let stats = bus.stats();
    assert_eq!((stats.discarded, stats.held), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_back_at_its_time_and_behind_nobody() {
    let bus = bus(settings(WhenFull::DropOldest, 10), 1 << 20, &["s"]).await;
    let mut consumer = consume(&bus, "s").await;
    send(&bus, "first").await.unwrap();
    let first = consumer.next().await.unwrap().unwrap();
    let started = Instant::now();
    let at = SystemTime::now() + Duration::from_secs(3600);
    first.settle.retry_at(at, 7).await.unwrap();
    send(&bus, "second").await.unwrap();
    let second = consumer.next().await.unwrap().unwrap();
    assert_eq!(second.message.body(), "second");
    second.settle.release();
    assert!(started.elapsed() < Duration::from_secs(1));
    let second = consumer.next().await.unwrap().unwrap();
    let again = consumer.next().await.unwrap().unwrap();
    assert_eq!(
        (again.message.body().as_ref(), again.attempts),
        (&b"first"[..], 7)
    );
    let waited = started.elapsed().as_secs();
    assert!((3590..3601).contains(&waited), "{waited}");
    second.settle.done().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_consumer_is_woken_by_a_publish_a_settlement_and_the_end() {
    let bus = Arc::new(bus(settings(WhenFull::DropOldest, 10), 1 << 20, &["s"]).await);
    let one = Credit {
        messages: 1,
        bytes: 1,
    };
    let subscription_ref = SubscriptionRef::new("shop", "s");
    let mut consumer = bus.consume(&subscription_ref, one).await.unwrap();
    let (held, mut got) = tokio::sync::mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            held.send(delivery.unwrap()).await.unwrap();
        }
    });
    for body in ["one", "two"] {
        send(&bus, body).await.unwrap();
    }
    for body in ["one", "two"] {
        let delivery = got.recv().await.unwrap();
        assert_eq!(delivery.message.body(), body);
        delivery.settle.done().await.unwrap();
    }
    bus.unsubscribe(&subscription("s")).await.unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn those_that_hold_what_they_took_leave_room_for_others() {
    const LIMIT: usize = 1 << 20;
    let names = ["a", "b", "c", "d"];
    let bus = bus(settings(WhenFull::DropOldest, 100_000), LIMIT, &names).await;
    let mut consumers = Vec::new();
    for name in names {
        consumers.push((consume(&bus, name).await, Vec::new()));
    }
    // Many times what fits, and nobody settles.
    for _ in 0..1000 {
        send(&bus, vec![0; 4096]).await.unwrap();
        for (consumer, held) in &mut consumers {
            while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
                held.push(delivery);
            }
        }
    }
    for (_, held) in &consumers {
        let kept: usize = held.iter().map(|d| d.message.size()).sum();
        assert!((LIMIT / 20..LIMIT * 3 / 4).contains(&kept), "{kept}");
    }
    // Who is quick gets each message though memory is scarce.
    assert!(bus.budget.used() > LIMIT / 2);
    let (quick, held) = consumers.pop().unwrap();
    drop(held);
    drop(quick);
    let mut quick = consume(&bus, "d").await;
    let mut got = 0;
    while let Some(Some(Ok(delivery))) = quick.next().now_or_never() {
        delivery.settle.done().await.unwrap();
        got += 1;
    }
    assert!(got > 10, "{got}");
}
