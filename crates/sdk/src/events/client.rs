//! Sends events to channels, and calls other services.

mod call;
mod outcome;
mod send;
mod transport;

use std::{fmt, time::Duration};

use busway_message::names::X_REQUEST_ID;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use self::transport::Transport;
pub use self::{
    outcome::{ErrorType, NoAnswer, Outcome},
    send::{Accepted, MAX_RETRIES, MAX_RETRY_AFTER, SendError},
};
use super::{Context, Event, event::flow_of};

/// How a [`Client`] sends and calls.
///
/// ```
/// use busway_sdk::events::{Client, ClientSettings};
///
/// let client = Client::new(ClientSettings { retries: 5, ..ClientSettings::default() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// How long one request may take, its answer included. 15 s. In a handler, what is left of its
    /// time if that is less.
    pub timeout: Duration,
    /// How long connecting may take, of that. 5 s.
    pub connect_timeout: Duration,
    /// How often a request is repeated that certainly did nothing. 0; more than [`MAX_RETRIES`]
    /// are [`MAX_RETRIES`].
    pub retries: u32,
    /// The `source` of the CloudEvents it sends. `/busway/sdk`.
    pub source: String,
    /// The largest answer, in bytes. 1 MiB.
    pub max_answer: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            retries: 0,
            source: "/busway/sdk".to_owned(),
            max_answer: 1024 * 1024,
        }
    }
}

/// Sends events to channels, and calls other services, over HTTP/1.1. Cheap to clone; clones share
/// their connections.
///
/// In a handler, an event without a flow id gets the handler's, the request id goes along, and no
/// request takes longer than what is left of the handler's time. In a task that the handler spawned,
/// [`Client::within`] does the same.
///
/// ```
/// use busway_sdk::events::{Client, Context, Event, HandlerError, Payload, new_response};
///
/// async fn place(_: Context, order: Event) -> Result<Event, HandlerError> {
///     let placed = Event::new("order:placed", 1, order.payload.clone());
///     // In the flow of the order, and not beyond this handler's time.
///     Client::default().send("http://orders-channel.shop", &placed).await?;
///     Ok(new_response(&order, "placed")?)
/// }
/// ```
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    settings: ClientSettings,
    context: Option<Context>,
}

impl Client {
    /// With these settings.
    ///
    /// ```
    /// use busway_sdk::events::{Client, ClientSettings};
    ///
    /// let source = "/shop".to_owned();
    /// let client = Client::new(ClientSettings { source, ..ClientSettings::default() });
    /// ```
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self {
            transport: Transport::new(settings.connect_timeout, settings.max_answer),
            settings,
            context: None,
        }
    }

    /// The same client, with this long for a request.
    ///
    /// ```
    /// use std::time::Duration;
    /// use busway_sdk::events::Client;
    ///
    /// let quick = Client::default().with_timeout(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The same client, for what follows from this context's event.
    ///
    /// ```
    /// use busway_sdk::events::{Client, Context};
    ///
    /// fn spawned(client: &Client, context: Context) -> Client {
    ///     client.clone().within(context)
    /// }
    /// ```
    #[must_use]
    pub fn within(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    fn context(&self) -> Option<Context> {
        self.context.clone().or_else(Context::current)
    }

    /// The event, with a flow.
    fn in_flow(event: &Event, context: Option<&Context>) -> Event {
        let mut event = event.clone();
        if event.flow_id.is_empty() {
            event.flow_id = flow_of(context.map(Context::flow_id).unwrap_or_default());
        }
        event
    }

    /// When a request that begins now is over.
    fn deadline(&self, context: Option<&Context>) -> Instant {
        let now = Instant::now();
        // A time that the clock cannot have is as good as an hour.
        let own = now.checked_add(self.settings.timeout);
        let own = own.unwrap_or_else(|| now + Duration::from_secs(3600));
        context
            .and_then(Context::deadline)
            .map_or(own, |deadline| deadline.min(own))
    }

    /// The caller's own id of the request, for the next one.
    fn correlation(context: Option<&Context>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let id = context.and_then(Context::request_id);
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientSettings::default())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
