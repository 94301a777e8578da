use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use http::{HeaderMap, Request};

use super::{
    Batch, Context, DocsService, Event, EventError, EventsService, Handler, MuxError, MuxService,
    NoTracker, PayloadError, Settings, Tracker, batch::Target, cloud_event, envelope,
    failure::Failure, handler::AnyHandler,
};

/// Finds the handler of an event, by its exact name and version. Cheap to clone.
///
/// ```
/// use busway_sdk::events::{Context, Event, HandlerError, Mux, Payload, new_response};
///
/// async fn ping(_: Context, event: Event) -> Result<Event, HandlerError> {
///     Ok(new_response(&event, "pong")?)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mux = Mux::builder().add("ping", 1, ping).build()?;
/// let answer = mux.call(Context::new(), Event::new("ping", 1, Payload::default())).await;
/// assert_eq!(answer.payload.get::<String>()?, "pong");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Mux(Arc<Inner>);

struct Inner {
    /// Name → version → handler: sorted as the documentation page is.
    entries: BTreeMap<String, BTreeMap<i64, Entry>>,
    tracker: Box<dyn Tracker>,
    settings: Settings,
}

/// What an event is handed to.
#[derive(Clone)]
pub(super) enum Entry {
    Handler(Arc<dyn AnyHandler>),
    Batch(Target),
}

/// Collects handlers; see [`Mux::builder`].
///
/// ```
/// use busway_sdk::events::{Mux, MuxBuilder, MuxError, Settings, TracingTracker};
///
/// fn with_defaults() -> MuxBuilder {
///     Mux::builder().tracker(TracingTracker).settings(Settings::default())
/// }
///
/// let mux = with_defaults().add_batch("batch", 1).build()?;
/// # Ok::<(), MuxError>(())
/// ```
pub struct MuxBuilder {
    entries: Vec<(String, i64, Entry)>,
    tracker: Box<dyn Tracker>,
    settings: Settings,
}

impl Mux {
    /// Without handlers, with the default settings, tracking nothing.
    ///
    /// ```
    /// let mux = busway_sdk::events::Mux::builder().build()?;
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn builder() -> MuxBuilder {
        MuxBuilder {
            entries: Vec::new(),
            tracker: Box::new(NoTracker),
            settings: Settings::default(),
        }
    }

    /// Answers an event, without a network: trackers, time, batches and all.
    ///
    /// The event is not checked by the schema. Whatever goes wrong is an error event; an answer
    /// that is not JSON too.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, Mux, Payload};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mux = Mux::builder().build()?;
    /// let answer = mux.call(Context::new(), Event::new("nobody", 1, Payload::default())).await;
    /// let told: serde_json::Value = answer.payload.get()?;
    /// assert_eq!(told["reason"], "NO_EVENT_HANDLER_FOUND");
    /// # Ok(()) }
    /// ```
    pub async fn call(&self, context: Context, event: Event) -> Event {
        let (mut request, ()) = Request::new(()).into_parts();
        request.headers = context.headers().clone();
        let mut response = HeaderMap::new();
        let served = self
            .dispatch(context, &event, &request, &mut response)
            .await;
        match envelope::write(&served.answer) {
            Ok(_) => served.answer,
            Err(error) => {
                let error = EventError::NotJson(PayloadError::write(error));
                let tracker = self.tracker();
                tracker.notice_event_error(served.context, &event, Some(&error));
                Failure::of(&error, &event.name).answer(self.settings().error_style, &event)
            }
        }
    }

    /// A tower service that takes events by POST, to mount anywhere.
    ///
    /// ```
    /// # let mux = busway_sdk::events::Mux::builder().build()?;
    /// let service = mux.events();
    /// // With axum: `Router::new().route_service("/my/events", service)`.
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn events(&self) -> EventsService {
        EventsService::new(self.clone())
    }

    /// A tower service that shows the documentation page by GET, to mount anywhere.
    ///
    /// ```
    /// # let mux = busway_sdk::events::Mux::builder().build()?;
    /// let service = mux.docs();
    /// // With axum: `Router::new().route_service("/my/events.html", service)`.
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn docs(&self) -> DocsService {
        DocsService::new(self.clone())
    }

    /// Both at their usual paths: `/events` and `/doc`, with or without a slash at the end.
    ///
    /// ```
    /// use busway_sdk::events::Mux;
    /// use http_body_util::Empty;
    /// use tower::Service as _;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut service = Mux::builder().build()?.service();
    /// for (path, status) in [("/doc", 200), ("/doc/", 200), ("/events", 405), ("/", 404)] {
    ///     let request = http::Request::get(path).body(Empty::<bytes::Bytes>::new())?;
    ///     assert_eq!(service.call(request).await?.status(), status);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn service(&self) -> MuxService {
        MuxService::new(self.clone())
    }

    pub(super) fn find(&self, name: &str, version: i64) -> Option<&Entry> {
        self.0.entries.get(name)?.get(&version)
    }

    /// Name, version and handler, sorted; a batch has none.
    pub(super) fn handlers(&self) -> impl Iterator<Item = (&str, i64, Option<&dyn AnyHandler>)> {
        self.0.entries.iter().flat_map(|(name, versions)| {
            versions.iter().map(|(version, entry)| {
                let handler = match entry {
                    Entry::Handler(handler) => Some(&**handler),
                    Entry::Batch(_) => None,
                };
                (name.as_str(), *version, handler)
            })
        })
    }

    pub(super) fn tracker(&self) -> &dyn Tracker {
        &*self.0.tracker
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }
}

impl MuxBuilder {
    /// Who sees what handlers do; [`NoTracker`] at first.
    ///
    /// ```
    /// use busway_sdk::events::{Mux, TracingTracker};
    ///
    /// let mux = Mux::builder().tracker(TracingTracker).build()?;
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn tracker(mut self, tracker: impl Tracker) -> Self {
        self.tracker = Box::new(tracker);
        self
    }

    /// How strict, how large, how long.
    ///
    /// ```
    /// use busway_sdk::events::{ErrorStyle, Mux, Settings};
    ///
    /// let settings = Settings { error_style: ErrorStyle::Typed, ..Settings::default() };
    /// let mux = Mux::builder().settings(settings).build()?;
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The handler of one event. A closure needs its types written out:
    /// `|context: Context, event: Event| async move { … }`.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, HandlerError, Mux, new_response};
    ///
    /// let greeting = "hello";
    /// let greet = move |_: Context, event: Event| async move {
    ///     Ok::<_, HandlerError>(new_response(&event, greeting)?)
    /// };
    /// let mux = Mux::builder().add("greet", 1, greet).build()?;
    /// # Ok::<(), busway_sdk::events::MuxError>(())
    /// ```
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, version: i64, handler: impl Handler) -> Self {
        // A batch bounds its items one by one, and keeps those that are done.
        let entry = match (&handler as &dyn Any).downcast_ref::<Batch>() {
            Some(batch) => Entry::Batch(Target::Other(batch.mux().clone())),
            None => Entry::Handler(Arc::new(handler)),
        };
        self.entries.push((name.into(), version, entry));
        self
    }

    /// An event whose payload is many events, which go to the handlers of this very mux.
    ///
    /// ```
    /// use busway_sdk::events::{Context, Event, HandlerError, Mux, Payload, new_response};
    ///
    /// async fn ping(_: Context, event: Event) -> Result<Event, HandlerError> {
    ///     Ok(new_response(&event, "pong")?)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mux = Mux::builder().add("ping", 1, ping).add_batch("batch", 1).build()?;
    /// let pings = Payload::of(&serde_json::json!({"events": [{"name": "ping", "version": 1}]}))?;
    /// let answer = mux.call(Context::new(), Event::new("batch", 1, pings)).await;
    /// assert_eq!(answer.name, "batch:response");
    /// assert_eq!(answer.payload.get::<Vec<serde_json::Value>>()?[0]["payload"], "pong");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn add_batch(mut self, name: impl Into<String>, version: i64) -> Self {
        let entry = Entry::Batch(Target::This);
        self.entries.push((name.into(), version, entry));
        self
    }

    /// The mux.
    ///
    /// ```
    /// use busway_sdk::events::{Mux, MuxError};
    ///
    /// let twice = Mux::builder().add_batch("batch", 1).add_batch("batch", 1);
    /// let error = twice.build().unwrap_err();
    /// assert_eq!(error, MuxError::Duplicate { name: "batch".into(), version: 1 });
    /// ```
    ///
    /// # Errors
    /// When two handlers were added for one event, or the setting `source` cannot be one.
    pub fn build(self) -> Result<Mux, MuxError> {
        if let Some(text) = &self.settings.source
            && !cloud_event::is_source(text)
        {
            return Err(MuxError::InvalidSource { text: text.clone() });
        }
        let mut entries: BTreeMap<String, BTreeMap<i64, Entry>> = BTreeMap::new();
        for (name, version, entry) in self.entries {
            let versions = entries.entry(name.clone()).or_default();
            if versions.insert(version, entry).is_some() {
                return Err(MuxError::Duplicate { name, version });
            }
        }
        Ok(Mux(Arc::new(Inner {
            entries,
            tracker: self.tracker,
            settings: self.settings,
        })))
    }
}

impl fmt::Debug for Mux {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.handlers().map(|(name, version, _)| (name, version));
        formatter.debug_set().entries(events).finish()
    }
}

impl fmt::Debug for MuxBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self
            .entries
            .iter()
            .map(|(name, version, _)| (name, version));
        formatter.debug_set().entries(events).finish()
    }
}
