//! What concerns a subscription as a whole: breaker, Retry-After, rate, bounds, a subscriber that is gone.

use std::time::Duration;

use busway_core::{
    gate::{MaxInFlight, Rate},
    pacing::{Backoff, BackoffPolicy, Jitter},
    policy::{DeliveryPolicy, OnGone, Redirects},
    routes::SubscriptionRoute,
    serving::DataPlane as _,
};

use crate::harness::{Answer, Pipes, pass, policy, run_as};

/// A quick policy: attempts a tenth of a second apart, very many of them.
fn quick() -> DeliveryPolicy {
    DeliveryPolicy {
        retry: 1000,
        backoff: Backoff {
            policy: BackoffPolicy::Linear,
            delay: Duration::from_millis(100),
            max: Duration::from_millis(100),
            jitter: Jitter::None,
        },
        ..DeliveryPolicy::default()
    }
}

fn with(policy: DeliveryPolicy) -> impl FnOnce(&mut SubscriptionRoute) {
    move |route| route.policy = policy
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_probes_and_ramps() {
    // Down for a minute and a half.
    let pipes = || {
        Pipes::seeing(|seen| match seen.at {
            0..90_000 => Answer::Status(500, None),
            _ => Answer::After(900),
        })
    };
    run_as(with(quick()), pipes, |run| async move {
        for message in 0..200 {
            run.put(&message.to_string());
        }
        pass(89).await;
        let down = run.pipes.attempts();
        // The first went out together; then one probe after 1, 2, 4, 8, 16, 32 s, each half of that at least.
        let probes = down.iter().filter(|at| **at > 300).count();
        assert!((6..=8).contains(&probes), "{down:?}");
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 0);
        assert_eq!(run.count("busway_dispatcher_settled", &["Dropped"]), 0);
        pass(120).await;
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 200);
        let up: Vec<_> = run
            .pipes
            .attempts()
            .into_iter()
            .filter(|at| *at >= 90_000)
            .collect();
        let first = up[0];
        let within = |from: u64, to: u64| {
            let from_to = (first + from)..(first + to);
            up.iter().filter(|at| from_to.contains(at)).count()
        };
        // The probe; then one, two, four at once.
        assert_eq!(within(0, 900), 1);
        assert!(within(900, 1_800) <= 2, "{up:?}");
        assert!(within(1_800, 2_700) <= 4, "{up:?}");
        assert!(within(5_000, 9_000) > 100, "{up:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_does_not_probe_with_a_last_attempt_while_another_message_has_more() {
    let pipes = || Pipes::answering(|_| Answer::Status(503, None));
    let policy = DeliveryPolicy {
        retry: 2,
        max_in_flight: MaxInFlight::Number(1),
        ..quick()
    };
    run_as(with(policy), pipes, |run| async move {
        for message in 0..40 {
            run.put(&message.to_string());
        }
        pass(600).await;
        // Held for ten minutes: probes took from first and second attempts only.
        assert_eq!(run.count("busway_dispatcher_settled", &["Dropped"]), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_the_message_to_probe_with_still_waits_nothing_runs() {
    let pipes = || Pipes::answering(|_| Answer::Status(500, None));
    let policy = DeliveryPolicy {
        retry: 2,
        ..policy(BackoffPolicy::Linear, 10_000, 10_000)
    };
    run_as(with(policy), pipes, |run| async move {
        // Their second attempts open the breaker, and the third would be their last.
        for message in 0..5 {
            run.put(&message.to_string());
        }
        pass(15).await;
        assert_eq!(run.pipes.attempts().len(), 10);
        // The probe takes the new one, which then waits for ten seconds. The five are due before that:
        // a loop that finds nothing to probe with would keep this clock from going on.
        run.put("spare");
        pass(9).await;
        assert_eq!(run.pipes.attempts().len(), 11);
        pass(2).await;
        assert_eq!(run.pipes.attempts().len(), 12);
        pass(600).await;
        assert_eq!(run.count("busway_dispatcher_settled", &["Dropped"]), 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_stops_the_whole_subscription() {
    let pipes = || {
        Pipes::answering(|number| match number {
            0 => Answer::Status(429, Some("20")),
            _ => Answer::Status(202, None),
        })
    };
    run_as(
        with(DeliveryPolicy {
            max_in_flight: MaxInFlight::Number(1),
            ..quick()
        }),
        pipes,
        |run| async move {
            for message in 0..3 {
                run.put(&message.to_string());
            }
            pass(60).await;
            let seconds: Vec<_> = run.pipes.attempts().iter().map(|at| at / 1000).collect();
            assert_eq!(seconds, [0, 20, 20, 20]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_with_its_burst_and_its_edit() {
    let pipes = || Pipes::answering(|_| Answer::Status(202, None));
    let rate = Rate {
        per_second: 10.0,
        burst: 5,
    };
    run_as(
        with(DeliveryPolicy {
            rate: Some(rate),
            ..quick()
        }),
        pipes,
        |mut run| async move {
            for message in 0..1000 {
                run.put(&message.to_string());
            }
            pass(10).await;
            let per_second = run.pipes.per_second();
            let first = per_second[0].1;
            assert!((14..=16).contains(&first), "{per_second:?}");
            assert!(
                per_second[1..]
                    .iter()
                    .all(|(_, count)| (9..=11).contains(count)),
                "{per_second:?}"
            );
            run.edit(|route| route.policy.rate = None);
            pass(1).await;
            assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 1000);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn auto_starts_low_and_finds_more() {
    let pipes = || Pipes::answering(|_| Answer::After(10));
    run_as(
        with(DeliveryPolicy {
            max_in_flight: MaxInFlight::Auto,
            max_unsettled: 5000,
            ..quick()
        }),
        pipes,
        |run| async move {
            for message in 0..5000 {
                run.put(&message.to_string());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
            let at_first = run.pipes.most_at_once();
            assert!(at_first <= 10, "{at_first}");
            pass(5).await;
            let later = run.pipes.most_at_once();
            assert!(later > 30, "{later}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_gone_is_left_alone_until_the_spec_changes() {
    let pipes = || {
        Pipes::seeing(|seen| match seen.at {
            0..60_000 => Answer::Status(410, None),
            _ => Answer::Status(202, None),
        })
    };
    let policy = DeliveryPolicy {
        on_gone: OnGone::Pause,
        max_in_flight: MaxInFlight::Number(1),
        ..quick()
    };
    run_as(with(policy), pipes, |mut run| async move {
        for message in 0..3 {
            run.put(&message.to_string());
        }
        pass(70).await;
        assert_eq!(run.pipes.attempts().len(), 1);
        assert_eq!(run.count("busway_dispatcher_settled", &["Dropped"]), 1);
        let health = run.plane.health(&busway_core::Uid::new("s")).unwrap();
        assert!(health.gone);
        run.edit(|_| {});
        pass(5).await;
        assert_eq!(run.pipes.attempts().len(), 3);
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_another_subscriber_answered_says_nothing_of_the_one_there_is_now() {
    // The first answers late that it is gone; all others work.
    let pipes = || {
        Pipes::seeing(|seen| match seen.number {
            0 => Answer::LateStatus(2000, 410),
            1 => Answer::LateStatus(2000, 503),
            _ => Answer::Status(202, None),
        })
    };
    let policy = DeliveryPolicy {
        on_gone: OnGone::Pause,
        ..quick()
    };
    run_as(with(policy), pipes, |mut run| async move {
        run.put("a");
        run.put("b");
        tokio::time::sleep(Duration::from_millis(500)).await;
        run.edit(|route| {
            let other = "http://other.shop.svc.cluster.local/";
            route.subscriber =
                busway_core::address::Destination::parse(other, "shop", "cluster.local").unwrap();
        });
        pass(3).await;
        run.put("c");
        pass(1).await;
        let health = run.plane.health(&busway_core::Uid::new("s")).unwrap();
        assert!(!health.gone);
        assert_eq!(health.failing_since, None);
        // `a` is a dead letter; `b` was tried again, elsewhere.
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_on_the_same_host_where_the_policy_says_so() {
    for (redirects, to, paths) in [
        (Redirects::SameHost, "/new?x=1", vec!["/", "/new"]),
        (
            Redirects::SameHost,
            "http://web.shop.svc.cluster.local/new",
            vec!["/", "/new"],
        ),
        (
            Redirects::SameHost,
            "http://other.shop.svc.cluster.local/new",
            vec!["/"],
        ),
        (
            Redirects::SameHost,
            "https://web.shop.svc.cluster.local/new",
            vec!["/"],
        ),
        (
            Redirects::SameHost,
            "http://web.shop.svc.cluster.local:81/new",
            vec!["/"],
        ),
        (Redirects::SameHost, "http://[", vec!["/"]),
        (Redirects::Never, "/new", vec!["/"]),
        // Round and round: five are followed.
        (Redirects::SameHost, "/", vec!["/"; 6]),
    ] {
        let pipes = || {
            Pipes::seeing(move |seen| match &*seen.path {
                "/" => Answer::Moved(308, to),
                _ => Answer::Status(202, None),
            })
        };
        run_as(
            with(DeliveryPolicy {
                redirects,
                ..quick()
            }),
            pipes,
            |run| async move {
                run.put("m");
                pass(5).await;
                let seen: Vec<_> = run.pipes.seen().into_iter().map(|seen| seen.path).collect();
                assert_eq!(seen, paths, "{to}");
                assert_eq!(*run.pipes.connections.lock().unwrap(), 1);
            },
        )
        .await;
    }
}
