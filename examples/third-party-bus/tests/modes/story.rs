use std::collections::BTreeMap;

use busway_buskit::store;
use busway_testkit::{
    subscriber::{Answer, Got, Subscriber},
    wait,
};
use serde_json::json;

use crate::world::{DEADLINE, World};

pub(crate) async fn a_message_is_delivered_or_retried_and_dead_lettered(world: &World) {
    let works = Subscriber::start().await.unwrap();
    let fails = Subscriber::answering(|_, _| Answer::status(500)).await.unwrap();
    let letters = Subscriber::start().await.unwrap();
    world.apply_channel().await;
    world.apply_subscription("works", &works.url(), json!({})).await;
    let delivery = json!({"retry": 2, "backoffDelay": "100ms", "deadLetterSink": letters.url()});
    world.apply_subscription("fails", &fails.url(), json!({"delivery": delivery})).await;
    // Without a sink, the bus's own store takes it.
    let rejects = Subscriber::answering(|_, _| Answer::status(422)).await.unwrap();
    world.apply_subscription("rejects", &rejects.url(), json!({})).await;
    let dispatcher = world.start().await;
    world.ready(&dispatcher, &["works", "fails", "rejects"]).await;

    assert_eq!(world.post(&dispatcher, "hello").await, 202);
    let got = works.wait_for(1).await.unwrap();
    assert_eq!(got[0].body, "hello");
    let attempts: Vec<_> = fails.wait_for(3).await.unwrap().iter().map(attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let letter = letters.wait_for(1).await.unwrap().remove(0);
    assert_eq!(letter.body, "hello");
    assert_eq!(letter.header("busway-error-attempts"), "3");
    assert_eq!(letter.header("busway-error-code"), "500");
    world.until_rows("queue", 0).await;
    assert_eq!(world.rows("dead WHERE cause = 'Rejected'"), 1);
    assert_eq!(world.rows("dead"), 1);
    assert_eq!(works.got().len(), 1);
    assert_eq!(fails.got().len(), 3);
}

pub(crate) async fn what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on(world: &World) {
    let subscriber = Subscriber::answering(|_, _| Answer::status(503)).await.unwrap();
    world.apply_channel().await;
    let delivery = json!({"retry": 100, "backoffDelay": "100ms", "backoffMax": "200ms"});
    world.apply_subscription("s", &subscriber.url(), json!({"delivery": delivery})).await;
    let dispatcher = world.start().await;
    world.ready(&dispatcher, &["s"]).await;
    for n in 0..20 {
        assert_eq!(world.post(&dispatcher, &n.to_string()).await, 202);
    }
    world.until_rows("queue WHERE attempts < 2", 0).await;
    // Some that were just accepted, and in the middle of the others' attempts.
    for n in 20..25 {
        assert_eq!(world.post(&dispatcher, &n.to_string()).await, 202);
    }
    dispatcher.kill().await;
    let (stored, before) = (attempts_in_file(world), subscriber.got().len());
    assert_eq!(stored.len(), 25);
    assert!(stored.values().filter(|attempts| **attempts >= 2).count() >= 20, "{stored:?}");

    subscriber.now_answers(|_, _| Answer::status(202));
    let dispatcher = world.start().await;
    wait::until("everything is settled", DEADLINE, async || {
        let left = world.rows("queue");
        if left == 0 { Ok(()) } else { Err(format!("{left} left\n{:#?}", dispatcher.process.output())) }
    })
    .await
    .unwrap();
    let mut after = BTreeMap::new();
    for got in subscriber.got().get(before..).unwrap() {
        let body = String::from_utf8(got.body.to_vec()).unwrap();
        assert_eq!(after.insert(body, attempt(got)), None, "delivered twice");
    }
    assert_eq!(after.len(), stored.len());
    for (body, attempts) in stored {
        assert!(after[&body] > attempts, "{body}: attempt {} after {attempts}", after[&body]);
    }
    assert_eq!(world.rows("dead"), 0);
}

pub(crate) async fn paused_messages_wait_and_resume(world: &World) {
    let subscriber = Subscriber::start().await.unwrap();
    let other = Subscriber::start().await.unwrap();
    world.apply_channel().await;
    world.apply_subscription("s", &subscriber.url(), json!({})).await;
    world.apply_subscription("other", &other.url(), json!({})).await;
    let dispatcher = world.start().await;
    world.ready(&dispatcher, &["s", "other"]).await;
    assert_eq!(world.post(&dispatcher, "first").await, 202);
    subscriber.wait_for(1).await.unwrap();

    world.apply_subscription("s", &subscriber.url(), json!({"paused": true})).await;
    world.condition(&dispatcher, ["Subscription", "s"], ["Delivering", "False"]).await;
    for body in ["second", "third"] {
        assert_eq!(world.post(&dispatcher, body).await, 202);
    }
    other.wait_for(3).await.unwrap();
    assert_eq!(subscriber.got().len(), 1);
    world.until_rows("queue", 2).await;

    world.apply_subscription("s", &subscriber.url(), json!({})).await;
    let got = subscriber.wait_for(3).await.unwrap();
    let mut bodies: Vec<_> = got.iter().map(|got| got.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["first", "second", "third"]);
    world.until_rows("queue", 0).await;
}

fn attempt(got: &Got) -> u32 {
    got.header("busway-attempt").parse().unwrap()
}

/// The attempts that are stored, by body.
fn attempts_in_file(world: &World) -> BTreeMap<String, u32> {
    let file = world.file();
    let mut rows = file.prepare("SELECT message, attempts FROM queue").unwrap();
    let rows = rows.query_map([], |row| {
        let message = store::decode(&row.get::<_, Vec<u8>>(0)?).unwrap();
        Ok((String::from_utf8(message.body().to_vec()).unwrap(), row.get(1)?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}
