//! Optional parts: declared, they work; not declared, they answer `Unsupported`.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use busway_core::{
    bus::{BusError, Purge},
    outcome::Cause,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{
    Rig, Subject, Verdict,
    rig::{channel_ref, message, subscription, subscription_ref},
};

/// Where the bus declares it: what is accepted and not settled, what of it is taken, and since when
/// the oldest waits.
///
/// # Errors
/// Says which number is wrong.
pub async fn the_backlog_is_what_is_accepted_and_not_settled(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let name = subscription_ref("s");
    let before = SystemTime::now() - Duration::from_secs(2);
    for n in ["1", "2", "3"] {
        rig.publish("orders", n).await?;
    }
    let backlog = rig.bus.backlog(&name).await.context("backlog")?;
    if !rig.profile().capabilities.backlog {
        ensure!(
            backlog.is_none(),
            "a backlog is told that is not declared: {backlog:?}"
        );
        return Ok(());
    }
    let backlog = backlog.context("a backlog is declared, and not told")?;
    ensure!(
        (backlog.count, backlog.in_flight) == (3, 0),
        "of 3 waiting: {backlog:?}"
    );
    let oldest = backlog.oldest.context("the oldest of 3 has no age")?;
    ensure!(
        oldest >= before,
        "the oldest came before it was published: {oldest:?}"
    );
    let mut consumer = rig.consume("s").await?;
    let mut held = consumer.take(3).await?;
    if let Some(delivery) = held.pop() {
        delivery.settle.done().await?;
    }
    let backlog = rig.bus.backlog(&name).await?.context("no backlog")?;
    ensure!(
        (backlog.count, backlog.in_flight) == (2, 2),
        "of 2 held: {backlog:?}"
    );
    for delivery in held {
        delivery.settle.done().await?;
    }
    let backlog = rig.bus.backlog(&name).await?.context("no backlog")?;
    ensure!(
        (backlog.count, backlog.in_flight, backlog.oldest) == (0, 0, None),
        "with all settled: {backlog:?}"
    );
    let unknown = rig.bus.backlog(&subscription_ref("nobody")).await;
    ensure!(
        unknown == Err(BusError::UnknownSubscription),
        "the backlog of an unknown subscription: {unknown:?}"
    );
    Ok(())
}

/// Where the bus declares it: dead letters of one subscription are read oldest first, on from a
/// cursor, and removed; removing twice is success.
///
/// # Errors
/// Says what was read.
pub async fn dead_letters_are_read_in_order_and_removed(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.subscribe(&subscription("orders", "other")).await?;
    let name = subscription_ref("s");
    let store = |text, cause| rig.bus.dead_letter(&name, message(text), cause);
    if !rig.profile().capabilities.dead_letters {
        unsupported("dead_letter", store("1", Cause::Rejected).await)?;
        unsupported(
            "dead_letters",
            rig.bus.dead_letters(&name, None).await.map(drop),
        )?;
        return unsupported(
            "remove_dead_letter",
            rig.bus.remove_dead_letter(&name, "1").await,
        );
    }
    let causes = [Cause::Rejected, Cause::Exhausted, Cause::Expired];
    for (text, cause) in ["1", "2", "3"].into_iter().zip(causes) {
        store(text, cause).await.context("dead_letter")?;
    }
    let read = async |cursor: Option<String>| {
        let letters = rig.bus.dead_letters(&name, cursor.as_deref()).await?;
        let letters: Vec<_> = letters.try_collect().await?;
        anyhow::Ok(letters)
    };
    let all = read(None).await?;
    let texts: Vec<_> = all
        .iter()
        .map(|l| (l.message.body().as_ref(), l.cause))
        .collect();
    let expected = [
        (&b"1"[..], causes[0]),
        (&b"2"[..], causes[1]),
        (&b"3"[..], causes[2]),
    ];
    ensure!(texts == expected, "stored {expected:?} and read {texts:?}");
    let first = all.first().map(|letter| letter.cursor.clone());
    let rest = read(first.clone()).await?;
    ensure!(rest.len() == 2, "after the first of 3 come {}", rest.len());
    let first = first.context("no cursor")?;
    for _ in 0..2 {
        rig.bus
            .remove_dead_letter(&name, &first)
            .await
            .context("remove_dead_letter")?;
    }
    ensure!(read(None).await?.len() == 2, "one of 3 was removed");
    let after = read(Some(first)).await?;
    ensure!(
        after.len() == 2,
        "after the cursor of a removed one come {}",
        after.len()
    );
    let others = rig
        .bus
        .dead_letters(&subscription_ref("other"), None)
        .await?;
    ensure!(
        others.count().await == 0,
        "another subscription has dead letters of this one"
    );
    rig.comes("s", &[]).await
}

/// Where the bus declares it: a channel's messages of a span of time, also settled ones, in order.
///
/// # Errors
/// Says what was read.
pub async fn history_is_what_was_accepted_in_that_time(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let channel = channel_ref("orders");
    let (from, to) = (
        SystemTime::now() - Duration::from_secs(60),
        SystemTime::now() + Duration::from_secs(60),
    );
    if !rig.profile().capabilities.history {
        return unsupported(
            "history",
            rig.bus.history(&channel, from, to).await.map(drop),
        );
    }
    for n in ["1", "2"] {
        rig.publish("orders", n).await?;
    }
    rig.comes("s", &["1", "2"]).await?;
    let kept: BoxStream<'_, _> = rig.bus.history(&channel, from, to).await?;
    let kept: Vec<_> = kept.try_collect().await?;
    let bodies: Vec<_> = kept.iter().map(|r| r.message.body().as_ref()).collect();
    ensure!(bodies == [&b"1"[..], b"2"], "kept two, and read {bodies:?}");
    let before = rig
        .bus
        .history(&channel, SystemTime::UNIX_EPOCH, from)
        .await?;
    ensure!(
        before.count().await == 0,
        "messages from before they were published"
    );
    Ok(())
}

/// Where the bus declares it: a purge settles what was accepted before a time, and a dry run only
/// counts it.
///
/// # Errors
/// Says what was purged.
pub async fn a_purge_settles_what_came_before(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let name = subscription_ref("s");
    let later = SystemTime::now() + Duration::from_secs(60);
    if !rig.profile().capabilities.purge {
        return unsupported("purge", rig.bus.purge(&name, later, Purge::DryRun).await);
    }
    for n in ["1", "2"] {
        rig.publish("orders", n).await?;
    }
    let none = rig
        .bus
        .purge(&name, SystemTime::UNIX_EPOCH, Purge::Remove)
        .await?;
    let dry = rig.bus.purge(&name, later, Purge::DryRun).await?;
    let wet = rig.bus.purge(&name, later, Purge::Remove).await?;
    ensure!(
        (none, dry, wet) == (0, 2, 2),
        "of 2: {none} too old, {dry} counted, {wet} purged"
    );
    rig.comes("s", &[]).await
}

fn unsupported<T: Debug>(what: &str, answer: Result<T, BusError>) -> Verdict {
    ensure!(
        matches!(answer, Err(BusError::Unsupported(_))),
        "{what} is not declared, and was to be Unsupported; it is {answer:?}"
    );
    Ok(())
}
