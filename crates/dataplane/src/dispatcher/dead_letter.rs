//! Where a message goes that cannot be delivered: the sink, else the bus's store, else the log.

use std::{rc::Rc, time::Duration};

use busway_core::{
    bus::BusError,
    outcome::{Cause, Outcome, Settled},
};
use busway_message::{
    dead_letter::{self, ErrorInfo},
    hops,
};

use super::{conclude::note, job::Job, state::Subscription};
use crate::observer::{Event, Stage};

/// How long storing a dead letter rests after it failed; doubled each time.
const STORE_AGAIN: Duration = Duration::from_millis(500);
/// The longest such rest.
const STORE_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

impl Subscription {
    /// Ends the attempts of a job's stage: to the dead letter with it.
    pub(super) fn fail(self: &Rc<Self>, mut job: Job, cause: Cause) {
        if job.stage == Stage::DeadLetter {
            // The sink failed for good. The message keeps the story of its first failure.
            let cause = job.cause.unwrap_or(cause);
            return self.store(job, cause);
        }
        let route = self.route();
        let dest = self
            .destination(&route, job.stage)
            .map_or("", busway_core::address::Destination::as_str);
        self.world.tell(|| Event::DeadLetter {
            id: job.id(),
            subscription: &self.name,
            cause,
        });
        let last = job.last.take();
        let told = match &last {
            _ if matches!(cause, Cause::Expired | Cause::Overflow) => {
                dead_letter::Cause::NoAnswer {
                    reason: cause.reason(),
                }
            }
            Some(failed) => match failed.outcome {
                Outcome::Status(status) => dead_letter::Cause::Answer {
                    status,
                    body: &failed.body,
                },
                Outcome::Failed(failure) => dead_letter::Cause::NoAnswer {
                    reason: failure.reason(),
                },
            },
            None => dead_letter::Cause::NoAnswer {
                reason: cause.reason(),
            },
        };
        let info = ErrorInfo {
            dest,
            cause: told,
            attempts: job.attempts,
        };
        let spent = job.stage == Stage::Subscriber && cause == Cause::Exhausted;
        job.message = dead_letter::mark(std::mem::take(&mut job.message), &info);
        job.cause = Some(cause);
        job.stage = Stage::DeadLetter;
        job.attempts = 0;
        if route.dead_letter_sink.is_none() || cause == Cause::HopLimit {
            return self.store(job, cause);
        }
        job.message = hops::with_hop(std::mem::take(&mut job.message));
        if spent {
            return self.send_spent(job);
        }
        self.send(job);
    }

    /// Sends a dead letter once the bus knows that no attempt is left: after a crash there is not one
    /// more.
    fn send_spent(self: &Rc<Self>, job: Job) {
        let this = Rc::clone(self);
        self.chore(async move {
            if this.keep(&job).await {
                this.send(job);
            } else {
                this.release(job);
            }
        });
    }

    /// To the bus's store for dead letters; where there is none, counted and logged.
    pub(super) fn store(self: &Rc<Self>, job: Job, cause: Cause) {
        let this = Rc::clone(self);
        self.chore(async move {
            let mut rest = STORE_AGAIN;
            loop {
                let message = job.message.clone();
                match this.plane.bus.dead_letter(&this.name, message, cause).await {
                    Ok(()) => return this.finish(job, Settled::DeadLettered(cause)),
                    Err(BusError::Unsupported(_)) => {
                        this.log_dropped(&job, cause);
                        return this.finish(job, Settled::Dropped(cause));
                    }
                    Err(error) => note(&this.counts, "dead_letter", Err(error)),
                }
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(STORE_AGAIN_AT_MOST);
                // The bus still has it.
                if this.gives_back() {
                    return this.release(job);
                }
            }
        });
    }
}

impl Subscription {
    fn log_dropped(&self, job: &Job, cause: Cause) {
        if let Some(more) = self.dropped.allow() {
            tracing::warn!(
                subscription = %self.name,
                message = job.id(),
                cause = cause.reason(),
                more,
                "dropped: no dead-letter sink took it, and the bus has no store"
            );
        }
    }
}
