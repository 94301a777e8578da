//! What a durable bus keeps over the end of its process.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use busway_core::{
    bus::{Durability, Scope},
    outcome::Cause,
};
use futures::TryStreamExt as _;

use super::{
    Rig, Subject, Verdict,
    rig::{message, subscription_ref, text},
};

fn is_durable(rig: &Rig) -> bool {
    rig.profile().durability != Durability::Memory
}

/// Whatever is accepted and not settled is there after a restart, with its date and no more attempts
/// than were stored; what is settled is not.
///
/// # Errors
/// Says what is missing, or back.
pub async fn what_is_not_settled_is_there_after_a_restart(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !is_durable(&rig) {
        return Ok(());
    }
    for n in ["settled", "tried", "untouched"] {
        rig.publish("orders", n).await?;
    }
    let mut consumer = rig.consume("s").await?;
    let mut dates = BTreeMap::new();
    for delivery in consumer.take(3).await? {
        dates.insert(text(&delivery), delivery.accepted_at);
        match text(&delivery).as_str() {
            "settled" => delivery.settle.done().await.context("done")?,
            "tried" => delivery.settle.extend(3).await.context("extend")?,
            _ => {}
        }
    }
    drop(consumer);
    let rig = rig.restart().await?;
    let mut consumer = rig.consume("s").await?;
    let mut found = BTreeMap::new();
    for delivery in consumer.take(2).await.context("after the restart")? {
        let text = text(&delivery);
        ensure!(
            dates.get(&text) == Some(&delivery.accepted_at),
            "{text:?} has another date after the restart"
        );
        found.insert(text, delivery.attempts);
        delivery.settle.done().await?;
    }
    let expected = BTreeMap::from([("tried".to_owned(), 3), ("untouched".to_owned(), 0)]);
    ensure!(found == expected, "was to be {expected:?} and is {found:?}");
    consumer.nothing().await
}

/// What a process held when it ended without settling anything comes to the next one, also when its
/// hands are never opened.
///
/// # Errors
/// Says what did not come.
pub async fn what_was_held_at_a_crash_comes_back(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !is_durable(&rig) {
        return Ok(());
    }
    rig.publish("orders", "held").await?;
    let mut dead_hands = rig.consume("s").await?;
    let held = dead_hands.next().await?;
    held.settle.extend(2).await.context("extend")?;
    let next = rig.replica().await?;
    let mut consumer = next.consume("s").await?;
    let again = consumer
        .next()
        .await
        .context("the holder is gone for good")?;
    ensure!(
        (text(&again).as_str(), again.attempts) == ("held", 2),
        "was to be \"held\" with 2 attempts, and is {:?} with {}",
        text(&again),
        again.attempts
    );
    again.settle.done().await.context("done")?;
    drop((held, dead_hands));
    consumer.nothing().await
}

/// A message that waits for its time waits on after a restart.
///
/// # Errors
/// Says when it came, or with which count.
pub async fn a_delay_survives_a_restart(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !is_durable(&rig) || !rig.profile().can_delay {
        return Ok(());
    }
    rig.publish("orders", "delayed").await?;
    let mut consumer = rig.consume("s").await?;
    let at = SystemTime::now() + Duration::from_secs(2);
    let delivery = consumer.next().await?;
    delivery.settle.retry_at(at, 5).await.context("retry_at")?;
    drop(consumer);
    let rig = rig.restart().await?;
    let mut consumer = rig.consume("s").await?;
    let delivery = consumer.next().await?;
    let early = at.duration_since(SystemTime::now()).unwrap_or_default();
    ensure!(
        early < Duration::from_millis(20),
        "it came {early:?} too early"
    );
    ensure!(
        delivery.attempts == 5,
        "5 attempts were stored, and it has {}",
        delivery.attempts
    );
    Ok(())
}

/// The dead-letter store is there after a restart.
///
/// # Errors
/// Says what is missing.
pub async fn dead_letters_survive_a_restart(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if !is_durable(&rig) || !rig.profile().capabilities.dead_letters {
        return Ok(());
    }
    let name = subscription_ref("s");
    let stored = rig
        .bus
        .dead_letter(&name, message("dead"), Cause::Gone)
        .await;
    stored.context("dead_letter")?;
    let rig = rig.restart().await?;
    let letters: Vec<_> = rig
        .bus
        .dead_letters(&name, None)
        .await?
        .try_collect()
        .await?;
    let found: Vec<_> = letters
        .iter()
        .map(|l| (l.message.body().as_ref(), l.cause))
        .collect();
    ensure!(
        found == [(&b"dead"[..], Cause::Gone)],
        "after the restart there is {found:?}"
    );
    Ok(())
}

/// With a Shared scope, hooks run on one replica and every other publishes and consumes.
///
/// # Errors
/// Says what the other cannot.
pub async fn another_replica_serves_without_hooks_of_its_own(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    if rig.profile().scope != Scope::Shared {
        return Ok(());
    }
    let other = rig.replica().await?;
    other.publish("orders", "from the other").await?;
    rig.comes("s", &["from the other"]).await?;
    rig.publish("orders", "to the other").await?;
    other.comes("s", &["to the other"]).await
}
