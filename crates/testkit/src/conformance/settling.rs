//! What ends a delivery, and the count of attempts.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};

use super::{Rig, Subject, Verdict, rig::text};

/// How much too early a delayed message may come: clocks are read twice.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// What is settled never comes again, also not to another consumer.
///
/// # Errors
/// Says what came.
pub async fn done_is_final(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    for n in ["1", "2", "3"] {
        rig.publish("orders", n).await?;
    }
    let mut consumer = rig.consume("s").await?;
    for delivery in consumer.take(3).await? {
        delivery.settle.done().await.context("done")?;
    }
    consumer.nothing().await?;
    drop(consumer);
    rig.comes("s", &[]).await
}

/// Dropping a delivery hands it back, without an attempt counted.
///
/// # Errors
/// Says what came instead.
pub async fn a_dropped_delivery_comes_back_and_is_no_attempt(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.publish("orders", "again").await?;
    let mut consumer = rig.consume("s").await?;
    for turn in 0..5 {
        let delivery = consumer.next().await?;
        ensure!(
            delivery.attempts == 0,
            "dropped {turn} times, it has {} attempts",
            delivery.attempts
        );
    }
    Ok(())
}

/// Releasing keeps the count that was stored, whoever takes the message next.
///
/// # Errors
/// Says what the count is.
pub async fn a_release_keeps_the_count(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.publish("orders", "counted").await?;
    for expected in 0..4 {
        let mut consumer = rig.consume("s").await?;
        for _ in 0..2 {
            let delivery = consumer.next().await?;
            ensure!(
                delivery.attempts == expected,
                "was to have {expected} attempts and has {}",
                delivery.attempts
            );
            delivery.settle.release();
        }
        let delivery = consumer.next().await?;
        delivery
            .settle
            .extend(expected + 1)
            .await
            .context("extend")?;
        delivery.settle.release();
    }
    Ok(())
}

/// Dropping a stream hands back what it gave out, while the deliveries are still in somebody's hands.
///
/// # Errors
/// Says what did not come back.
pub async fn a_dropped_stream_hands_everything_back(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    for n in ["1", "2", "3"] {
        rig.publish("orders", n).await?;
    }
    let mut consumer = rig.consume("s").await?;
    let orphans = consumer.take(3).await?;
    if let Some(first) = orphans.first() {
        first.settle.extend(2).await.context("extend")?;
    }
    drop(consumer);
    let mut next = rig.consume("s").await?;
    let again = next.take(3).await.context("after the stream was dropped")?;
    let attempts: u32 = again.iter().map(|delivery| delivery.attempts).sum();
    ensure!(
        attempts == 2,
        "one had 2 attempts, and now all together have {attempts}"
    );
    // What the old stream gave out is not its holder's any more: that must not take it away here.
    drop(orphans);
    next.nothing().await?;
    for delivery in again {
        delivery.settle.done().await.context("done")?;
    }
    rig.comes("s", &[]).await
}

/// `extend` stores the count of attempts.
///
/// # Errors
/// Says what the count is.
pub async fn extending_stores_the_count(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.publish("orders", "tried").await?;
    let mut consumer = rig.consume("s").await?;
    let delivery = consumer.next().await?;
    for attempts in [1, 2, 7] {
        delivery.settle.extend(attempts).await.context("extend")?;
    }
    consumer
        .nothing()
        .await
        .context("a message that is held came again")?;
    drop(delivery);
    let attempts = consumer.next().await?.attempts;
    ensure!(
        attempts == 7,
        "7 attempts were stored, and it has {attempts}"
    );
    Ok(())
}

/// Where the bus can delay: a message comes back at its time, with its count, and holds up nobody.
///
/// # Errors
/// Says when it came, or with which count.
pub async fn a_delayed_message_comes_at_its_time_with_its_count(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !rig.profile().can_delay {
        return Ok(());
    }
    rig.publish("orders", "delayed").await?;
    let mut consumer = rig.consume("s").await?;
    let delivery = consumer.next().await?;
    let at = SystemTime::now() + Duration::from_millis(1500);
    delivery.settle.retry_at(at, 4).await.context("retry_at")?;
    rig.publish("orders", "behind").await?;
    let behind = consumer.next().await?;
    ensure!(
        text(&behind) == "behind" || SystemTime::now() + CLOCK_SLACK >= at,
        "{:?} came before its time",
        text(&behind)
    );
    behind.settle.done().await?;
    let delayed = consumer.next().await?;
    let early = at.duration_since(SystemTime::now()).unwrap_or_default();
    ensure!(early <= CLOCK_SLACK, "it came {early:?} too early");
    ensure!(
        (text(&delayed).as_str(), delayed.attempts) == ("delayed", 4),
        "was to be \"delayed\" with 4 attempts, and is {:?} with {}",
        text(&delayed),
        delayed.attempts
    );
    delayed.settle.done().await?;
    consumer.nothing().await
}

/// A time that is over means now, also one long before the bus began.
///
/// # Errors
/// When it does not come.
pub async fn a_delay_that_is_over_is_none(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !rig.profile().can_delay {
        return Ok(());
    }
    rig.publish("orders", "overdue").await?;
    let mut consumer = rig.consume("s").await?;
    for (attempts, at) in [(1, SystemTime::UNIX_EPOCH), (2, SystemTime::now())] {
        let delivery = consumer.next().await?;
        delivery
            .settle
            .retry_at(at, attempts)
            .await
            .context("retry_at")?;
    }
    let delivery = consumer.next().await?;
    ensure!(
        delivery.attempts == 2,
        "2 attempts were stored, and it has {}",
        delivery.attempts
    );
    Ok(())
}
