//! What is left when a process ends, by `kill -9` or in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::sync::Notify;

use super::{Running, Verdict, World, process::body, world::CHANNEL};
use crate::{
    subscriber::{Answer, Got, Subscriber},
    wait,
};

/// Messages of the story of `kill -9` that have failed attempts, and after those just accepted. Of fewer than
/// five no breaker opens, which would keep the others from being tried at all.
const TRIED: usize = 4;
const NEW: usize = 5;
/// Messages that are accepted before the process is told to leave: many more than it may deliver at once.
const WAITING: usize = 50;
/// Messages that are sent at most, before and while it leaves.
const SENT: usize = 200;

/// Killed in the middle of attempts, a durable bus delivers all that it had accepted, and loses at
/// most the attempts in flight. One in memory serves again.
///
/// # Errors
/// When it does not hold.
pub async fn what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on(
    world: &World,
) -> Verdict {
    let fails = Subscriber::answering(|_, _| Answer::status(503)).await?;
    let delivery = json!({"retry": 100, "backoffDelay": "100ms", "backoffMax": "200ms"});
    let policy = json!({"delivery": delivery});
    world.apply_channel().await?;
    world
        .apply_subscription("s", &fails.url(), policy.clone())
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s"]).await?;
    for n in 0..TRIED {
        dispatcher.accepts(&n.to_string()).await?;
    }
    wait::until(
        "each message has failed twice",
        world.patience(),
        async || {
            let last = last_attempts(&fails.got()).map_err(|error| format!("{error:#}"))?;
            match last.values().filter(|attempt| **attempt > 2).count() {
                TRIED => Ok(()),
                _ => Err(format!("{last:?}")),
            }
        },
    )
    .await?;
    // Some that were just accepted, and in the middle of the others' attempts.
    for n in TRIED..TRIED + NEW {
        dispatcher.accepts(&n.to_string()).await?;
    }
    dispatcher.kill().await?;
    let stored = world.kept()?;

    // Another address, so that what was under way before is told from what comes now.
    let works = Subscriber::start().await?;
    world.apply_subscription("s", &works.url(), policy).await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s"]).await?;
    if !world.subject.is_durable() {
        dispatcher.accepts("again").await?;
        dispatcher.reaches(&works, 1).await?;
        return Ok(());
    }
    let got = dispatcher.reaches(&works, TRIED + NEW).await?;
    let before = last_attempts(&fails.got())?;
    let mut after = BTreeMap::new();
    for got in &got {
        let twice = after.insert(body(got), attempt(got)?);
        ensure!(twice.is_none(), "{:?} was delivered twice", body(got));
    }
    for n in 0..TRIED + NEW {
        let (body, least) = (n.to_string(), before.get(&n.to_string()).copied());
        let came = after
            .get(&body)
            .with_context(|| format!("{body:?} was accepted and lost"))?;
        let least = least.unwrap_or(1);
        ensure!(
            *came >= least,
            "{body:?}: attempt {came}, where {least} was in flight"
        );
    }
    if let Some(stored) = stored {
        let all = stored.messages.len();
        ensure!(
            all == TRIED + NEW,
            "at the kill the store kept {all} messages"
        );
        for (body, attempts) in stored.messages {
            let body = String::from_utf8_lossy(&body).into_owned();
            let came = after.get(&body).copied().unwrap_or_default();
            ensure!(
                came > attempts,
                "{body:?}: attempt {came} after {attempts} that are stored"
            );
        }
    }
    world
        .until_kept("nothing of them", |k| {
            k.messages.is_empty() && k.dead_letters.is_empty()
        })
        .await
}

/// A durable bus does not deliver again what was settled before a restart, in order or by `kill -9`.
/// One in memory serves again.
///
/// # Errors
/// When it does not hold.
pub async fn what_was_settled_is_not_delivered_again_after_a_restart(world: &World) -> Verdict {
    let subscriber = Subscriber::start().await?;
    world.apply_channel().await?;
    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    let mut expected = Vec::new();
    for run in 0..3 {
        let dispatcher = world.start().await?;
        world.ready(&dispatcher, &["s"]).await?;
        for n in 0..5 {
            let message = format!("{n} of run {run}");
            dispatcher.accepts(&message).await?;
            expected.push(message);
        }
        dispatcher.reaches(&subscriber, expected.len()).await?;
        world
            .until_kept("no message", |kept| kept.messages.is_empty())
            .await?;
        // When a settlement is stored is seen from outside only by who looks into the store.
        if world.subject.store.is_some() && run == 0 {
            dispatcher.kill().await?;
        } else {
            dispatcher.leaves().await?;
        }
    }
    let mut got: Vec<_> = subscriber.got().iter().map(body).collect();
    got.sort();
    expected.sort();
    ensure!(got == expected, "each was to come once, and came: {got:?}");
    Ok(())
}

/// At SIGTERM attempts in flight finish and the process ends with 0. Of what it accepted, also
/// meanwhile, nothing is lost and nothing delivered twice: a bus in memory delivers it first, a
/// durable one keeps it for the next start.
///
/// # Errors
/// When it does not hold.
pub async fn sigterm_ends_it_with_0_and_loses_nothing_in_flight(world: &World) -> Verdict {
    let slow = Duration::from_millis(100);
    let subscriber = Subscriber::answering(move |_, _| Answer::status(202).after(slow)).await?;
    world.apply_channel().await?;
    let policy = json!({"delivery": {"maxInFlight": 4}});
    world
        .apply_subscription("s", &subscriber.url(), policy)
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s"]).await?;

    let begun = Arc::new(Notify::new());
    let (accepted, left) = tokio::join!(send(&dispatcher, &begun), async {
        begun.notified().await;
        dispatcher.reaches(&subscriber, 1).await?;
        dispatcher.signal("TERM").await?;
        // What says that it leaves may be gone before it is asked.
        wait::until(
            "/readyz is no longer 200",
            world.patience(),
            async || match dispatcher.admin("/readyz").await {
                Ok(answer) if answer.status == 200 => Err("still ready"),
                Ok(_) | Err(_) => Ok(()),
            },
        )
        .await
    });
    left?;
    let ended = dispatcher.ended().await?;
    ensure!(ended.success(), "after SIGTERM it ended with {ended}");

    if world.subject.is_durable() {
        let dispatcher = world.start().await?;
        world.ready(&dispatcher, &["s"]).await?;
        dispatcher.reaches(&subscriber, accepted.len()).await?;
        world
            .until_kept("no message", |kept| kept.messages.is_empty())
            .await?;
        dispatcher.leaves().await?;
    }
    let mut got = BTreeSet::new();
    for message in subscriber.got().iter().map(body) {
        ensure!(
            got.insert(message.clone()),
            "{message:?} was delivered twice"
        );
    }
    let lost: Vec<_> = accepted.difference(&got).collect();
    ensure!(lost.is_empty(), "accepted and lost: {lost:?}");
    Ok(())
}

/// Sends until it is refused, and returns what was accepted.
async fn send(to: &Running<'_>, begun: &Notify) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    for n in 0..SENT {
        let message = n.to_string();
        match to.post_to(CHANNEL, &[], message.clone()).await {
            Ok(answer) if answer.status == 202 => accepted.insert(message),
            Ok(_) | Err(_) => break,
        };
        if n == WAITING {
            begun.notify_one();
        }
    }
    // Also where one was refused before: what waits then says what is missing.
    begun.notify_one();
    accepted
}

fn attempt(got: &Got) -> anyhow::Result<u32> {
    let text = got.header("busway-attempt");
    text.parse()
        .with_context(|| format!("busway-attempt {text:?}"))
}

/// The last attempt at each message, by its body.
fn last_attempts(got: &[Got]) -> anyhow::Result<BTreeMap<String, u32>> {
    let mut last = BTreeMap::new();
    for got in got {
        let (body, attempt) = (body(got), attempt(got)?);
        let known = last.entry(body).or_insert(attempt);
        *known = attempt.max(*known);
    }
    Ok(last)
}
