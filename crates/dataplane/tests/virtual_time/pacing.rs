//! Waits, timeouts and deadlines to the millisecond.

use std::time::{Duration, SystemTime};

use busway_core::{Uid, bus::Fate, pacing::BackoffPolicy, serving::DataPlane as _};
use busway_message::Message;
use busway_testkit::fakes::Call;

use crate::harness::{Answer, Pipes, pass, policy, run};

#[tokio::test(start_paused = true)]
async fn waits_grow_as_the_policy_says_and_end_with_the_last_attempt() {
    for (backoff, expected) in [
        (BackoffPolicy::Linear, [0, 100, 300, 600, 950, 1300]),
        (BackoffPolicy::Exponential, [0, 100, 300, 650, 1000, 1350]),
    ] {
        let failing = || Pipes::answering(|_| Answer::Status(500, None));
        run(policy(backoff, 100, 350), failing, |run| async move {
            pass(60).await;
            let attempts = run.pipes.attempts();
            let off = attempts.iter().zip(expected).map(|(at, due)| at - due);
            // Timers have milliseconds: each wait may be one late.
            assert!(off.clone().all(|late| late <= 6), "{attempts:?}");
            assert_eq!(attempts.len(), expected.len());
            let dropped = run
                .dataplane
                .metrics()
                .get("busway_dispatcher_dropped", &["RetriesExhausted"]);
            assert_eq!(dropped, 1);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_in_seconds_and_as_a_date_is_waited_for() {
    let answers = || {
        Pipes::answering(|number| match number {
            0 => Answer::Status(503, Some("7")),
            // Twenty seconds after the wall clock began.
            1 => Answer::Status(429, Some("Sun, 09 Sep 2001 01:47:00 GMT")),
            _ => Answer::Status(202, None),
        })
    };
    run(
        policy(BackoffPolicy::Linear, 10, 10),
        answers,
        |run| async move {
            pass(60).await;
            let seconds: Vec<_> = run.pipes.attempts().iter().map(|ms| ms / 1000).collect();
            assert_eq!(seconds, [0, 7, 20]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_timeout_ends_an_attempt_and_the_next_has_a_new_connection() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.timeout = Duration::from_secs(3);
    let answers = || {
        Pipes::answering(|number| match number {
            0 => Answer::Never,
            _ => Answer::Status(202, None),
        })
    };
    run(policy, answers, |run| async move {
        pass(10).await;
        let seconds: Vec<_> = run.pipes.attempts().iter().map(|ms| ms / 1000).collect();
        assert_eq!(seconds, [0, 4]);
        assert_eq!(*run.pipes.connections.lock().unwrap(), 2);
        let timeouts = run
            .dataplane
            .metrics()
            .get("busway_dispatcher_attempts", &["subscriber", "Timeout"]);
        assert_eq!(timeouts, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connecting_has_its_own_timeout() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.connect_timeout = Duration::from_secs(2);
    let deaf = || {
        let mut pipes = Pipes::answering(|_| Answer::Never);
        pipes.connects = false;
        pipes
    };
    run(policy, deaf, |run| async move {
        pass(7).await;
        let failed = run.dataplane.metrics().get(
            "busway_dispatcher_attempts",
            &["subscriber", "ConnectError"],
        );
        assert_eq!(failed, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_missing_and_then_back_is_a_retry() {
    let back = || {
        let pipes = Pipes::answering(|_| Answer::Status(202, None));
        *pipes.missing.lock().unwrap() = 2;
        pipes
    };
    run(
        policy(BackoffPolicy::Linear, 100, 100),
        back,
        |run| async move {
            pass(5).await;
            let metrics = run.dataplane.metrics();
            assert_eq!(
                metrics.get("busway_dispatcher_attempts", &["subscriber", "DnsError"]),
                2
            );
            assert_eq!(metrics.get("busway_dispatcher_settled", &["Delivered"]), 1);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_message_is_held_the_bus_hears_of_it_every_twenty_seconds() {
    let mut policy = policy(BackoffPolicy::Linear, 1000, 1000);
    policy.timeout = Duration::from_secs(95);
    run(
        policy,
        || Pipes::answering(|_| Answer::Never),
        |run| async move {
            pass(90).await;
            let calls = run.bus.calls(&run.name);
            let kept = calls
                .iter()
                .filter(|call| **call == Call::Extended(0))
                .count();
            assert!((4..=5).contains(&kept), "{calls:?}");
            let health = run.plane.health(&Uid::new("s")).unwrap();
            assert_eq!(health.backlog.map(|backlog| backlog.count), Some(1));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_age_ends_in_the_dead_letter() {
    let mut policy = policy(BackoffPolicy::Linear, 10_000, 10_000);
    policy.max_age = Some(Duration::from_secs(15));
    run(
        policy,
        || Pipes::answering(|_| Answer::Status(500, None)),
        |run| async move {
            pass(60).await;
            assert_eq!(run.pipes.attempts().len(), 2);
            let expired = run
                .dataplane
                .metrics()
                .get("busway_dispatcher_dropped", &["Expired"]);
            assert_eq!(expired, 1);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_work_is_closed_after_half_a_minute() {
    let answers = || Pipes::answering(|_| Answer::Status(202, None));
    run(
        policy(BackoffPolicy::Linear, 10, 10),
        answers,
        |run| async move {
            pass(29).await;
            let lanes = || run.dataplane.metrics().get("busway_dispatcher_lanes", &[]);
            assert_eq!(lanes(), 1);
            run.bus.put(
                &run.name,
                Message::default(),
                0,
                SystemTime::now(),
                Fate::Deliver,
            );
            pass(29).await;
            assert_eq!((lanes(), run.pipes.attempts().len()), (1, 2));
            assert_eq!(*run.pipes.connections.lock().unwrap(), 1);
            pass(2).await;
            assert_eq!(lanes(), 0);
        },
    )
    .await;
}
