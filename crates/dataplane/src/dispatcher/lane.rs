//! A lane: a long-lived task with one connection, which makes one attempt after the other.

use std::{cell::Cell, future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use busway_core::{
    address::Destination,
    outcome::{Failure, Outcome},
    policy::{DeliveryPolicy, Redirects},
};
use busway_message::Message;
use http::header;
use tokio::time::Instant;

use super::{
    alarm::Alarm,
    job::Job,
    link::{Answer, Link, Terms, Wanted},
    request::{Attempt, Post},
    state::Subscription,
};
use crate::{
    connections,
    metrics::{Family, Up, outcome_index},
    observer::{Event, Stage},
};

/// How long a lane keeps its connection without work.
const KEEP_IDLE: Duration = Duration::from_secs(30);
/// As [`KEEP_IDLE`], for a subscription's only one while others wait for connections.
const KEEP_SCARCE: Duration = Duration::from_secs(5);
/// What is read of an answer that is no reply, before the connection is dropped instead.
const DRAINED: usize = 64 * 1024;
/// What is kept of it, for a dead letter.
const KEPT: usize = busway_message::dead_letter::MAX_ERROR_DATA;

/// Redirects that one attempt follows: as many as a move of an API needs, and no loop.
const MAX_REDIRECTS: u32 = 5;

/// How an attempt ended, with what was read of the answer.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) answer: Option<Answer>,
    /// Whether it failed with others on one connection, and one of them has told so.
    pub(super) told: bool,
}

impl Ended {
    /// Of one that was alone on its connection.
    pub(super) fn of(result: Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) => Self {
                outcome: Outcome::Status(answer.status),
                answer: Some(answer),
                told: false,
            },
            Err(failure) => Self {
                outcome: Outcome::Failed(failure),
                answer: None,
                told: false,
            },
        }
    }
}

/// What one attempt sends, and what it wants to hear.
#[derive(Clone, Copy)]
struct Posted<'a> {
    message: &'a Message,
    attempt: &'a Attempt<'a>,
    wanted: Wanted<'a>,
}

struct Lane {
    subscription: Rc<Subscription>,
    stage: Stage,
    number: usize,
    link: Option<Link>,
    alarm: Alarm,
}

impl Drop for Lane {
    fn drop(&mut self) {
        let outlet = self.subscription.outlet(self.stage);
        // A lane that is aborted leaves its job to be handed back.
        drop(outlet.take(self.number));
        outlet.end_lane(self.number);
        self.subscription.lane_ended();
    }
}

/// Makes attempts until there is nothing to do for a while, or fewer lanes are wanted.
pub(super) async fn run(
    subscription: Rc<Subscription>,
    stage: Stage,
    number: usize,
    counted: connections::Lane,
) {
    let _up = Up::new(&subscription.counts, Family::Lanes, 0);
    let _counted = counted;
    let mut lane = Lane {
        subscription,
        stage,
        number,
        link: None,
        alarm: Alarm::new(Instant::now() + KEEP_IDLE),
    };
    while let Some(job) = lane.next().await {
        lane.attempt(job).await;
        lane.subscription.progressed();
    }
}

impl Lane {
    /// The next job; nothing when the lane is to end.
    async fn next(&mut self) -> Option<Job> {
        let since = Instant::now();
        let until = since + KEEP_IDLE;
        let subscription = Rc::clone(&self.subscription);
        let outlet = subscription.outlet(self.stage);
        let job = poll_fn(|cx| {
            let more = self.number >= subscription.lane_bound();
            if more || outlet.has_lanes_beside() && subscription.has_too_many() {
                return Poll::Ready(None);
            }
            if let Some(job) = subscription.next_job(self.stage) {
                return Poll::Ready(Some(job));
            }
            let closed = self
                .link
                .as_mut()
                .is_none_or(|link| link.poll_closed(cx).is_ready());
            // Without a connection there is nothing to keep. What others wait for is kept for a moment only,
            // and one of several not at all.
            let idle = || outlet.has_lanes_beside() || since.elapsed() >= KEEP_SCARCE;
            let closed = closed || (subscription.connections.are_scarce() && idle());
            if closed || self.alarm.poll(until, cx).is_ready() {
                return Poll::Ready(None);
            }
            outlet.rest(self.number, cx.waker());
            Poll::Pending
        })
        .await;
        outlet.unrest(self.number);
        job
    }

    async fn attempt(&mut self, mut job: Job) {
        let subscription = Rc::clone(&self.subscription);
        let route = subscription.route();
        let Some(to) = subscription.destination(&route, self.stage) else {
            // Its destination was removed meanwhile.
            return subscription.no_destination(job);
        };
        let number = job.attempts.saturating_add(1);
        let attempt = Attempt {
            named: &subscription.named,
            number,
            prefer_reply: self.stage == Stage::Subscriber,
        };
        let message = job.message.clone();
        let wanted = if self.stage == Stage::Subscriber && route.reply_to.is_some() {
            let limit = subscription.max_body();
            Wanted {
                reply: true,
                read: limit.max(DRAINED),
                keep: limit,
                budget: Some(subscription.plane.budget()),
            }
        } else {
            Wanted {
                reply: false,
                read: DRAINED,
                keep: KEPT,
                budget: None,
            }
        };
        let outlet = subscription.outlet(self.stage);
        job.attempts = number;
        outlet.place(self.number, job);
        let in_flight = Up::new(&subscription.counts, Family::InFlight, self.stage.index());
        let began = Instant::now();
        let posted = Posted {
            message: &message,
            attempt: &attempt,
            wanted,
        };
        let ended = self.post(posted, to, &route.policy, began).await;
        let took = began.elapsed();
        drop(in_flight);
        let place =
            self.stage.index() * crate::metrics::OUTCOMES.len() + outcome_index(ended.outcome);
        subscription.counts.add(Family::Attempts, place, 1);
        subscription.counts.attempt_took(took);
        subscription.own().attempted(self.stage, place, took);
        let Some(job) = outlet.take(self.number) else {
            return;
        };
        subscription.world.tell(|| Event::Attempted {
            id: job.id(),
            subscription: &route.subscription,
            stage: job.stage,
            attempt: number,
            destination: to.as_str(),
            outcome: ended.outcome,
            took,
        });
        subscription.conclude(job, ended, took, &route);
    }

    async fn post(
        &mut self,
        posted: Posted<'_>,
        to: &Destination,
        policy: &DeliveryPolicy,
        began: Instant,
    ) -> Ended {
        let deadline = began + policy.timeout;
        let subscription = Rc::clone(&self.subscription);
        let shared = &subscription.outlet(self.stage).shared;
        let link = &mut self.link;
        let terms = Terms {
            protocol: policy.protocol,
            egress: Arc::clone(&subscription.plane.peek().egress),
        };
        let (mut received, told) = (0, Cell::new(false));
        let exchange = async {
            let mut to = to.clone();
            let (mut repeated, mut followed) = (false, 0);
            loop {
                if !link.as_ref().is_some_and(|link| link.is_for(&to, &terms)) {
                    *link = None;
                    subscription.counts.one(Family::Connects);
                    let network = &subscription.world.network;
                    let within = policy.connect_timeout;
                    let open = Link::open(network, &to, &terms, within, shared).await?;
                    *link = Some(open);
                }
                let Some(open) = link.as_mut() else {
                    return Err(Failure::Connect);
                };
                received = open.received();
                let entropy = &*subscription.world.entropy;
                let post = Post::new(posted.message, &to, Some(posted.attempt), entropy);
                match open.exchange(&post, posted.wanted).await {
                    Ok(answer) => match redirect(&answer, &to, policy.redirects) {
                        Some(next) if followed < MAX_REDIRECTS => {
                            followed += 1;
                            to = next;
                        }
                        _ => return Ok(answer),
                    },
                    Err(broken) if broken.stale && !repeated => {
                        subscription.counts.one(Family::Reconnects);
                        repeated = true;
                    }
                    Err(broken) => {
                        told.set(broken.told);
                        return Err(Failure::Reset);
                    }
                }
            }
        };
        let result = self.alarm.limit(deadline, exchange).await;
        let result = result.unwrap_or(Err(Failure::Timeout));
        // Whatever is under way on it belongs to the attempt that ended.
        if result.is_err()
            && let Some(link) = self.link.take()
        {
            link.give_up(received);
        }
        Ended {
            told: told.get(),
            ..Ended::of(result)
        }
    }
}

/// Where an answer sends the request, where that may be followed: 307 and 308 keep method and body
/// (RFC 9110 §15.4.8).
fn redirect(answer: &Answer, from: &Destination, redirects: Redirects) -> Option<Destination> {
    if redirects == Redirects::Never || !matches!(answer.status, 307 | 308) {
        return None;
    }
    let location = answer.headers.get(header::LOCATION)?.to_str().ok()?;
    from.on_same_host(location)
}
