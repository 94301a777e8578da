//! Who owns a message while its stream breaks, and on the way out.

use std::time::Duration;

use busway_core::{
    address::Destination,
    pacing::BackoffPolicy,
    policy::OnGone,
    routes::{Flow, SubscriptionRoute},
};

use busway_testkit::fakes::Call;

use crate::harness::{Answer, Pipes, pass, policy, run_as};

fn edit(route: &mut SubscriptionRoute) {
    route.policy = policy(BackoffPolicy::Linear, 1000, 1000);
    route.policy.retry = 3;
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_stream_broke_during_an_attempt_has_one_owner() {
    // Each attempt takes half a second, and fails.
    let pipes = || Pipes::answering(|_| Answer::LateStatus(500, 500));
    run_as(edit, pipes, |run| async move {
        run.put("a");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(run.pipes.attempts().len(), 1);
        run.bus.break_stream(&run.name);
        pass(60).await;
        // The one that was lost to the break, and those that the policy allows.
        assert_eq!(run.pipes.attempts().len(), 1 + 4, "{:?}", run.pipes.seen());
        let dropped = run.count("busway_dispatcher_dropped", &["RetriesExhausted"]);
        assert_eq!(dropped, 1);
        assert_eq!(run.bus.waiting(&run.name) + run.bus.out(&run.name), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_is_not_attempted_on_the_way_out() {
    // The subscriber rejects, and the sink fails.
    let pipes = || {
        Pipes::seeing(|seen| match &*seen.path {
            "/sink" => Answer::Status(500, None),
            _ => Answer::Status(400, None),
        })
    };
    let with_sink = |route: &mut SubscriptionRoute| {
        edit(route);
        let sink = Destination::parse("http://web/sink", "shop", "cluster.local");
        route.dead_letter_sink = Some(sink.unwrap());
    };
    run_as(with_sink, pipes, |mut run| async move {
        run.put("a");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let attempted = run.pipes.attempts().len();
        assert_eq!(attempted, 2, "the subscriber and the sink");
        run.edit(|route| route.flow = Flow::Paused);
        tokio::time::sleep(Duration::from_millis(100)).await;
        run.dataplane.drain(Duration::from_secs(30)).await;
        assert_eq!(run.pipes.attempts().len(), attempted);
        assert_eq!(run.bus.waiting(&run.name), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_tried_for_the_last_time_is_not_tried_again_after_its_stream_broke() {
    let pipes = || Pipes::seeing(|_| Answer::Status(500, None));
    let with_sink = |route: &mut SubscriptionRoute| {
        edit(route);
        let sink = Destination::parse("http://web/sink", "shop", "cluster.local");
        route.dead_letter_sink = Some(sink.unwrap());
    };
    run_as(with_sink, pipes, |run| async move {
        let tried = |run: &crate::harness::Run| {
            let seen = run.pipes.seen();
            seen.iter().filter(|seen| seen.path != "/sink").count()
        };
        run.put("a");
        // One more than the retries, a second apart; then the sink is tried.
        pass(4).await;
        assert_eq!(tried(&run), 4);
        run.bus.break_stream(&run.name);
        pass(60).await;
        assert_eq!(tried(&run), 4, "{:?}", run.pipes.seen());
        assert_eq!(run.bus.waiting(&run.name) + run.bus.out(&run.name), 0);
    })
    .await;
}

/// An edit that needs another stream, while a dead letter waits for a sink that is down.
async fn edited_with_a_sink_that(
    is_down: fn() -> Answer,
    change: fn(&mut SubscriptionRoute),
) -> Vec<(String, u64)> {
    let pipes = move || {
        Pipes::seeing(move |seen| match (&*seen.path, &*seen.subject) {
            ("/sink", _) => is_down(),
            (_, "bad") => Answer::Status(400, None),
            _ => Answer::Status(202, None),
        })
    };
    let with_sink = |route: &mut SubscriptionRoute| {
        edit(route);
        // For most of a day.
        route.policy.retry = 80_000;
        let sink = Destination::parse("http://web/sink", "shop", "cluster.local");
        route.dead_letter_sink = Some(sink.unwrap());
    };
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let told = std::rc::Rc::clone(&seen);
    run_as(with_sink, pipes, |mut run| async move {
        run.put("bad");
        pass(5).await;
        run.edit(change);
        run.put("good");
        pass(60).await;
        let seen = run.pipes.seen().into_iter();
        let of_subscriber = seen.filter(|seen| seen.path != "/sink");
        told.replace(of_subscriber.map(|seen| (seen.subject, seen.at)).collect());
    })
    .await;
    seen.take()
}

fn fails() -> Answer {
    Answer::Status(500, None)
}

#[tokio::test(start_paused = true)]
async fn another_credit_waits_for_dead_letters_half_a_minute_and_delivers_nothing_twice() {
    for (most, within) in [(7, 6_000), (5000, 36_000)] {
        let seen = match most {
            7 => edited_with_a_sink_that(fails, |route| route.policy.max_unsettled = 7).await,
            _ => edited_with_a_sink_that(fails, |route| route.policy.max_unsettled = 5000).await,
        };
        let subjects: Vec<_> = seen.iter().map(|(subject, _)| &**subject).collect();
        assert_eq!(subjects, ["bad", "good"]);
        assert!(seen[1].1 <= within, "{most}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_order_waits_for_dead_letters_half_a_minute_then_they_go_back_to_the_bus() {
    // Each attempt at a sink that hangs takes half a minute more.
    for (is_down, within) in [
        (fails as fn() -> Answer, 37_000),
        (|| Answer::Never, 67_000),
    ] {
        let by_subject = |route: &mut SubscriptionRoute| {
            route.ordering = Some(busway_core::AttributeName::new("subject").unwrap());
        };
        let seen = edited_with_a_sink_that(is_down, by_subject).await;
        let good: Vec<_> = seen.iter().filter(|(who, _)| who == "good").collect();
        assert!(matches!(good[..], [(_, at)] if *at <= within), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_bound_holds_at_once_and_the_next_stream_has_it() {
    // Each takes ten seconds.
    let pipes = || Pipes::answering(|_| Answer::After(10_000));
    run_as(edit, pipes, |mut run| async move {
        for n in 0..20 {
            run.put(&n.to_string());
        }
        pass(1).await;
        assert_eq!(run.pipes.most_at_once(), 20);
        run.edit(|route| route.policy.max_unsettled = 3);
        for n in 20..30 {
            run.put(&n.to_string());
        }
        pass(12).await;
        run.pipes.most_at_once();
        pass(60).await;
        assert_eq!(run.pipes.most_at_once(), 3);
        assert_eq!(run.pipes.attempts().len(), 30);
        let calls = run.bus.calls(&run.name);
        let credits = calls.iter().filter(|call| matches!(call, Call::Consume(3)));
        assert_eq!(credits.count(), 1, "{calls:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_before_an_edit_does_not_undo_that_the_subscriber_is_gone() {
    let pipes = || {
        Pipes::answering(|number| match number {
            0 => Answer::LateStatus(2000, 410),
            1 => Answer::Status(410, None),
            _ => Answer::Status(202, None),
        })
    };
    let pauses = |route: &mut SubscriptionRoute| {
        edit(route);
        route.policy.on_gone = OnGone::Pause;
    };
    run_as(pauses, pipes, |mut run| async move {
        run.put("before");
        pass(1).await;
        run.edit(|route| route.policy.retry = 4);
        run.put("after");
        pass(5).await;
        run.put("waits");
        pass(60).await;
        assert_eq!(run.pipes.attempts().len(), 2, "{:?}", run.pipes.seen());
        run.edit(|route| route.policy.retry = 3);
        pass(5).await;
        assert_eq!(run.pipes.attempts().len(), 3);
    })
    .await;
}
