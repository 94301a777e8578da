//! What is told to people.

use std::sync::{Arc, Mutex};

use busway_core::serving::DataPlane as _;
use busway_dataplane::{Event, Network, Observer, Stage, World};
use busway_testkit::{
    fakes::FakeBus,
    subscriber::{Answer, Subscriber},
};

use super::harness::{Harness, destination};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::Accepted { channel, bytes, .. } => format!("accepted {channel} {bytes}"),
            Event::Refused { channel, problem } => {
                let channel = channel.map(ToString::to_string).unwrap_or_default();
                format!("refused {channel} {}", problem.name())
            }
            Event::Attempted {
                subscription,
                stage,
                attempt,
                outcome,
                ..
            } => {
                format!("{subscription} {} {attempt} {outcome}", stage.as_str())
            }
            Event::Waiting {
                subscription,
                stage,
                attempts,
                ..
            } => {
                assert_eq!(*stage, Stage::Subscriber);
                format!("{subscription} waits after {attempts}")
            }
            Event::DeadLetter {
                subscription,
                cause,
                ..
            } => {
                format!("{subscription} dead letter {}", cause.reason())
            }
            Event::Settled {
                subscription, how, ..
            } => format!("{subscription} {}", how.reason()),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

#[tokio::test]
async fn every_step_of_a_message_is_told_in_its_order() {
    let log = Arc::new(Log::default());
    let observer = Arc::clone(&log) as Arc<dyn Observer>;
    let world = World::new(Network::system()).observed_by(observer);
    let h = Harness::unloaded(FakeBus::new(), world);
    h.publish();
    assert!(
        h.plane.routes().loaded
            && h.plane
                .loaded()
                .generation(&busway_core::Uid::new("shop/orders"))
                .is_some()
    );
    let subscriber = Subscriber::answering(|_, _| Answer::status(500))
        .await
        .unwrap();
    let sink = Subscriber::start().await.unwrap();
    let mut route = h.route("s", &subscriber.url());
    route.policy.retry = 1;
    route.dead_letter_sink = Some(destination(&sink.url()));
    h.serve(route).await;
    h.send("hello").await;
    h.wait_metric("busway_dispatcher_settled", &["DeadLettered"], 1)
        .await;
    h.wait_settled("s").await;
    h.post("/shop/nothing", &[], "").await;
    // The answer to the sender and the first attempt are on different shards.
    let mut lines = log.0.lock().unwrap().clone();
    let accepted = lines
        .iter()
        .position(|line| line == "accepted shop/orders 5")
        .unwrap();
    lines.remove(accepted);
    assert_eq!(
        lines,
        [
            "shop/s subscriber 1 500",
            "shop/s waits after 1",
            "shop/s subscriber 2 500",
            "shop/s dead letter RetriesExhausted",
            "shop/s dead-letter 1 202",
            "shop/s DeadLettered",
            "refused shop/nothing unknown-channel",
        ]
    );
}
