//! Deletions: while it runs, while it is killed, and while it is away.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Running, Verdict, World, world::CHANNEL};
use crate::{subscriber::Subscriber, wait};

const PROVISIONED: &str = "channels.busway.dev/provisioned";
const SUBSCRIBED: &str = "channels.busway.dev/subscribed";

/// A bus that leaves something outside the process puts its finalizer on before the hook, and takes
/// it off after the last; one that does not has none.
///
/// # Errors
/// When it does not hold.
pub async fn finalizers_are_there_before_the_hook_and_gone_with_the_object(
    world: &World,
) -> Verdict {
    let subscriber = Subscriber::start().await?;
    let dispatcher = world.start().await?;
    let held = world.hold()?;
    world.apply_channel().await?;
    if held.is_some() {
        has_finalizer(world, &dispatcher, ["Channel", CHANNEL], PROVISIONED).await?;
        world.keeps("no channel yet", |kept| kept.channels == 0)?;
    }
    drop(held);
    world.ready(&dispatcher, &[]).await?;
    has_finalizer(world, &dispatcher, ["Channel", CHANNEL], PROVISIONED).await?;
    world.keeps("the channel", |kept| kept.channels == 1)?;

    let held = world.hold()?;
    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    if held.is_some() {
        has_finalizer(world, &dispatcher, ["Subscription", "s"], SUBSCRIBED).await?;
        world.keeps("no subscription yet", |kept| kept.subscriptions == 0)?;
    }
    drop(held);
    world.ready(&dispatcher, &["s"]).await?;
    has_finalizer(world, &dispatcher, ["Subscription", "s"], SUBSCRIBED).await?;
    world.keeps("the subscription", |kept| kept.subscriptions == 1)?;

    world.delete("Subscription", "s").await?;
    world.gone(&dispatcher, "Subscription", "s").await?;
    world.keeps("no subscription", |kept| kept.subscriptions == 0)?;
    world.delete("Channel", CHANNEL).await?;
    world.gone(&dispatcher, "Channel", CHANNEL).await?;
    world.keeps("nothing", |kept| kept.channels == 0)
}

/// Killed while a Channel is being deleted, it ends the deletion when it is started again.
///
/// # Errors
/// When it does not hold.
pub async fn a_deletion_in_which_the_dispatcher_was_killed_ends(world: &World) -> Verdict {
    let (_subscriber, dispatcher) = with_a_backlog(world).await?;
    let held = world.hold()?;
    world.delete("Channel", CHANNEL).await?;
    dispatcher.knows_no(CHANNEL).await?;
    if held.is_some() {
        let channel = world.object(&dispatcher, "Channel", CHANNEL).await?;
        let channel = channel.context("the channel is gone before its hook ended")?;
        let asked = &channel["metadata"]["deletionTimestamp"];
        ensure!(asked.is_string(), "{channel:#}");
    }
    dispatcher.kill().await?;
    let was_held = held.is_some();
    drop(held);
    if was_held {
        world.keeps("the channel", |kept| kept.channels == 1)?;
    }

    let dispatcher = world.start().await?;
    world.gone(&dispatcher, "Channel", CHANNEL).await?;
    dispatcher.knows_no(CHANNEL).await?;
    // A Subscription stays without its Channel, and leaves nothing behind all the same.
    world.until_kept("nothing", super::Kept::is_empty).await
}

/// What is deleted while it is away is unprovisioned at its start, and not served.
///
/// # Errors
/// When it does not hold.
pub async fn what_was_deleted_meanwhile_is_unprovisioned_at_the_start(world: &World) -> Verdict {
    let (subscriber, dispatcher) = with_a_backlog(world).await?;
    dispatcher.kill().await?;
    world.delete("Channel", CHANNEL).await?;
    world.delete("Subscription", "s").await?;
    world.keeps("the channel", |kept| kept.channels == 1)?;

    let dispatcher = world.start().await?;
    world.gone(&dispatcher, "Channel", CHANNEL).await?;
    world.gone(&dispatcher, "Subscription", "s").await?;
    dispatcher.knows_no(CHANNEL).await?;
    world.until_kept("nothing", super::Kept::is_empty).await?;

    // Made again, it is another channel: nothing of the old one is seen.
    world.apply_channel().await?;
    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    world.ready(&dispatcher, &["s"]).await?;
    dispatcher.accepts("new").await?;
    let got = dispatcher.reaches(&subscriber, 1).await?;
    ensure!(
        got.iter().all(|got| got.body == "new"),
        "it has seen what is gone: {got:?}"
    );
    Ok(())
}

/// A namespace is deleted with the channels in it, and nothing is left of them.
///
/// # Errors
/// When it does not hold.
pub async fn a_namespace_is_deleted_with_everything_in_it(world: &World) -> Verdict {
    let (_subscriber, dispatcher) = with_a_backlog(world).await?;
    world.delete_namespace().await?;
    dispatcher.knows_no(CHANNEL).await?;
    world.until_kept("nothing", super::Kept::is_empty).await
}

/// A channel with a subscription, and a message in its backlog.
async fn with_a_backlog(world: &World) -> anyhow::Result<(Subscriber, Running<'_>)> {
    let subscriber = Subscriber::start().await?;
    world.apply_channel().await?;
    world
        .apply_subscription("s", &subscriber.url(), json!({"paused": true}))
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s"]).await?;
    dispatcher.accepts("waits").await?;
    world.keeps("one message", |kept| kept.messages.len() == 1)?;
    Ok((subscriber, dispatcher))
}

/// Waits until an object has the finalizer that this bus's objects have, and fails when it has one
/// that it has not.
async fn has_finalizer(
    world: &World,
    at: &Running<'_>,
    [kind, name]: [&str; 2],
    finalizer: &str,
) -> Verdict {
    let expected = world.subject.has_finalizers();
    let what = match expected {
        true => format!("{kind} {name} has {finalizer}"),
        false => format!("{kind} {name} has no finalizer"),
    };
    wait::until(&what, world.patience(), async || {
        let found = world
            .object(at, kind, name)
            .await
            .map_err(|e| format!("{e:#}"))?;
        let found = found.unwrap_or_default();
        let finalizers = found["metadata"]["finalizers"].as_array();
        let has = finalizers.is_some_and(|all| all.contains(&Value::from(finalizer)));
        if has == expected && found.is_object() {
            Ok(())
        } else {
            Err(format!("{found:#}"))
        }
    })
    .await
}
