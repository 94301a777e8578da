mod log;
mod mock;

use std::sync::Arc;

use http::{HeaderMap, request::Parts};

pub(super) use self::log::HandlerSpan;
pub use self::{
    log::TracingTracker,
    mock::{Counts, MockTracker},
};
use super::{Context, Event, EventError};

/// Sees what handlers do.
///
/// Every method may add to the context, which the next one and the handler get; without a body it
/// returns it as it is. They are called from the task that serves the request: they must not block.
///
/// | | called |
/// |---|---|
/// | `start`, `end` | around each handler; a batch is one. `end` also when the caller went away |
/// | `notice_error` | for a body that is no event |
/// | `notice_event_error` | with no error for an unknown event; for an answer that is not JSON, after `end`; for an item of a batch that failed |
///
/// ```
/// use busway_sdk::events::{Context, Event, EventError, Mux, Tracker};
///
/// struct Printer;
///
/// impl Tracker for Printer {
///     fn end(&self, context: Context, event: &Event, error: Option<&EventError>) -> Context {
///         let how = error.map_or("done", EventError::reason);
///         println!("{} version {}: {how}", event.name, event.version);
///         context
///     }
/// }
///
/// let mux = Mux::builder().tracker(Printer).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
pub trait Tracker: Send + Sync + 'static {
    /// A handler is about to get an event. Headers of the response may be added.
    fn start(
        &self,
        context: Context,
        event: &Event,
        request: &Parts,
        response: &mut HeaderMap,
    ) -> Context {
        let _ = (event, request, response);
        context
    }

    /// A body is no event.
    fn notice_error(&self, context: Context, error: &EventError) -> Context {
        let _ = error;
        context
    }

    /// Something is wrong with this event; without an error, nobody handles it.
    fn notice_event_error(
        &self,
        context: Context,
        event: &Event,
        error: Option<&EventError>,
    ) -> Context {
        let _ = (event, error);
        context
    }

    /// The handler is done with an event.
    fn end(&self, context: Context, event: &Event, error: Option<&EventError>) -> Context {
        let _ = (event, error);
        context
    }
}

/// Sees nothing.
///
/// ```
/// use busway_sdk::events::{Mux, NoTracker};
///
/// let mux = Mux::builder().tracker(NoTracker).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTracker;

impl Tracker for NoTracker {}

impl<T: Tracker + ?Sized> Tracker for Arc<T> {
    fn start(
        &self,
        context: Context,
        event: &Event,
        request: &Parts,
        response: &mut HeaderMap,
    ) -> Context {
        (**self).start(context, event, request, response)
    }

    fn notice_error(&self, context: Context, error: &EventError) -> Context {
        (**self).notice_error(context, error)
    }

    fn notice_event_error(
        &self,
        context: Context,
        event: &Event,
        error: Option<&EventError>,
    ) -> Context {
        (**self).notice_event_error(context, event, error)
    }

    fn end(&self, context: Context, event: &Event, error: Option<&EventError>) -> Context {
        (**self).end(context, event, error)
    }
}
