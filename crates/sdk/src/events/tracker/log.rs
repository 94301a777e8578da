use std::{error::Error, fmt};

use http::{HeaderMap, request::Parts};
use serde::Deserialize;
use tracing::{Span, error, field, info, info_span, warn};

use super::{Context, Event, EventError, Tracker};
use crate::events::shown::Shown;

/// Sources of an error that a line has. 8: what comes after says nothing new.
const MAX_SOURCES: usize = 8;

/// The span that a handler runs in, when a tracker made one.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSpan(pub(crate) Span);

/// A span for each handler, and a line for each end: `operation` is `<name>:V<version>`, with
/// `EventID`, `FlowID` and `Origin`. What handlers log is inside the span. Of a name, an id or an error
/// there are 256 characters, without control characters.
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
        operation = format!("{}:V{}", Shown(&event.name), event.version),
        EventID = Shown(&event.id).to_string(),
        FlowID = Shown(&event.flow_id).to_string(),
        Origin = field::Empty,
    );
    if let Some(origin) = origin(event) {
        span.record("Origin", Shown(origin).to_string());
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
        write!(formatter, "{}", Shown(self.0))?;
        let mut source = self.0.source();
        for _ in 0..MAX_SOURCES {
            let Some(error) = source else { break };
            write!(formatter, ": {}", Shown(error))?;
            source = error.source();
        }
        Ok(())
    }
}
