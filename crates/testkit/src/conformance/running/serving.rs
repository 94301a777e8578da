//! What is said to the process, what it says of itself, and who gets a message.

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{
    Verdict, World,
    process::{QUIET, body},
    world::CHANNEL,
};
use crate::{
    client,
    subscriber::{Got, Subscriber},
};

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// `BUS_NAME` and `BUS_NAMESPACE` name the bus that is served, and no other bus's channel is.
///
/// # Errors
/// When it does not hold.
pub async fn the_environment_says_which_bus_is_served(world: &World) -> Verdict {
    world.apply_elsewhere("elsewhere").await?;
    world.apply_channel().await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &[]).await?;
    dispatcher.accepts("ours").await?;
    let other = dispatcher.post_to("elsewhere", &[], "not ours").await?;
    ensure!(
        other.status == 404,
        "another bus's channel: {}",
        other.status
    );
    dispatcher.leaves().await
}

/// `/livez`, `/readyz` and `/replica/loaded` are on `ADMIN_PORT`, and nothing but messages on `PORT`.
///
/// # Errors
/// When it does not hold.
pub async fn probes_are_on_the_admin_port_and_say_what_is_served(world: &World) -> Verdict {
    let subscriber = Subscriber::start().await?;
    world.apply_channel().await?;
    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s"]).await?;
    for probe in ["/livez", "/readyz"] {
        let answer = dispatcher.admin(probe).await?;
        ensure!(answer.status == 200, "{probe}: {}", answer.status);
    }
    for probe in ["/livez", "/readyz", "/replica/loaded"] {
        let answer = client::get(dispatcher.at_messages(), probe).await?;
        ensure!(
            !answer.status.is_success(),
            "{probe} on PORT: {}",
            answer.status
        );
    }
    let path = format!("/{}/{CHANNEL}", world.namespace());
    let answer = client::post(dispatcher.at_admin(), &path, &[], "astray").await?;
    ensure!(
        !answer.status.is_success(),
        "a message on ADMIN_PORT: {}",
        answer.status
    );

    let object = world.object(&dispatcher, "Subscription", "s").await?;
    let object = object.context("the subscription is there")?;
    world.delete("Subscription", "s").await?;
    dispatcher.serves_no(&object["metadata"]).await
}

/// A channel that nobody made is answered 404, and one that was deleted.
///
/// # Errors
/// When it does not hold.
pub async fn an_unknown_channel_is_answered_404(world: &World) -> Verdict {
    world.apply_channel().await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &[]).await?;
    dispatcher.accepts("known").await?;
    let unknown = dispatcher.post_to("nosuch", &[], "unknown").await?;
    ensure!(
        unknown.status == 404,
        "a channel that nobody made: {}",
        unknown.status
    );
    let path = format!("/nowhere/{CHANNEL}");
    let unknown = client::post(dispatcher.at_messages(), &path, &[], "unknown").await?;
    ensure!(
        unknown.status == 404,
        "the same name elsewhere: {}",
        unknown.status
    );
    world.delete("Channel", CHANNEL).await?;
    dispatcher.knows_no(CHANNEL).await?;
    world.gone(&dispatcher, "Channel", CHANNEL).await
}

/// A message that is answered 202 reaches every subscription, headers and body as they were sent.
///
/// # Errors
/// When it does not hold.
pub async fn every_subscription_gets_a_message_byte_for_byte(world: &World) -> Verdict {
    let subscribers = [
        Subscriber::start().await?,
        Subscriber::start().await?,
        Subscriber::start().await?,
    ];
    world.apply_channel().await?;
    let names = ["first", "second", "third"];
    for (name, subscriber) in names.iter().zip(&subscribers) {
        world
            .apply_subscription(name, &subscriber.url(), json!({}))
            .await?;
    }
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &names).await?;

    let every_byte: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = every_byte.iter().copied().cycle().take(200_000).collect();
    let event = [
        ("ce-specversion", "1.0"),
        ("ce-type", "conformance.sent"),
        ("ce-source", "/conformance"),
        ("ce-id", "1"),
        ("ce-extension", "%20caf%C3%A9"),
        ("content-type", "application/octet-stream"),
    ];
    let plain = [
        ("content-type", "text/plain;charset=latin1"),
        ("content-language", "de, en"),
    ];
    let sent: [(Headers<'_>, Vec<u8>); 4] = [
        (&event, every_byte.clone()),
        (&plain, every_byte),
        (&plain, Vec::new()),
        (&plain, long),
    ];
    for (number, (headers, bytes)) in sent.iter().enumerate() {
        let id = number.to_string();
        let headers = [*headers, &[("x-request-id", id.as_str())]].concat();
        let answer = dispatcher.post_to(CHANNEL, &headers, bytes.clone()).await?;
        ensure!(answer.status == 202, "message {number}: {}", answer.status);
    }
    for (name, subscriber) in names.iter().zip(&subscribers) {
        let got = dispatcher
            .reaches(subscriber, sent.len())
            .await
            .context(*name)?;
        ensure!(got.len() == sent.len(), "{name} got {} messages", got.len());
        for (number, (headers, bytes)) in sent.iter().enumerate() {
            let one = got
                .iter()
                .find(|got| got.header("x-request-id") == number.to_string());
            let one = one.with_context(|| format!("{name} did not get message {number}"))?;
            ensure!(
                one.body == *bytes,
                "the body of message {number} is another at {name}"
            );
            for (header, value) in *headers {
                let came = one.header(header);
                ensure!(
                    came == *value,
                    "{header} of message {number} is {came:?} at {name}"
                );
            }
        }
    }
    world
        .until_kept("no message", |kept| kept.messages.is_empty())
        .await
}

/// A subscription sees what is accepted after it is Ready, and nothing from before it was made.
///
/// # Errors
/// When it does not hold.
pub async fn a_later_subscription_sees_nothing_from_before(world: &World) -> Verdict {
    let (early, late) = (Subscriber::start().await?, Subscriber::start().await?);
    world.apply_channel().await?;
    world
        .apply_subscription("early", &early.url(), json!({}))
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["early"]).await?;
    dispatcher.accepts("before").await?;
    dispatcher.reaches(&early, 1).await?;

    world
        .apply_subscription("late", &late.url(), json!({}))
        .await?;
    world.ready(&dispatcher, &["early", "late"]).await?;
    dispatcher.accepts("after").await?;
    dispatcher.reaches(&early, 2).await?;
    dispatcher.reaches(&late, 1).await?;
    let got = quietly(&late).await;
    ensure!(got == ["after"], "the later subscription got {got:?}");
    Ok(())
}

/// Once a subscription is gone it gets nothing, and the others go on.
///
/// # Errors
/// When it does not hold.
pub async fn a_deleted_subscription_gets_nothing_more(world: &World) -> Verdict {
    let (stays, goes) = (Subscriber::start().await?, Subscriber::start().await?);
    world.apply_channel().await?;
    world
        .apply_subscription("stays", &stays.url(), json!({}))
        .await?;
    world
        .apply_subscription("goes", &goes.url(), json!({}))
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["stays", "goes"]).await?;
    dispatcher.accepts("first").await?;
    dispatcher.reaches(&stays, 1).await?;
    dispatcher.reaches(&goes, 1).await?;

    let object = world.object(&dispatcher, "Subscription", "goes").await?;
    let object = object.context("the subscription is there")?;
    world.delete("Subscription", "goes").await?;
    world.gone(&dispatcher, "Subscription", "goes").await?;
    dispatcher.serves_no(&object["metadata"]).await?;
    for message in ["second", "third"] {
        dispatcher.accepts(message).await?;
    }
    dispatcher.reaches(&stays, 3).await?;
    let got = quietly(&goes).await;
    ensure!(got == ["first"], "the deleted subscription got {got:?}");
    world
        .until_kept("no message", |kept| kept.messages.is_empty())
        .await
}

/// Messages of a paused subscription wait and are delivered when it is resumed; others go on.
///
/// # Errors
/// When it does not hold.
pub async fn paused_messages_wait_and_resume(world: &World) -> Verdict {
    let (subscriber, other) = (Subscriber::start().await?, Subscriber::start().await?);
    world.apply_channel().await?;
    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    world
        .apply_subscription("other", &other.url(), json!({}))
        .await?;
    let dispatcher = world.start().await?;
    world.ready(&dispatcher, &["s", "other"]).await?;
    dispatcher.accepts("first").await?;
    dispatcher.reaches(&subscriber, 1).await?;

    world
        .apply_subscription("s", &subscriber.url(), json!({"paused": true}))
        .await?;
    let delivering = ["Delivering", "False"];
    world
        .condition(&dispatcher, ["Subscription", "s"], delivering)
        .await?;
    for message in ["second", "third"] {
        dispatcher.accepts(message).await?;
    }
    dispatcher.reaches(&other, 3).await?;
    let got = quietly(&subscriber).await;
    ensure!(got == ["first"], "paused, it got {got:?}");
    world
        .until_kept("two messages", |kept| kept.messages.len() == 2)
        .await?;

    world
        .apply_subscription("s", &subscriber.url(), json!({}))
        .await?;
    dispatcher.reaches(&subscriber, 3).await?;
    let mut got = quietly(&subscriber).await;
    got.sort();
    ensure!(
        got == ["first", "second", "third"],
        "resumed, it has got {got:?}"
    );
    world
        .until_kept("no message", |kept| kept.messages.is_empty())
        .await
}

/// All bodies that a subscriber has got, once nothing more comes for a while.
async fn quietly(subscriber: &Subscriber) -> Vec<String> {
    tokio::time::sleep(QUIET).await;
    subscriber.got().iter().map(|got: &Got| body(got)).collect()
}
