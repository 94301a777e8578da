//! Many events in one.

mod plan;

use std::fmt;

use bytes::{BufMut as _, BytesMut};
use futures::{StreamExt as _, future::BoxFuture, stream};
use tokio::{sync::Semaphore, time::timeout_at};

use self::plan::{Item, Plan, Work};
use super::{
    Context, Event, EventError, Handler, HandlerError, Mux, Payload, PayloadError, envelope,
    event::respond,
    failure::Failure,
    handler::AnyHandler,
    run::{answer_to, in_flow, isolated},
};

/// Items of one batch, those of batches in it too. 1,000: what fits into a body of 1 MiB at a
/// kilobyte each, and a bound on what one request makes handlers do.
pub const MAX_BATCH_ITEMS: usize = 1_000;
/// How deep items are, those of the batch itself at 1; items below are errors. 8: deeper is a
/// mistake or an attack.
pub const MAX_BATCH_DEPTH: usize = 8;
/// Items that run at once in a parallel batch, all levels together. 16: enough to wait for other
/// services side by side, and few enough that one batch does not take all of a service.
pub const MAX_PARALLEL: usize = 16;

/// Bytes of flow ids that the items of one batch have from it, all levels together. 1 MiB: ids of a
/// kilobyte for each item, and a bound on answers that are many times as large as their request.
pub const MAX_INHERITED: usize = 1024 * 1024;

/// A handler that hands the items of a batch to another mux; see [`batch`].
///
/// ```
/// use busway_sdk::events::{Batch, Context, Event, Handler, HandlerError, Mux, batch};
///
/// /// A batch for those who say who they are.
/// struct Guarded(Batch);
///
/// impl Handler for Guarded {
///     async fn serve(&self, context: Context, event: Event) -> Result<Event, HandlerError> {
///         if event.auth.is_unset() {
///             return Err(HandlerError::message("who are you?").no_retry());
///         }
///         self.0.serve(context, event).await
///     }
/// }
///
/// let guarded = Guarded(batch(Mux::builder().build()?));
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batch(Mux);

/// Makes a handler that hands the items of a batch to `mux`. For the mux it is added to itself
/// there is [`super::MuxBuilder::add_batch`].
///
/// ```
/// use busway_sdk::events::{Mux, batch};
///
/// let inner = Mux::builder().build()?;
/// let outer = Mux::builder().add("batch", 1, batch(inner)).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
#[must_use]
pub const fn batch(mux: Mux) -> Batch {
    Batch(mux)
}

impl Batch {
    pub(super) const fn mux(&self) -> &Mux {
        &self.0
    }
}

/// Of use where the batch is part of a handler of yours; a mux it is added to runs it itself.
impl Handler for Batch {
    async fn serve(&self, context: Context, event: Event) -> Result<Event, HandlerError> {
        let context = context.for_event(&event, self.0.settings().handler_timeout);
        let answer = run(&self.0, &self.0, &context, &event).await;
        answer.map_err(|mut error| {
            let answer = answer_to(&mut error, &event, self.0.settings().error_style);
            HandlerError::new(error).with_answer(answer).no_retry()
        })
    }
}

/// Whose handlers the items of a batch go to.
#[derive(Clone)]
pub(super) enum Target {
    This,
    Other(Mux),
}

impl Target {
    /// Where the batch is registered with `this`.
    pub(super) const fn of<'a>(&'a self, this: &'a Mux) -> &'a Mux {
        match self {
            Self::This => this,
            Self::Other(mux) => mux,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Target")
    }
}

/// Runs a batch until the context's deadline. Results are in the order of the items.
///
/// # Errors
/// When it is no batch, or too large: then nothing has run.
pub(super) async fn run(
    mux: &Mux,
    items_go_to: &Mux,
    context: &Context,
    event: &Event,
) -> Result<Event, EventError> {
    let plan = Plan::of(items_go_to, event)?;
    let run = Run {
        mux,
        context,
        slots: Semaphore::new(MAX_PARALLEL),
    };
    Ok(respond(event, run.items(plan).await))
}

/// One batch that runs, with all its levels.
struct Run<'a> {
    mux: &'a Mux,
    context: &'a Context,
    slots: Semaphore,
}

impl Run<'_> {
    /// The results as a JSON array.
    fn items(&self, plan: Plan) -> BoxFuture<'_, Payload> {
        Box::pin(async move {
            let at_once = if plan.parallel { MAX_PARALLEL } else { 1 };
            let items = plan.items.into_iter().enumerate();
            let running = items.map(|(index, item)| async move { (index, self.item(item).await) });
            let ended = stream::iter(running).buffer_unordered(at_once);
            let mut results: Vec<(usize, BytesMut)> = ended.collect().await;
            results.sort_unstable_by_key(|(index, _)| *index);
            array(&results)
        })
    }

    /// The result as JSON.
    async fn item(&self, Item { event, work }: Item) -> BytesMut {
        let style = self.mux.settings().error_style;
        let result = match work {
            Work::Unknown => {
                let message = format!("Event \"{}\" not found", event.name);
                let failure = Failure::not_found(message, &event);
                return envelope::write(&failure.answer(style, &event)).unwrap_or_default();
            }
            Work::Failed(error) => Err(error),
            Work::Handle(handler) => self.handle(&*handler, &event).await,
            Work::Batch(plan) => Ok(respond(&event, self.items(plan).await)),
        };
        let mut error = match result.map(|answer| envelope::write(&in_flow(answer, &event))) {
            Ok(Ok(written)) => return written,
            Ok(Err(error)) => EventError::NotJson(PayloadError::write(error)),
            Err(error) => error,
        };
        let answer = in_flow(answer_to(&mut error, &event, style), &event);
        let written = envelope::write(&answer).or_else(|source| {
            error = EventError::NotJson(PayloadError::write(source));
            envelope::write(&Failure::of(&error, &event.name).answer(style, &event))
        });
        if matches!(error, EventError::TimedOut) {
            // The time was the whole batch's.
            self.context.cancel();
        }
        self.tell(&event, &error);
        written.unwrap_or_default()
    }

    async fn handle(&self, handler: &dyn AnyHandler, event: &Event) -> Result<Event, EventError> {
        let context = self.context.clone().for_item(event);
        let slot = self.slots.acquire();
        let slot = match context.deadline() {
            Some(deadline) => timeout_at(deadline, slot).await,
            None => Ok(slot.await),
        };
        // The semaphore is never closed.
        let Ok(Ok(_slot)) = slot else {
            return Err(EventError::TimedOut);
        };
        isolated(handler, &context, event).await
    }

    fn tell(&self, event: &Event, error: &EventError) {
        let context = self.context.clone().for_item(event);
        let tracker = self.mux.tracker();
        match error {
            // What could not be read has no name.
            EventError::Protocol(_) if event.name.is_empty() => {
                tracker.notice_error(context, error);
            }
            _ => {
                tracker.notice_event_error(context, event, Some(error));
            }
        }
    }
}

fn array(results: &[(usize, BytesMut)]) -> Payload {
    let size: usize = results.iter().map(|(_, result)| result.len() + 1).sum();
    let mut array = BytesMut::with_capacity(size + 2);
    array.put_u8(b'[');
    for (index, result) in results {
        if *index > 0 {
            array.put_u8(b',');
        }
        array.put_slice(result);
    }
    array.put_u8(b']');
    Payload::raw(array.freeze())
}
