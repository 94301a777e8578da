use std::{fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use busway_message::names::X_REQUEST_ID;

use super::Event;

tokio::task_local! {
    /// That of the handler that is running.
    static CURRENT: Context;
}

/// What surrounds an event: how long there is, whether the answer is still wanted, which flow it
/// belongs to, the request's headers, and what trackers and layers added.
///
/// ```
/// use busway_sdk::events::Context;
///
/// #[derive(Clone)]
/// struct Tenant(u32);
///
/// let context = Context::new().with(Tenant(7));
/// assert_eq!(context.get::<Tenant>().map(|tenant| tenant.0), Some(7));
/// assert!(context.deadline().is_none() && !context.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct Context {
    headers: Arc<HeaderMap>,
    flow_id: Arc<str>,
    deadline: Option<Instant>,
    cancelled: CancellationToken,
    extensions: Extensions,
}

impl Context {
    /// Without a deadline, headers or anything else.
    ///
    /// ```
    /// assert!(busway_sdk::events::Context::new().headers().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// That of a request.
    pub(super) fn of(headers: Arc<HeaderMap>, extensions: Extensions) -> Self {
        Self {
            headers,
            extensions,
            ..Self::default()
        }
    }

    /// That of the handler that runs in this task, if one does. A task that a handler spawns has
    /// none: hand it over.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, HandlerError, Mux, Payload, new_response};
    ///
    /// async fn flow(_: Context, event: Event) -> Result<Event, HandlerError> {
    ///     let context = Context::current();
    ///     Ok(new_response(&event, context.as_ref().map_or("none", Context::flow_id))?)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mux = Mux::builder().add("flow", 1, flow).build()?;
    /// let event = Event { flow_id: "f".into(), ..Event::new("flow", 1, Payload::default()) };
    /// assert_eq!(mux.call(Context::new(), event).await.payload.get::<String>()?, "f");
    /// assert!(Context::current().is_none());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// With these headers.
    ///
    /// ```
    /// use busway_sdk::events::Context;
    /// use http::{HeaderMap, HeaderValue};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("authorization", HeaderValue::from_static("Bearer token"));
    /// assert!(Context::new().with_headers(headers).headers().contains_key("authorization"));
    /// ```
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = Arc::new(headers);
        self
    }

    /// The same, over at this time or earlier.
    ///
    /// ```
    /// use std::time::Duration;
    /// use busway_sdk::events::Context;
    /// use tokio::time::Instant;
    ///
    /// let soon = Context::new().until(Instant::now() + Duration::from_secs(1));
    /// assert!(soon.remaining().unwrap() <= Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |it| it.min(deadline)));
        self
    }

    /// The same, with a value that [`Context::get`] finds by its type.
    ///
    /// ```
    /// let context = busway_sdk::events::Context::new().with("red").with(7u8);
    /// assert_eq!((context.get(), context.get()), (Some(&"red"), Some(&7u8)));
    /// ```
    #[must_use]
    pub fn with<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.insert(value);
        self
    }

    /// A value that a tracker or a layer added ([`http::Extensions`] of the request are there too).
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Context::new().get::<u8>(), None);
    /// ```
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// The headers of the request, credentials too.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, HandlerError, new_response};
    ///
    /// async fn who(context: Context, event: Event) -> Result<Event, HandlerError> {
    ///     let is_known = context.headers().contains_key("authorization");
    ///     Ok(new_response(&event, &is_known)?)
    /// }
    /// ```
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The caller's own id of the request (`x-request-id`).
    ///
    /// ```
    /// use busway_sdk::events::Context;
    /// use http::{HeaderMap, HeaderValue};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-request-id", HeaderValue::from_static("r"));
    /// assert_eq!(Context::new().with_headers(headers).request_id(), Some("r"));
    /// ```
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.headers.get(X_REQUEST_ID)?.to_str().ok()
    }

    /// The flow of the event; empty outside of a handler.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Context::new().flow_id(), "");
    /// ```
    #[must_use]
    pub fn flow_id(&self) -> &str {
        &self.flow_id
    }

    /// When the handler's time is over.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Context::new().deadline(), None);
    /// ```
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How much of it is left.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Context::new().remaining(), None);
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.deadline.map(left)
    }

    /// Whether nobody waits for the answer any more: the caller went away, or the time was over.
    ///
    /// ```
    /// assert!(!busway_sdk::events::Context::new().is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Waits until that is so. A handler's own future is dropped then; this is for tasks that it
    /// spawned.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, HandlerError, new_response};
    ///
    /// async fn long(context: Context, event: Event) -> Result<Event, HandlerError> {
    ///     let work = tokio::spawn(async move {
    ///         tokio::select! {
    ///             () = context.cancelled() => "nobody waits any more",
    ///             what = async { "what takes long" } => what,
    ///         }
    ///     });
    ///     Ok(new_response(&event, work.await?)?)
    /// }
    /// ```
    pub async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// For the handler of an event, which has so much time.
    pub(super) fn for_event(mut self, event: &Event, timeout: Duration) -> Self {
        self.cancelled = self.cancelled.child_token();
        self.for_item(event).until(later(timeout))
    }

    /// For an item of a batch: the batch's time is its own.
    pub(super) fn for_item(mut self, event: &Event) -> Self {
        self.flow_id = event.flow_id.as_str().into();
        self
    }

    pub(super) fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Runs a handler with this as [`Context::current`].
    pub(super) async fn scope<F: Future>(&self, handler: F) -> F::Output {
        CURRENT.scope(self.clone(), handler).await
    }
}

/// Without the headers, which may be credentials.
impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("flow_id", &self.flow_id)
            .field("deadline", &self.deadline)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Now and so much; a time that the clock cannot have is far away.
fn later(timeout: Duration) -> Instant {
    /// 30 years, which tokio takes for ever too.
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + FAR)
}
