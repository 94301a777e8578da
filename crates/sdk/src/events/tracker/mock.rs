use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use http::{HeaderMap, request::Parts};

use super::{Context, Event, EventError, Tracker};

type Start = dyn Fn(Context, &Event, &Parts, &mut HeaderMap) -> Context + Send + Sync;
type NoticeError = dyn Fn(Context, &EventError) -> Context + Send + Sync;
type OfEvent = dyn Fn(Context, &Event, Option<&EventError>) -> Context + Send + Sync;

/// For tests: counts, and calls the functions that it is given.
///
/// ```
/// use std::sync::Arc;
/// use busway_sdk::events::{Context, Event, MockTracker, Mux, Payload};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let tracker = Arc::new(MockTracker {
///     notice_event_error: Some(Box::new(|context, event, _| {
///         assert_eq!(event.name, "unknown");
///         context
///     })),
///     ..MockTracker::default()
/// });
/// let mux = Mux::builder().tracker(tracker.clone()).build().unwrap();
/// mux.call(Context::new(), Event::new("unknown", 1, Payload::default())).await;
/// assert_eq!(tracker.notice_event_error_count(), 1);
/// assert_eq!(tracker.start_count() + tracker.notice_error_count() + tracker.end_count(), 0);
/// # }
/// ```
#[derive(Default)]
pub struct MockTracker {
    /// Called by `start`.
    pub start: Option<Box<Start>>,
    /// Called by `notice_error`.
    pub notice_error: Option<Box<NoticeError>>,
    /// Called by `notice_event_error`.
    pub notice_event_error: Option<Box<OfEvent>>,
    /// Called by `end`.
    pub end: Option<Box<OfEvent>>,
    /// How often each was called so far; begins with zeros.
    pub counts: Counts,
}

/// How often a [`MockTracker`] was called.
///
/// ```
/// use busway_sdk::events::MockTracker;
///
/// let tracker = MockTracker::default();
/// assert_eq!((tracker.start_count(), tracker.end_count()), (0, 0));
/// ```
#[derive(Debug, Default)]
pub struct Counts {
    start: AtomicUsize,
    notice_error: AtomicUsize,
    notice_event_error: AtomicUsize,
    end: AtomicUsize,
}

impl MockTracker {
    /// How often `start` was called.
    #[must_use]
    pub fn start_count(&self) -> usize {
        self.counts.start.load(Relaxed)
    }

    /// How often `notice_error` was called.
    #[must_use]
    pub fn notice_error_count(&self) -> usize {
        self.counts.notice_error.load(Relaxed)
    }

    /// How often `notice_event_error` was called.
    #[must_use]
    pub fn notice_event_error_count(&self) -> usize {
        self.counts.notice_event_error.load(Relaxed)
    }

    /// How often `end` was called.
    #[must_use]
    pub fn end_count(&self) -> usize {
        self.counts.end.load(Relaxed)
    }
}

impl fmt::Debug for MockTracker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("MockTracker");
        shown.field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Tracker for MockTracker {
    fn start(
        &self,
        context: Context,
        event: &Event,
        request: &Parts,
        response: &mut HeaderMap,
    ) -> Context {
        self.counts.start.fetch_add(1, Relaxed);
        match &self.start {
            Some(start) => start(context, event, request, response),
            None => context,
        }
    }

    fn notice_error(&self, context: Context, error: &EventError) -> Context {
        self.counts.notice_error.fetch_add(1, Relaxed);
        match &self.notice_error {
            Some(notice) => notice(context, error),
            None => context,
        }
    }

    fn notice_event_error(
        &self,
        context: Context,
        event: &Event,
        error: Option<&EventError>,
    ) -> Context {
        self.counts.notice_event_error.fetch_add(1, Relaxed);
        match &self.notice_event_error {
            Some(notice) => notice(context, event, error),
            None => context,
        }
    }

    fn end(&self, context: Context, event: &Event, error: Option<&EventError>) -> Context {
        self.counts.end.fetch_add(1, Relaxed);
        match &self.end {
            Some(end) => end(context, event, error),
            None => context,
        }
    }
}
