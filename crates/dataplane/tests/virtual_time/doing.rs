//! What is told of a subscription while it goes on, and after.

use std::time::Duration;

use busway_core::{
    gate::{MaxInFlight, Rate},
    outcome::Outcome,
    pacing::BackoffPolicy,
    policy::{DeliveryPolicy, OnGone},
    routes::Flow,
};
use busway_dataplane::{Breaker, Doing, Held, Stage};

use crate::harness::{Answer, Pipes, Run, pass, policy, run_as};

fn doing(run: &Run) -> Doing {
    let watched = run.dataplane.metrics().subscription("b", &run.name);
    watched.unwrap().doing.unwrap()
}

/// The value of one of its gauges.
fn gauge(run: &Run, metric: &str, labels: &str) -> Option<i64> {
    let text = run.dataplane.metrics().encode();
    let series = format!(
        r#"busway_subscription_{metric}{{bus="b",subscription_namespace="shop",subscription="s"{labels}}} "#
    );
    let found = text.lines().find_map(|line| line.strip_prefix(&series));
    found.map(|value| value.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_told_with_its_end_the_next_attempt_and_the_last_error() {
    let pipes = || {
        Pipes::seeing(|seen| match seen.at {
            0..60_000 => Answer::Status(503, None),
            _ => Answer::After(10),
        })
    };
    let mut patient = policy(BackoffPolicy::Linear, 100, 100);
    patient.retry = 1_000;
    run_as(
        |route| route.policy = patient,
        pipes,
        |run| async move {
            assert!(
                run.dataplane
                    .metrics()
                    .subscription("b", &run.name)
                    .is_none()
            );
            for message in 0..20 {
                run.put(&message.to_string());
            }
            pass(20).await;
            let now = doing(&run);
            let Breaker::Open { until } = now.breaker else {
                panic!("{now:?}");
            };
            let next = now.next.unwrap();
            assert_eq!((next.stage, next.at), (Stage::Subscriber, until), "{now:?}");
            assert!(next.attempt > 1, "{now:?}");
            let error = now.last_error.unwrap();
            assert_eq!(
                (error.stage, error.outcome),
                (Stage::Subscriber, Outcome::Status(503))
            );
            assert!(error.at <= now.at && now.at < until, "{now:?}");
            assert_eq!((now.unsettled, now.in_flight, now.resting), (20, 0, false));
            assert_eq!(gauge(&run, "breaker", ""), Some(2));
            assert_eq!(gauge(&run, "unsettled", ""), Some(20));

            pass(180).await;
            let after = doing(&run);
            assert_eq!((after.breaker, after.unsettled), (Breaker::Closed, 0));
            assert!(after.resting, "{after:?}");
            assert_eq!((after.limit, after.next), (64, None));
            // When it failed last is still to be seen.
            assert_eq!(after.last_error.unwrap().outcome, Outcome::Status(503));
            assert_eq!(gauge(&run, "breaker", ""), Some(0));
            // At rest nothing is written down any more, and that is still so.
            pass(3_600).await;
            assert_eq!(doing(&run), after);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_told_until_it_is_over() {
    let pipes = || {
        Pipes::answering(|number| match number {
            0 => Answer::Status(429, Some("30")),
            _ => Answer::After(10),
        })
    };
    let edit = |route: &mut busway_core::routes::SubscriptionRoute| {
        route.policy = DeliveryPolicy {
            max_in_flight: MaxInFlight::Number(4),
            rate: Some(Rate {
                per_second: 100.0,
                burst: 1,
            }),
            ..policy(BackoffPolicy::Linear, 100, 100)
        };
    };
    run_as(edit, pipes, |run| async move {
        run.put("1");
        pass(5).await;
        let now = doing(&run);
        let until = now.retry_after.unwrap();
        let left = until.duration_since(now.at).unwrap();
        assert!((20..=30).contains(&left.as_secs()), "{now:?}");
        assert_eq!(now.breaker, Breaker::Closed, "{now:?}");
        assert_eq!(now.next.unwrap().at, until, "{now:?}");
        assert_eq!(gauge(&run, "held", r#",reason="RetryAfter""#), Some(1));
        pass(60).await;
        let after = doing(&run);
        assert_eq!((after.retry_after, after.limit), (None, 4), "{after:?}");
        assert_eq!(gauge(&run, "held", r#",reason="RetryAfter""#), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_says_by_what_and_a_backlog_is_told_without_attempts() {
    let pipes = || Pipes::answering(|_| Answer::Status(410, None));
    let edit = |route: &mut busway_core::routes::SubscriptionRoute| {
        route.policy.on_gone = OnGone::Pause;
    };
    run_as(edit, pipes, |mut run| async move {
        run.put("1");
        pass(2).await;
        assert_eq!(doing(&run).held, Some(Held::Gone));
        assert_eq!(gauge(&run, "held", r#",reason="Gone""#), Some(1));
        assert_eq!(gauge(&run, "gone", ""), Some(1));
        run.edit(|route| route.flow = Flow::Paused);
        pass(2).await;
        assert_eq!(doing(&run).held, Some(Held::Paused));
        assert_eq!(gauge(&run, "held", r#",reason="Paused""#), Some(1));
        assert_eq!(gauge(&run, "held", r#",reason="Gone""#), None);
        run.put("2");
        run.put("3");
        pass(60).await;
        assert_eq!(gauge(&run, "backlog", ""), Some(2));
        assert_eq!(doing(&run).unsettled, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_paused_from_the_start_has_its_backlog_told() {
    let pipes = || Pipes::answering(|_| Answer::After(10));
    run_as(
        |route| route.flow = Flow::Paused,
        pipes,
        |run| async move {
            pass(60).await;
            assert_eq!(gauge(&run, "backlog", ""), None);
            run.put("1");
            pass(60).await;
            assert_eq!(gauge(&run, "backlog", ""), Some(1));
            assert_eq!(gauge(&run, "held", r#",reason="Paused""#), Some(1));
            // Nothing was attempted.
            assert_eq!(run.pipes.attempts(), [0; 0]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_answer_is_in_flight() {
    let pipes = || Pipes::answering(|_| Answer::Never);
    let edit = |route: &mut busway_core::routes::SubscriptionRoute| {
        route.policy = DeliveryPolicy {
            max_in_flight: MaxInFlight::Number(3),
            timeout: Duration::from_secs(30),
            ..policy(BackoffPolicy::Linear, 100, 100)
        };
    };
    run_as(edit, pipes, |run| async move {
        for message in 0..5 {
            run.put(&message.to_string());
        }
        pass(10).await;
        let now = doing(&run);
        assert_eq!((now.in_flight, now.limit, now.unsettled), (3, 3, 5));
        // The next comes when one of these ends, and nobody knows when that is.
        assert_eq!(now.next, None);
        assert_eq!(gauge(&run, "in_flight", ""), Some(3));
        assert_eq!(gauge(&run, "limit", ""), Some(3));
    })
    .await;
}
