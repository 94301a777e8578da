//! Filters, and order per key.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use busway_core::{
    filter::{Filter, FilterSpec},
    pacing::{Backoff, BackoffPolicy, Jitter},
    policy::DeliveryPolicy,
    routes::{Flow, SubscriptionRoute},
};
use busway_message::AttributeName;

use crate::harness::{Answer, Pipes, pass, run_as};

fn policy() -> DeliveryPolicy {
    DeliveryPolicy {
        retry: 3,
        backoff: Backoff {
            policy: BackoffPolicy::Linear,
            delay: Duration::from_secs(1),
            max: Duration::from_mins(10),
            jitter: Jitter::None,
        },
        ..DeliveryPolicy::default()
    }
}

fn ordered(route: &mut SubscriptionRoute) {
    route.policy = policy();
    route.ordering = Some(AttributeName::new("subject").unwrap());
}

fn exact(attribute: &str, value: &str) -> Arc<Filter> {
    let values = BTreeMap::from([(attribute.to_owned(), value.to_owned())]);
    Arc::new(Filter::compile(&[FilterSpec::Exact(values)]).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_head_and_others_do_not() {
    // The first attempts of `a` fail; each answer takes its time.
    let pipes = || {
        Pipes::seeing(|seen| match (&*seen.subject, seen.at) {
            ("a", 0..3000) => Answer::Status(500, None),
            _ => Answer::After(50),
        })
    };
    run_as(ordered, pipes, |run| async move {
        for _ in 0..5 {
            for key in ["a", "b", "c"] {
                run.put(key);
            }
        }
        pass(60).await;
        let at = |key: &str| -> Vec<u64> {
            let seen = run.pipes.seen();
            let of = seen.iter().filter(|seen| seen.subject == key);
            of.map(|seen| seen.at).collect()
        };
        for key in ["b", "c"] {
            // One after the other, and before `a` was well.
            assert_eq!(at(key).len(), 5);
            assert!(at(key).is_sorted_by(|a, b| b - a >= 50), "{:?}", at(key));
            assert!(at(key)[4] < 1000, "{:?}", at(key));
        }
        // Attempts at 0, 1 and 3 s of the first; then the others.
        let a = at("a");
        assert_eq!(a.len(), 7, "{a:?}");
        assert!(a.is_sorted_by(|a, b| b - a >= 50), "{a:?}");
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 15);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_without_the_attribute_have_one_key_and_a_dead_letter_frees_it() {
    let pipes = || {
        Pipes::answering(|number| {
            if number < 4 {
                Answer::Status(500, None)
            } else {
                Answer::Status(202, None)
            }
        })
    };
    let edit = |route: &mut SubscriptionRoute| {
        route.policy = policy();
        route.ordering = Some(AttributeName::new("missing").unwrap());
    };
    run_as(edit, pipes, |run| async move {
        for key in ["a", "b", "c"] {
            run.put(key);
        }
        pass(60).await;
        let seen: Vec<_> = run
            .pipes
            .seen()
            .into_iter()
            .map(|seen| seen.subject)
            .collect();
        assert_eq!(seen, ["a", "a", "a", "a", "b", "c"]);
        assert_eq!(
            run.count("busway_dispatcher_dropped", &["RetriesExhausted"]),
            1
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_are_a_hundred_thousand_messages_at_most() {
    let pipes = || Pipes::answering(|_| Answer::Status(202, None));
    let edit = |route: &mut SubscriptionRoute| {
        ordered(route);
        route.policy.max_unsettled = 100_000;
    };
    run_as(edit, pipes, |run| async move {
        for key in 0..100_000 {
            run.put(&key.to_string());
        }
        pass(60).await;
        assert_eq!(
            run.count("busway_dispatcher_settled", &["Delivered"]),
            100_000
        );
        assert_eq!(run.count("busway_dispatcher_unsettled", &[]), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_gives_everything_back_and_keeps_the_order() {
    let pipes = || Pipes::answering(|_| Answer::After(1000));
    run_as(ordered, pipes, |mut run| async move {
        for _ in 0..4 {
            run.put("a");
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
        run.edit(|route| route.flow = Flow::Paused);
        pass(30).await;
        assert_eq!(run.pipes.attempts().len(), 2);
        run.edit(|route| route.flow = Flow::Running);
        pass(30).await;
        assert_eq!(run.pipes.attempts().len(), 4);
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_while_the_head_of_a_key_fails_loses_no_key() {
    let pipes = || {
        Pipes::seeing(|seen| match seen.number {
            0 => Answer::LateStatus(1000, 500),
            _ => Answer::Status(202, None),
        })
    };
    run_as(ordered, pipes, |mut run| async move {
        for _ in 0..3 {
            run.put("a");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        run.edit(|route| route.flow = Flow::Paused);
        pass(10).await;
        run.edit(|route| route.flow = Flow::Running);
        pass(10).await;
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_order_holds_after_a_pause_that_came_with_it() {
    let pipes = || Pipes::answering(|_| Answer::After(100));
    run_as(ordered, pipes, |mut run| async move {
        for key in ["a", "b", "c", "d"] {
            run.put(key);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(run.pipes.most_at_once(), 4);
        run.edit(|route| {
            route.flow = Flow::Paused;
            route.ordering = Some(AttributeName::new("type").unwrap());
        });
        for key in ["e", "f", "g"] {
            run.put(key);
        }
        pass(1).await;
        run.pipes.most_at_once();
        run.edit(|route| route.flow = Flow::Running);
        pass(5).await;
        assert_eq!(run.pipes.most_at_once(), 1);
        assert_eq!(run.count("busway_dispatcher_settled", &["Delivered"]), 7);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_filtered_costs_no_call_and_is_counted() {
    let pipes = || Pipes::answering(|_| Answer::Status(202, None));
    let edit = |route: &mut SubscriptionRoute| {
        route.policy = policy();
        route.filter = exact("subject", "b");
    };
    run_as(edit, pipes, |mut run| async move {
        for key in ["a", "b", "c", "b"] {
            run.put(key);
        }
        pass(5).await;
        let subjects = |run: &crate::harness::Run| -> Vec<String> {
            run.pipes
                .seen()
                .into_iter()
                .map(|seen| seen.subject)
                .collect()
        };
        assert_eq!(subjects(&run), ["b", "b"]);
        assert_eq!(run.count("busway_dispatcher_settled", &["Filtered"]), 2);
        // A filter that cannot tell is false, and counted.
        run.edit(|route| route.filter = exact("nowhere", "x"));
        run.put("a");
        pass(5).await;
        assert_eq!(subjects(&run).len(), 2);
        assert_eq!(
            run.count(
                "busway_dispatcher_filter_errors",
                &["MissingAttributeError"]
            ),
            1
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_filters_counts_for_the_next_attempt() {
    let pipes = || Pipes::answering(|_| Answer::Status(500, None));
    let edit = |route: &mut SubscriptionRoute| route.policy = policy();
    run_as(edit, pipes, |mut run| async move {
        run.put("a");
        tokio::time::sleep(Duration::from_millis(500)).await;
        run.edit(|route| route.filter = exact("subject", "b"));
        pass(60).await;
        assert_eq!(run.pipes.attempts().len(), 1);
        assert_eq!(run.count("busway_dispatcher_settled", &["Filtered"]), 1);
    })
    .await;
}
