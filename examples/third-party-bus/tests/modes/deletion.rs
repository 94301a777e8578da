use busway_testkit::{subscriber::Subscriber, wait};
use serde_json::{Value, json};

use crate::world::{CHANNEL, DEADLINE, Dispatcher, World};

const PROVISIONED: &str = "channels.busway.dev/provisioned";
const SUBSCRIBED: &str = "channels.busway.dev/subscribed";

pub(crate) async fn finalizers_are_there_before_the_hook_and_gone_with_the_object(world: &World) {
    let subscriber = Subscriber::start().await.unwrap();
    let dispatcher = world.start().await;
    let held = world.hold();
    world.apply_channel().await;
    finalizer(world, &dispatcher, "Channel", CHANNEL, PROVISIONED).await;
    assert_eq!(world.rows("channels"), 0);
    drop(held);
    world.ready(&dispatcher, &[]).await;
    assert_eq!(world.rows("channels"), 1);

    let held = world.hold();
    world.apply_subscription("s", &subscriber.url(), json!({})).await;
    finalizer(world, &dispatcher, "Subscription", "s", SUBSCRIBED).await;
    assert_eq!(world.rows("subscriptions"), 0);
    drop(held);
    world.ready(&dispatcher, &["s"]).await;
    assert_eq!(world.rows("subscriptions"), 1);

    world.delete("Subscription", "s").await;
    world.gone(&dispatcher, "Subscription", "s").await;
    assert_eq!(world.rows("subscriptions"), 0);
    world.delete("Channel", CHANNEL).await;
    world.gone(&dispatcher, "Channel", CHANNEL).await;
    assert_eq!(world.rows("channels"), 0);
}

pub(crate) async fn a_deletion_in_which_the_dispatcher_was_killed_ends(world: &World) {
    let (_subscriber, dispatcher) = running(world).await;
    let held = world.hold();
    world.delete("Channel", CHANNEL).await;
    wait::until("the dispatcher has begun", DEADLINE, async || match world.post(&dispatcher, "late").await {
        404 => Ok(()),
        status => Err(status),
    })
    .await
    .unwrap();
    let channel = world.object(&dispatcher, "Channel", CHANNEL).await.unwrap();
    assert!(channel["metadata"]["deletionTimestamp"].is_string(), "{channel:#}");
    dispatcher.kill().await;
    drop(held);
    assert_eq!(world.rows("channels"), 1);

    let dispatcher = world.start().await;
    world.gone(&dispatcher, "Channel", CHANNEL).await;
    nothing_is_left(world);
}

pub(crate) async fn what_was_deleted_meanwhile_is_unprovisioned_at_the_start(world: &World) {
    let (_subscriber, dispatcher) = running(world).await;
    dispatcher.kill().await;
    world.delete("Channel", CHANNEL).await;
    world.delete("Subscription", "s").await;
    assert_eq!(world.rows("channels"), 1);

    let dispatcher = world.start().await;
    world.gone(&dispatcher, "Channel", CHANNEL).await;
    world.gone(&dispatcher, "Subscription", "s").await;
    nothing_is_left(world);
}

pub(crate) async fn a_namespace_is_deleted_with_everything_in_it(world: &World) {
    let (_subscriber, dispatcher) = running(world).await;
    world.delete_namespace().await;
    assert_eq!(world.post(&dispatcher, "late").await, 404);
    nothing_is_left(world);
}

/// A channel with a subscription, and a message in its backlog.
async fn running(world: &World) -> (Subscriber, Dispatcher) {
    let subscriber = Subscriber::start().await.unwrap();
    world.apply_channel().await;
    world.apply_subscription("s", &subscriber.url(), json!({"paused": true})).await;
    let dispatcher = world.start().await;
    world.ready(&dispatcher, &["s"]).await;
    assert_eq!(world.post(&dispatcher, "waits").await, 202);
    assert_eq!(world.rows("queue"), 1);
    (subscriber, dispatcher)
}

async fn finalizer(world: &World, at: &Dispatcher, kind: &str, name: &str, finalizer: &str) {
    wait::until(&format!("{kind} {name} has {finalizer}"), DEADLINE, async || {
        let found = world.object(at, kind, name).await.unwrap_or_default();
        let finalizers = found["metadata"]["finalizers"].as_array();
        let has = finalizers.is_some_and(|all| all.contains(&Value::from(finalizer)));
        has.then_some(()).ok_or_else(|| format!("{found:#}"))
    })
    .await
    .unwrap();
}

fn nothing_is_left(world: &World) {
    for table in ["channels", "subscriptions", "queue", "dead"] {
        assert_eq!(world.rows(table), 0, "{table}");
    }
}
