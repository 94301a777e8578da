//! What a consumer may count on.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, ensure};
use busway_core::bus::{BusError, Credit, Ordering};

use super::{
    Rig, Subject, Verdict,
    rig::{WIDE, message, subscription, subscription_ref, text},
};

/// A subscription that was never subscribed.
///
/// # Errors
/// Says how it was answered.
pub async fn an_unknown_subscription_is_refused(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let answer = rig.bus.consume(&subscription_ref("nobody"), WIDE).await;
    let error = answer
        .err()
        .context("an unknown subscription is consumed")?;
    ensure!(
        error == BusError::UnknownSubscription,
        "consuming an unknown subscription was to be UnknownSubscription, and is {error:?}"
    );
    Ok(())
}

/// A consumer that waits is woken by a publish.
///
/// # Errors
/// When it sleeps on.
pub async fn a_waiting_consumer_gets_what_is_published_later(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let mut consumer = rig.consume("s").await?;
    for n in ["1", "2", "3"] {
        consumer.nothing().await?;
        let (published, got) = futures::join!(rig.publish("orders", n), consumer.next());
        published?;
        let got = got.with_context(|| format!("waiting for {n}"))?;
        ensure!(
            text(&got) == n,
            "got {:?} where {n} was published",
            text(&got)
        );
        got.settle.done().await?;
    }
    Ok(())
}

/// Never more messages unsettled than the credit says; each settlement makes room for one.
///
/// # Errors
/// Says how many came.
pub async fn credit_in_messages_is_never_passed(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    for n in 0..8 {
        rig.publish("orders", &n.to_string()).await?;
    }
    let credit = Credit {
        messages: 3,
        ..WIDE
    };
    let mut consumer = rig.consume_with("s", credit).await?;
    let mut held = consumer.take(3).await?;
    for _ in 0..5 {
        consumer
            .nothing()
            .await
            .context("with a credit of 3, and 3 held")?;
        if let Some(delivery) = held.pop() {
            delivery.settle.done().await?;
        }
        let next = consumer.next().await;
        held.push(next.context("a settlement was to make room for one more")?);
    }
    Ok(())
}

/// Never more bytes unsettled than the credit says, but for one message; a message larger than the
/// whole credit is not stuck.
///
/// # Errors
/// Says how many bytes were held.
pub async fn credit_in_bytes_is_passed_by_one_message_at_most(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let kilobyte = message(&"x".repeat(1000));
    for _ in 0..6 {
        rig.try_publish("orders", kilobyte.clone()).await?;
    }
    let credit = Credit {
        messages: 100,
        bytes: 2500,
    };
    let mut consumer = rig.consume_with("s", credit).await?;
    let mut held = consumer.take(2).await?;
    if let Ok(Ok(third)) =
        tokio::time::timeout(std::time::Duration::from_millis(300), consumer.next()).await
    {
        held.push(third);
        consumer
            .nothing()
            .await
            .context("with a credit of 2500 bytes, and 3000 held")?;
    }
    for delivery in held {
        delivery.settle.done().await?;
    }
    drop(consumer);
    let credit = Credit {
        messages: 100,
        bytes: 10,
    };
    let mut consumer = rig.consume_with("s", credit).await?;
    for _ in 0..2 {
        let alone = consumer
            .next()
            .await
            .context("larger than the whole credit")?;
        consumer
            .nothing()
            .await
            .context("with the credit passed by one message")?;
        alone.settle.done().await?;
    }
    Ok(())
}

/// A subscription that takes all and settles nothing, and one that nobody consumes, change nothing
/// for a third.
///
/// # Errors
/// Says what the third missed.
pub async fn one_subscription_that_settles_nothing_changes_nothing_for_another(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    for name in ["stuck", "absent"] {
        rig.subscribe(&subscription("orders", name)).await?;
    }
    let credit = Credit {
        messages: 2,
        ..WIDE
    };
    let mut stuck = rig.consume_with("stuck", credit).await?;
    let names: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    rig.publish("orders", "0").await?;
    rig.publish("orders", "1").await?;
    let held = stuck.take(2).await?;
    for name in names.iter().skip(2) {
        rig.publish("orders", name).await?;
    }
    rig.comes("s", &names).await?;
    ensure!(held.len() == 2, "the stuck one holds its two");
    Ok(())
}

/// Two consumers of one subscription share its messages; none is held by both.
///
/// # Errors
/// Says which message was.
pub async fn two_consumers_never_hold_one_message(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let mut consumers = (rig.consume("s").await?, rig.consume("s").await?);
    for n in 0..20 {
        rig.publish("orders", &n.to_string()).await?;
    }
    let mut held = Vec::new();
    let mut seen = BTreeSet::new();
    while held.len() < 20 {
        let delivery = tokio::select! {
            delivery = consumers.0.next() => delivery?,
            delivery = consumers.1.next() => delivery?,
        };
        let text = text(&delivery);
        ensure!(seen.insert(text.clone()), "{text} is held twice at once");
        held.push(delivery);
    }
    consumers.0.nothing().await?;
    consumers.1.nothing().await
}

/// Where the bus declares `SingleConsumer`: messages come in the order in which they were published,
/// and one that was handed back comes before what is behind it.
///
/// # Errors
/// Says what came out of order.
pub async fn a_single_consumer_gets_messages_in_order(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let ordered = rig.profile().ordering == Ordering::SingleConsumer;
    for n in 0..10 {
        rig.publish("orders", &n.to_string()).await?;
    }
    let credit = Credit {
        messages: 1,
        ..WIDE
    };
    let mut consumer = rig.consume_with("s", credit).await?;
    for n in 0..10 {
        let delivery = consumer.next().await?;
        let got = text(&delivery);
        ensure!(
            !ordered || got == n.to_string(),
            "got {got} where {n} was next"
        );
        delivery.settle.release();
        let again = consumer.next().await?;
        let got = text(&again);
        ensure!(
            !ordered || got == n.to_string(),
            "got {got} where {n}, handed back, was next"
        );
        again.settle.done().await?;
    }
    consumer.nothing().await
}

/// `unsubscribe` ends the streams of the subscription; what was in it does not come back.
///
/// # Errors
/// Says what came.
pub async fn unsubscribing_ends_the_stream_and_discards_the_backlog(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let s = subscription("orders", "s");
    rig.publish("orders", "held").await?;
    rig.publish("orders", "waiting").await?;
    let credit = Credit {
        messages: 1,
        ..WIDE
    };
    let mut consumer = rig.consume_with("s", credit).await?;
    let held = consumer.next().await?;
    rig.unsubscribe(&s).await?;
    consumer.ends().await.context("after unsubscribe")?;
    drop(held);
    rig.subscribe(&s).await?;
    rig.comes("s", &[])
        .await
        .context("subscribed again after unsubscribe")
}
