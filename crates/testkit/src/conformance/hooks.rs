//! What creates and removes.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use busway_core::{ChannelRef, SubscriptionRef, Uid, bus::PublishError};
use futures::{FutureExt as _, future::try_join_all};

use super::{
    Rig, Subject, Verdict,
    rig::{bus_spec, channel, message, subscription, subscription_ref},
};

/// Every hook is idempotent: run again, it changes nothing.
///
/// # Errors
/// Says what changed.
pub async fn every_hook_may_be_repeated(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    let (orders, s) = (channel("orders"), subscription("orders", "s"));
    rig.bus
        .sync_bus(&bus_spec())
        .await
        .context("sync_bus again")?;
    for _ in 0..2 {
        rig.provision(&orders).await?;
    }
    for _ in 0..2 {
        rig.subscribe(&s).await?;
    }
    rig.publish("orders", "one").await?;
    rig.provision(&orders).await?;
    rig.subscribe(&s).await?;
    rig.comes("s", &["one"])
        .await
        .context("after the hooks were run again")?;
    for _ in 0..2 {
        rig.unsubscribe(&s).await?;
    }
    for _ in 0..2 {
        rig.unprovision(&orders).await?;
    }
    Ok(())
}

/// A hook may be cancelled at its first await, and repeated.
///
/// # Errors
/// Says which hook does not stand that.
pub async fn a_cancelled_hook_may_be_repeated(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    let (orders, s) = (channel("orders"), subscription("orders", "s"));
    drop(rig.bus.sync_bus(&bus_spec()).now_or_never());
    rig.bus.sync_bus(&bus_spec()).await.context("sync_bus")?;
    drop(rig.bus.provision(&orders).now_or_never());
    rig.provision(&orders).await?;
    drop(rig.bus.subscribe(&s).now_or_never());
    rig.subscribe(&s).await?;
    rig.publish("orders", "one").await?;
    rig.comes("s", &["one"]).await?;
    drop(rig.bus.unsubscribe(&s).now_or_never());
    rig.unsubscribe(&s).await?;
    drop(rig.bus.unprovision(&orders).now_or_never());
    rig.unprovision(&orders).await
}

/// `unsubscribe` and `unprovision` of what was never there, or is gone, are success.
///
/// # Errors
/// Says which was not.
pub async fn removing_what_is_not_there_is_success(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    rig.unsubscribe(&subscription("orders", "s")).await?;
    rig.unprovision(&channel("orders")).await
}

/// Hooks run in parallel across keys, and do not mix them up.
///
/// # Errors
/// Says which subscription got something else.
pub async fn hooks_of_many_keys_run_at_once(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    let rig = &rig;
    let names: Vec<_> = (0..16).map(|n| format!("c{n}")).collect();
    try_join_all(names.iter().map(async |name| {
        rig.provision(&channel(name)).await?;
        rig.subscribe(&subscription(name, &format!("{name}-a")))
            .await?;
        rig.subscribe(&subscription(name, &format!("{name}-b")))
            .await
    }))
    .await?;
    for name in &names {
        rig.publish(name, name).await?;
    }
    try_join_all(names.iter().map(async |name| {
        rig.comes(&format!("{name}-a"), &[name]).await?;
        rig.comes(&format!("{name}-b"), &[name]).await
    }))
    .await?;
    try_join_all(names.iter().map(async |name| {
        rig.unsubscribe(&subscription(name, &format!("{name}-a")))
            .await?;
        rig.unsubscribe(&subscription(name, &format!("{name}-b")))
            .await?;
        rig.unprovision(&channel(name)).await
    }))
    .await?;
    Ok(())
}

/// After `unprovision` a publish is refused as to an unknown channel.
///
/// # Errors
/// Says how it was answered.
pub async fn a_channel_that_is_unprovisioned_takes_nothing(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.unsubscribe(&subscription("orders", "s")).await?;
    rig.unprovision(&channel("orders")).await?;
    let answer = rig.try_publish("orders", message("late")).await;
    ensure!(
        matches!(answer, Err(PublishError::UnknownChannel(_))),
        "a publish after unprovision was to be UnknownChannel, and is {answer:?}"
    );
    Ok(())
}

/// A subscription with another UID begins empty.
///
/// # Errors
/// Says what it saw.
pub async fn a_subscription_created_anew_sees_nothing_of_the_old_one(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.publish("orders", "old").await?;
    rig.unsubscribe(&subscription("orders", "s")).await?;
    let mut anew = subscription("orders", "s");
    anew.uid = Uid::new("another");
    rig.subscribe(&anew).await?;
    rig.publish("orders", "new").await?;
    rig.comes("s", &["new"]).await
}

/// A channel with another UID begins empty.
///
/// # Errors
/// Says what its subscription saw.
pub async fn a_channel_created_anew_sees_nothing_of_the_old_one(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    let (mut orders, mut s) = (channel("orders"), subscription("orders", "s"));
    rig.publish("orders", "old").await?;
    rig.unsubscribe(&s).await?;
    rig.unprovision(&orders).await?;
    orders.uid = Uid::new("another");
    s.channel_uid = orders.uid.clone();
    rig.provision(&orders).await?;
    rig.subscribe(&s).await?;
    rig.publish("orders", "new").await?;
    rig.comes("s", &["new"]).await
}

/// With a Lease that changes hands, a removing hook of an object that is long gone may come after
/// the hooks of the one created anew.
///
/// # Errors
/// Says what it removed.
pub async fn a_late_hook_of_an_old_identity_removes_nothing_of_the_new_one(
    subject: Arc<dyn Subject>,
) -> Verdict {
    let rig = Rig::subscribed(subject).await?;
    rig.publish("orders", "kept").await?;
    let (mut orders, mut s) = (channel("orders"), subscription("orders", "s"));
    s.uid = Uid::new("of-before");
    orders.uid = Uid::new("of-before");
    rig.unsubscribe(&s).await?;
    rig.unprovision(&orders).await?;
    rig.publish("orders", "too").await?;
    rig.comes("s", &["kept", "too"]).await?;
    let known = rig.bus.backlog(&subscription_ref("s")).await;
    known.map(drop).context("the backlog")
}

/// Names that are one when they are joined, or shortened, are of different channels and subscriptions.
///
/// # Errors
/// Says which got another's message.
pub async fn names_that_look_alike_are_kept_apart(subject: Arc<dyn Subject>) -> Verdict {
    let rig = Rig::open(subject).await?;
    let (longest, end) = ("n".repeat(252), ["a", "b"]);
    let names = [
        ("a", "b-c", "s-t".to_owned()),
        ("a-b", "c", "s-t".to_owned()),
        ("a-b-c", "d", "s".to_owned()),
        ("a-b", "c-d", "s".to_owned()),
        ("a-b", "b-c", "s.t".to_owned()),
        ("a", "c", format!("{longest}{}", end[0])),
        ("a", "d", format!("{longest}{}", end[1])),
    ];
    let specs = names.map(|(namespace, name, subscriber)| {
        let (mut of, mut to) = (channel(name), subscription(name, &subscriber));
        of.channel = ChannelRef::new(namespace, name);
        of.uid = Uid::new(&format!("channel-{namespace}/{name}"));
        to.subscription = SubscriptionRef::new(namespace, &subscriber);
        to.uid = Uid::new(&format!("subscription-{namespace}/{subscriber}"));
        (to.channel, to.channel_uid) = (of.channel.clone(), of.uid.clone());
        (of, to)
    });
    for (channel, subscription) in &specs {
        rig.provision(channel).await?;
        rig.subscribe(subscription).await?;
    }
    for (channel, _) in &specs {
        let published = rig
            .bus
            .publish(&channel.channel, message(channel.channel.as_str()));
        published.await.context("publish")?;
    }
    for (channel, subscription) in &specs {
        let expected = [channel.channel.as_str()];
        rig.comes_to(&subscription.subscription, &expected).await?;
    }
    // One goes, and its look-alikes stay.
    let ((gone, its), others) = specs.split_first().context("no names")?;
    rig.unsubscribe(its).await?;
    rig.unprovision(gone).await?;
    for (channel, subscription) in others {
        let published = rig.bus.publish(&channel.channel, message("again")).await;
        published.with_context(|| format!("publish to {}", channel.channel))?;
        rig.comes_to(&subscription.subscription, &["again"]).await?;
    }
    Ok(())
}
