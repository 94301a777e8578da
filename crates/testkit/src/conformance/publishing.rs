//! What a publisher may count on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use busway_core::bus::{Credit, PublishError};
use busway_message::Message;
use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;

use super::{
    Rig, Subject, Verdict,
    rig::{WIDE, channel, message, subscription, text},
};

/// How far a bus's clock may be from ours.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// A channel that was never provisioned.
///
/// # Errors
/// Says how it was answered.
pub async fn an_unknown_channel_is_refused(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let answer = rig.try_publish("nowhere", message("lost")).await;
    ensure!(
        matches!(answer, Err(PublishError::UnknownChannel(_))),
        "a publish to a channel that was never provisioned was to be UnknownChannel, and is {answer:?}"
    );
    rig.comes("s", &[]).await
}

/// A channel takes messages from when `provision` returned, also without subscriptions.
///
/// # Errors
/// When it does not.
pub async fn a_channel_without_subscriptions_takes_messages(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    rig.provision(&channel("orders")).await?;
    rig.publish("orders", "nobody's").await
}

/// A message goes to all subscriptions of its channel, once each, and to none of another.
///
/// # Errors
/// Says who got what else.
pub async fn every_subscription_of_the_channel_gets_a_message_and_no_other_does(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::open(subject).await?;
    for (channel_name, subscriptions) in [("orders", ["a", "b"]), ("returns", ["c", "d"])] {
        rig.provision(&channel(channel_name)).await?;
        for name in subscriptions {
            rig.subscribe(&subscription(channel_name, name)).await?;
        }
    }
    for n in ["1", "2", "3"] {
        rig.publish("orders", n).await?;
    }
    rig.publish("returns", "r").await?;
    for name in ["a", "b"] {
        rig.comes(name, &["1", "2", "3"]).await?;
    }
    for name in ["c", "d"] {
        rig.comes(name, &["r"]).await?;
    }
    Ok(())
}

/// A subscription sees everything from when `subscribe` returned, and by default nothing older.
///
/// # Errors
/// Says what it saw.
pub async fn a_subscription_sees_what_is_published_after_it_and_nothing_from_before(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::open(subject).await?;
    rig.provision(&channel("orders")).await?;
    rig.publish("orders", "before").await?;
    rig.subscribe(&subscription("orders", "s")).await?;
    rig.publish("orders", "after").await?;
    rig.comes("s", &["after"]).await
}

/// Messages are carried byte for byte: bodies of any content and size, header values that are no
/// text, repeated headers.
///
/// # Errors
/// Says which message came out changed.
pub async fn headers_and_bytes_come_out_as_they_went_in(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let every_byte: Vec<u8> = (0..=255).collect();
    let bodies = [
        Bytes::new(),
        Bytes::from(every_byte.clone()),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"<x>\r\n\xff\xfe</x>"),
        Bytes::from(every_byte.repeat(4096)),
    ];
    let mut sent = BTreeMap::new();
    for (n, body) in bodies.into_iter().enumerate() {
        let mut headers = HeaderMap::new();
        let key = HeaderName::from_static("x-request-id");
        headers.insert(key, HeaderValue::from(n));
        headers.insert(
            "ce-subject",
            HeaderValue::from_bytes(b"caf\xc3\xa9 \xff\xfe")?,
        );
        headers.insert("content-type", HeaderValue::from_static("a/b; c=\"d:e\""));
        headers.append("tracestate", HeaderValue::from_static("a=1"));
        headers.append("tracestate", HeaderValue::from_static("b=2,c=3"));
        headers.insert("baggage", HeaderValue::from_static(""));
        let message = Message::new(headers, body);
        rig.try_publish("orders", message.clone())
            .await
            .with_context(|| format!("publish message {n}"))?;
        sent.insert(n.to_string(), message);
    }
    let mut consumer = rig.consume("s").await?;
    for delivery in consumer.take(sent.len()).await? {
        let id = delivery.message.header("x-request-id").unwrap_or_default();
        let expected = sent
            .remove(id)
            .with_context(|| format!("message {id:?} came twice"))?;
        ensure!(
            delivery.message.body() == expected.body(),
            "the body of message {id} changed: {} bytes became {}",
            expected.body().len(),
            delivery.message.body().len()
        );
        ensure!(
            delivery.message.headers() == expected.headers(),
            "the headers of message {id} changed: {:?} became {:?}",
            expected.headers(),
            delivery.message.headers()
        );
        delivery.settle.done().await?;
    }
    Ok(())
}

/// `accepted_at` is when `publish` was called, also when the message is taken later or again.
///
/// # Errors
/// Says how far it is off.
pub async fn a_message_is_dated_by_its_acceptance(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let before = SystemTime::now() - CLOCK_SLACK;
    rig.publish("orders", "dated").await?;
    let after = SystemTime::now() + CLOCK_SLACK;
    let mut consumer = rig.consume("s").await?;
    let first = consumer.next().await?;
    let accepted_at = first.accepted_at;
    ensure!(
        (before..=after).contains(&accepted_at),
        "accepted_at {accepted_at:?} is not between {before:?} and {after:?}"
    );
    drop(first);
    let again = consumer.next().await?;
    ensure!(
        again.accepted_at == accepted_at,
        "accepted_at changed from {accepted_at:?} to {:?} when the message came again",
        again.accepted_at
    );
    Ok(())
}

/// Many publishers, two consumers that also drop and hand back: each message is settled in the end,
/// and none comes again after that.
///
/// # Errors
/// Says which message was lost or came after it was settled.
pub async fn many_publishers_and_consumers_lose_nothing(subject: Arc<dyn Subject>) -> Verdict {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 50;
    let rig = Rig::subscribed(subject).await?;
    let rig = &rig;
    let publishing = try_join_all((0..PUBLISHERS).map(async |publisher| {
        for n in 0..EACH {
            rig.publish("orders", &format!("{publisher}/{n}")).await?;
        }
        anyhow::Ok(())
    }));
    let settled = Mutex::new(BTreeMap::<String, u32>::new());
    let all_settled = Semaphore::new(0);
    let consuming = try_join_all((0..2).map(async |which| {
        let credit = Credit {
            messages: 7,
            ..WIDE
        };
        let mut consumer = rig.consume_with("s", credit).await?;
        for turn in 0_usize.. {
            let delivery = tokio::select! {
                biased;
                _ = all_settled.acquire() => break,
                delivery = consumer.next() => delivery?,
            };
            let text = text(&delivery);
            match (turn + which) % 5 {
                0 => drop(delivery),
                1 => delivery.settle.release(),
                _ => {
                    delivery.settle.done().await.context("done")?;
                    let mut settled = settled.lock().unwrap_or_else(PoisonError::into_inner);
                    *settled.entry(text).or_default() += 1;
                    if settled.len() == PUBLISHERS * EACH {
                        all_settled.add_permits(2);
                    }
                }
            }
        }
        anyhow::Ok(())
    }));
    futures::try_join!(publishing, consuming).context("of 200 messages")?;
    let settled = settled.into_inner().unwrap_or_else(PoisonError::into_inner);
    let twice: Vec<_> = settled.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(
        twice.is_empty(),
        "came again after they were settled: {twice:?}"
    );
    rig.comes("s", &[]).await
}
