//! What becomes of a message that a subscriber does not take.

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{Verdict, World};
use crate::subscriber::{Answer, Subscriber};

/// A message is delivered once to who takes it, retried as the policy says, and then dead-lettered:
/// to the sink, or to the bus's own store where it has one.
///
/// # Errors
/// When it does not hold.
pub async fn a_message_is_delivered_or_retried_and_dead_lettered(world: &World) -> Verdict {
    let works = Subscriber::start().await?;
    let fails = Subscriber::answering(|_, _| Answer::status(500)).await?;
    let letters = Subscriber::start().await?;
    let rejects = Subscriber::answering(|_, _| Answer::status(422)).await?;
    world.apply_channel().await?;
    world
        .apply_subscription("works", &works.url(), json!({}))
        .await?;
    let delivery = json!({"retry": 2, "backoffDelay": "100ms", "deadLetterSink": letters.url()});
    let delivery = json!({"delivery": delivery});
    world
        .apply_subscription("fails", &fails.url(), delivery)
        .await?;
    // Without a sink, the bus's own store takes it.
    world
        .apply_subscription("rejects", &rejects.url(), json!({}))
        .await?;
    let dispatcher = world.start().await?;
    world
        .ready(&dispatcher, &["works", "fails", "rejects"])
        .await?;

    dispatcher.accepts("hello").await?;
    let got = dispatcher.reaches(&works, 1).await?;
    ensure!(
        got.iter().all(|got| got.body == "hello"),
        "it works: {got:?}"
    );
    let got = dispatcher.reaches(&fails, 3).await?;
    let attempts: Vec<_> = got.iter().map(|got| got.header("busway-attempt")).collect();
    ensure!(
        attempts == ["1", "2", "3"],
        "with two retries the attempts were {attempts:?}"
    );
    dispatcher.reaches(&rejects, 1).await?;
    let got = dispatcher.reaches(&letters, 1).await?;
    let letter = got.first().context("a dead letter")?;
    ensure!(letter.body == "hello", "the dead letter: {letter:?}");
    for (header, value) in [("busway-error-attempts", "3"), ("busway-error-code", "500")] {
        let came = letter.header(header);
        ensure!(came == value, "{header} of the dead letter is {came:?}");
    }
    let stored = &["Rejected".to_owned()][..];
    let stored = if world.subject.profile.capabilities.dead_letters {
        stored
    } else {
        &[]
    };
    let what = format!("no message, and the dead letters {stored:?}");
    world
        .until_kept(&what, |kept| {
            kept.messages.is_empty() && kept.dead_letters == stored
        })
        .await?;
    // In order, so that what is still to come has come.
    dispatcher.leaves().await?;
    for (name, subscriber, many) in [
        ("works", &works, 1),
        ("fails", &fails, 3),
        ("rejects", &rejects, 1),
        ("the sink", &letters, 1),
    ] {
        let got = subscriber.got().len();
        ensure!(got == many, "{name} got {got} requests instead of {many}");
    }
    Ok(())
}
