use std::{error::Error, fmt};

use http::{HeaderMap, request::Parts};
use serde::Deserialize;
use tracing::{Span, error, field, info, info_span, warn};

use super::{Context, Event, EventError, Tracker};

/// The span that a handler runs in, when a tracker made one.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSpan(pub(crate) Span);

/// A span for each handler, and a line for each end: `operation` is `<name>:V<version>`, with
/// `EventID`, `FlowID` and `Origin`. What handlers log is inside the span.
///
/// ```
/// use busway_sdk::events::{Mux, TracingTracker};
///
/// let mux = Mux::builder().tracker(TracingTracker).build()?;
/// # Ok::<(), busway_sdk::events::MuxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingTracker;

impl Tracker for TracingTracker {
    fn start(&self, context: Context, event: &Event, _: &Parts, _: &mut HeaderMap) -> Context {
        context.with(HandlerSpan(span(event)))
    }

    fn notice_error(&self, context: Context, error: &EventError) -> Context {
        warn!(reason = error.reason(), error = %Chain(error), "no event");
        context
    }

    fn notice_event_error(
        &self,
        context: Context,
        event: &Event,
        error: Option<&EventError>,
    ) -> Context {
        // An item of a batch is another event than the one of the context.
        span(event).in_scope(|| match error {
            Some(error) => {
                error!(reason = error.reason(), error = %Chain(error), "event failed");
            }
            None => warn!("event not found"),
        });
        context
    }

    fn end(&self, context: Context, event: &Event, error: Option<&EventError>) -> Context {
        let span = match context.get::<HandlerSpan>() {
            Some(HandlerSpan(span)) => span.clone(),
            None => span(event),
        };
        span.in_scope(|| match error {
            Some(error) => {
                error!(reason = error.reason(), error = %Chain(error), "event failed");
            }
            None => info!("event done"),
        });
        context
    }
}

fn span(event: &Event) -> Span {
    let span = info_span!(
        "event",
        operation = %format_args!("{}:V{}", event.name, event.version),
        EventID = event.id,
        FlowID = event.flow_id,
        Origin = field::Empty,
    );
    if let Some(origin) = origin(event) {
        span.record("Origin", origin);
    }
    span
}

fn origin(event: &Event) -> Option<String> {
    #[derive(Deserialize)]
    struct Metadata {
        origin: Option<String>,
    }
    event.metadata.get::<Metadata>().ok()?.origin
}

/// An error and its sources, on one line.
struct Chain<'a>(&'a EventError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
