//! What comes after an attempt.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use busway_core::{
    bus::BusError,
    gate,
    outcome::{Cause, Failure, Outcome, Settled, Verdict, classify},
    pacing::{self, Next},
    policy::DeliveryPolicy,
    retry_after,
    routes::SubscriptionRoute,
};
use http::header;
use tokio::time::Instant;

use super::{
    job::{Failed, Job},
    lane::Ended,
    reply::{self, Reply},
    state::{Mode, Subscription},
};
use crate::{
    metrics::{BUS_CALLS, Counts, Family, Own, cause_index},
    observer::{Event, Stage},
    problem::{Problem, TYPE_PREFIX},
};

/// From how long on the bus keeps a message that waits, where it can: below it, handing back and
/// forth costs more than the place.
const RETURN_FROM: Duration = Duration::from_secs(30);

impl Subscription {
    /// Decides on a job whose attempt has ended.
    pub(super) fn conclude(
        self: &Rc<Self>,
        mut job: Job,
        ended: Ended,
        took: Duration,
        route: &SubscriptionRoute,
    ) {
        let policy = &route.policy;
        let verdict = classify(ended.outcome, &policy.status_rules);
        // What another subscriber answered, before an edit, says nothing of this one.
        let of_now = job.stage == Stage::Subscriber && self.is_at(route);
        let passage = job.passage.take();
        if verdict != Verdict::Delivered {
            self.went_wrong(job.stage, ended.outcome);
        }
        if job.stage == Stage::Subscriber {
            job.stored = job.attempts;
        }
        if of_now && verdict == Verdict::Delivered {
            self.health.delivered();
        } else if of_now {
            self.health.failed(ended.outcome, self.world.clock.now());
        }
        let asked = (verdict == Verdict::Retry)
            .then(|| self.asked_to_wait(&ended))
            .flatten();
        if of_now && !ended.told {
            let meaning = meaning(&job, &ended, verdict, asked, policy);
            self.ended(passage, meaning, took);
        } else {
            drop(passage);
        }
        if verdict == Verdict::Delivered {
            return self.delivered(job, ended, route);
        }
        let looped = is_loop(job.stage, &ended);
        let body = ended.answer.map(|answer| answer.body);
        job.last = Some(Failed::new(ended.outcome, &body.unwrap_or_default()));
        if looped {
            return self.fail(job, Cause::HopLimit);
        }
        match verdict {
            Verdict::Delivered => {}
            Verdict::Reject => self.fail(job, Cause::Rejected),
            Verdict::Gone => {
                if of_now {
                    self.found_gone(route);
                }
                self.fail(job, Cause::Gone);
            }
            Verdict::Retry if planted!(DeadLetterDropped) && job.stage == Stage::DeadLetter => {
                self.finish(job, Settled::DeadLettered(Cause::Rejected));
            }
            Verdict::Retry => {
                let random = self.world.entropy.next();
                match pacing::next(policy, job.attempts, asked, random) {
                    Next::DeadLetter(cause) => self.fail(job, cause),
                    Next::After(wait) => self.wait(job, wait),
                }
            }
        }
    }

    /// Whether a route goes where messages go now.
    fn is_at(&self, route: &SubscriptionRoute) -> bool {
        let now = self.route.borrow();
        std::ptr::eq(Arc::as_ptr(&now), route) || now.subscriber == route.subscriber
    }

    fn delivered(self: &Rc<Self>, mut job: Job, ended: Ended, route: &SubscriptionRoute) {
        match job.stage {
            Stage::Subscriber if route.reply_to.is_some() => {
                let keep = self.plane.keep();
                let mut ended = ended;
                let room = ended.answer.as_mut().and_then(|answer| answer.room.take());
                match reply::of(&job.message, ended, &keep) {
                    Reply::None => self.finish(job, Settled::Delivered),
                    Reply::Message(reply) => {
                        let budget = self.plane.budget();
                        job.room = Some(self.tally.keep_reply(reply.size(), room, budget));
                        job.message = reply;
                        job.stage = Stage::Reply;
                        job.attempts = 0;
                        self.send(job);
                    }
                    // The subscriber did its part, but its reply would be lost: a person has to see.
                    Reply::TooLarge(failed) => {
                        job.last = Some(failed);
                        self.fail(job, Cause::Rejected);
                    }
                }
            }
            Stage::Subscriber => self.finish(job, Settled::Delivered),
            Stage::Reply => {
                self.counts.one(Family::Replies);
                self.finish(job, Settled::Delivered);
            }
            Stage::DeadLetter => {
                let cause = job.cause.unwrap_or(Cause::Rejected);
                self.finish(job, Settled::DeadLettered(cause));
            }
        }
    }

    /// How long the answer asks to wait (429 and 503 only).
    fn asked_to_wait(&self, ended: &Ended) -> Option<Duration> {
        let Outcome::Status(429 | 503) = ended.outcome else {
            return None;
        };
        let value = ended.answer.as_ref()?.headers.get(header::RETRY_AFTER)?;
        retry_after::parse(value.to_str().ok()?, self.world.clock.now())
    }

    /// Puts a job aside until its next attempt.
    fn wait(self: &Rc<Self>, mut job: Job, wait: Duration) {
        if planted!(KeyReleased) {
            self.settled_of(job.key.take().as_ref());
        }
        self.counts.add(Family::Retries, job.stage.index(), 1);
        self.own().one(Own::Retries, job.stage.index());
        self.world.tell(|| Event::Waiting {
            id: job.id(),
            subscription: &self.name,
            stage: job.stage,
            attempts: job.attempts,
            wait,
        });
        let at = Instant::now() + wait;
        let leaves = match self.mode.get() {
            Mode::Running | Mode::Emptying => wait > RETURN_FROM,
            Mode::Reopening | Mode::Holding | Mode::Draining => true,
        };
        if job.stage != Stage::Subscriber {
            if self.gives_back() {
                self.release(job);
            } else {
                self.send_at(at, job);
            }
            return;
        }
        // One that the bus keeps for a while would be overtaken by the next of its key.
        if leaves && self.can_delay && job.key.is_none() {
            return self.return_until(job, wait);
        }
        let this = Rc::clone(self);
        self.chore(async move {
            let is_held = this.keep(&job).await;
            match this.mode.get() {
                Mode::Running | Mode::Emptying if is_held => this.send_at(at, job),
                _ => this.release(job),
            }
        });
    }

    /// Has the bus keep a job with its attempts at the subscriber counted; whether it still does. Else its
    /// stream broke meanwhile, and the bus gives it again: two would count it.
    pub(super) async fn keep(&self, job: &Job) -> bool {
        let stored = job.settle.extend(job.stored).await;
        let is_held = stored != Err(BusError::NotHeld);
        note(&self.counts, "extend", stored);
        is_held
    }

    /// A destination that was there when the job was made is there no longer.
    pub(super) fn no_destination(self: &Rc<Self>, job: Job) {
        match job.stage {
            Stage::DeadLetter => {
                let cause = job.cause.unwrap_or(Cause::Rejected);
                self.store(job, cause);
            }
            Stage::Subscriber | Stage::Reply => self.finish(job, Settled::Delivered),
        }
    }

    /// Settles a job.
    pub(super) fn finish(self: &Rc<Self>, job: Job, how: Settled) {
        let (place, cause) = match how {
            Settled::DeadLettered(cause) => {
                (1, Some((Family::DeadLetters, Own::DeadLetters, cause)))
            }
            Settled::Dropped(cause) => (2, Some((Family::Dropped, Own::Dropped, cause))),
            Settled::Filtered => (3, None),
            _ => (0, None),
        };
        self.counts.add(Family::Settled, place, 1);
        let own = self.own();
        own.one(Own::Settled, place);
        if let Some((family, of_own, cause)) = cause {
            self.counts.add(family, cause_index(cause), 1);
            own.one(of_own, cause_index(cause));
        }
        if how != Settled::Filtered {
            let took = self.world.clock.now().duration_since(job.accepted_at);
            own.settled_after(took.unwrap_or_default());
        }
        self.world.tell(|| Event::Settled {
            id: job.id(),
            subscription: &self.name,
            how,
        });
        let Job {
            settle,
            held,
            key,
            room,
            ..
        } = job;
        // Others may have waited for it.
        if room.is_some() {
            drop(room);
            self.wake();
            self.staff_due(Stage::Subscriber);
        }
        let this = Rc::clone(self);
        self.chore(async move {
            note(&this.counts, "done", settle.done().await);
            drop(held);
            this.settled_of(key.as_ref());
        });
    }
}

/// What an attempt's end says to the gate.
fn meaning(
    job: &Job,
    ended: &Ended,
    verdict: Verdict,
    asked: Option<Duration>,
    policy: &DeliveryPolicy,
) -> gate::Ended {
    match verdict {
        Verdict::Delivered => return gate::Ended::Answered,
        Verdict::Reject | Verdict::Gone => return gate::Ended::Rejected,
        Verdict::Retry => {}
    }
    if let Some(asked) = asked.filter(|_| !planted!(RetryAfterForgotten)) {
        let backoff = policy.backoff.wait(job.attempts, u64::MAX);
        return gate::Ended::AskedToWait(backoff.max(asked.min(policy.retry_after_max)));
    }
    let overloaded = matches!(
        ended.outcome,
        Outcome::Status(429 | 503) | Outcome::Failed(Failure::Timeout)
    );
    // The bus may give the same message twice; its id tells.
    let mut hasher = DefaultHasher::new();
    job.id().hash(&mut hasher);
    gate::Ended::Failed {
        message: hasher.finish(),
        overloaded,
    }
}

/// Whether the next channel says that the message went through too many: then no retry helps, and
/// another hop neither. A subscriber's own 508 is a failure as any other.
fn is_loop(stage: Stage, ended: &Ended) -> bool {
    let ours = || {
        let limit = Problem::HopLimit { limit: 0 };
        let kind = format!("{TYPE_PREFIX}{}", limit.name());
        let body = ended.answer.as_ref().map(|answer| &*answer.body);
        body.is_some_and(|body| body.windows(kind.len()).any(|part| part == kind.as_bytes()))
    };
    ended.outcome == Outcome::Status(508) && (stage != Stage::Subscriber || ours())
}

/// Counts and logs a failed call of the bus.
pub(super) fn note(counts: &Counts, call: &'static str, result: Result<(), BusError>) {
    if let Err(error) = result {
        let place = BUS_CALLS.iter().position(|c| *c == call).unwrap_or(0);
        counts.add(Family::BusErrors, place, 1);
        tracing::debug!(call, %error, "a call of the bus failed");
    }
}
