//! One event and its handler: a panic, a hang, a caller that goes away are its own affair.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context as Poller, Poll},
};

use futures::FutureExt as _;
use http::{HeaderMap, request::Parts};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::{
    Context, ErrorStyle, Event, EventError, Mux, Tracker, batch, event::flow_of, failure::Failure,
    handler::AnyHandler, mux::Entry, tracker::HandlerSpan,
};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The handler answered.
    Done,
    /// The handler failed, and may succeed another time.
    Failed,
    /// The handler failed, as it would the next time.
    Rejected,
    /// The handler took too long.
    TimedOut,
    /// There is none.
    Unknown,
    /// It is no event.
    Undecodable,
}

/// What became of an event, and its answer.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) answer: Event,
    pub(super) fate: Fate,
    pub(super) context: Context,
}

impl Mux {
    /// Hands an event to its handler, tells the tracker, and makes an answer of whatever happens.
    pub(super) async fn dispatch(
        &self,
        context: Context,
        event: &Event,
        request: &Parts,
        response: &mut HeaderMap,
    ) -> Served {
        let style = self.settings().error_style;
        let Some(entry) = self.find(&event.name, event.version) else {
            let failure = Failure::not_found("Event not Found".to_owned(), event);
            return Served {
                answer: failure.answer(style, event),
                fate: Fate::Unknown,
                context: self.tracker().notice_event_error(context, event, None),
            };
        };
        let context = self.tracker().start(context, event, request, response);
        let context = context.for_event(event, self.settings().handler_timeout);
        let ending = Ending::new(self.tracker(), event, context.clone());
        let result = match entry {
            Entry::Handler(handler) => isolated(&**handler, &context, event).await,
            Entry::Batch(target) => batch::run(self, target.of(self), &context, event).await,
        };
        let (answer, fate, error) = match result {
            Ok(answer) => (answer, Fate::Done, None),
            Err(mut error) => {
                let answer = answer_to(&mut error, event, style);
                (answer, fate(&error), Some(error))
            }
        };
        Served {
            answer: in_flow(answer, event),
            fate,
            context: ending.end(error.as_ref()),
        }
    }
}

/// Runs a handler until the context's deadline.
pub(super) async fn isolated(
    handler: &dyn AnyHandler,
    context: &Context,
    event: &Event,
) -> Result<Event, EventError> {
    let work = async { handler.serve(context.clone(), event.for_handler()).await };
    let work = context.scope(AssertUnwindSafe(work).catch_unwind());
    let span = context.get::<HandlerSpan>();
    let work = work.instrument(span.map_or_else(tracing::Span::none, |span| span.0.clone()));
    let work = Work(Some(Box::pin(work)));
    let ended = match context.deadline() {
        Some(deadline) if deadline <= Instant::now() => return Err(EventError::TimedOut),
        Some(deadline) => timeout_at(deadline, work).await,
        None => Ok(work.await),
    };
    match ended {
        Ok(Ok(result)) => result.map_err(EventError::Handler),
        Ok(Err(panic)) => Err(EventError::Panicked {
            message: text_of(&*panic),
        }),
        Err(_) => Err(EventError::TimedOut),
    }
}

/// A handler at work. What panics in it when it is dropped before its end is its own affair too.
struct Work<F>(Option<Pin<Box<F>>>);

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        match &mut self.0 {
            Some(work) => work.as_mut().poll(poller),
            // Only in its own drop.
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Work<F> {
    fn drop(&mut self) {
        let work = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

/// What a panic says.
pub(super) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("something that is not text").to_owned()
}

/// The handler's own answer to a failure, or one made of it.
pub(super) fn answer_to(error: &mut EventError, event: &Event, style: ErrorStyle) -> Event {
    let own = match error {
        EventError::Handler(error) => error.answer.take(),
        _ => None,
    };
    match own {
        Some(own) => *own,
        None => Failure::of(error, &event.name).answer(style, event),
    }
}

/// An answer is never without a flow.
pub(super) fn in_flow(mut answer: Event, request: &Event) -> Event {
    if answer.flow_id.is_empty() {
        answer.flow_id = flow_of(&request.flow_id);
    }
    answer
}

fn fate(error: &EventError) -> Fate {
    match error {
        EventError::Handler(error) if !error.retry => Fate::Rejected,
        // A batch that cannot be one.
        EventError::Protocol(_)
        | EventError::TooManyItems
        | EventError::TooDeep
        | EventError::FlowTooLong => Fate::Rejected,
        EventError::TimedOut => Fate::TimedOut,
        EventError::Handler(_)
        | EventError::Panicked { .. }
        | EventError::Cancelled
        | EventError::NotJson(_) => Fate::Failed,
    }
}

/// Tells the tracker of an end exactly once, also when the caller goes away in the middle.
struct Ending<'a> {
    tracker: &'a dyn Tracker,
    event: &'a Event,
    context: Option<Context>,
}

impl<'a> Ending<'a> {
    fn new(tracker: &'a dyn Tracker, event: &'a Event, context: Context) -> Self {
        Self {
            tracker,
            event,
            context: Some(context),
        }
    }

    fn end(mut self, error: Option<&EventError>) -> Context {
        let context = self.context.take().unwrap_or_default();
        if matches!(error, Some(EventError::TimedOut)) {
            context.cancel();
        }
        self.tracker.end(context, self.event, error)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            context.cancel();
            let error = EventError::Cancelled;
            // A tracker that panics would end the connection, or the process.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                self.tracker.end(context, self.event, Some(&error))
            }));
        }
    }
}
