use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::{Payload, PayloadError, failure};

/// An event, and an answer to one.
///
/// `Debug` shows neither the payload nor who asks (`identity`, `auth`), so that they get into no log.
///
/// ```
/// use busway_sdk::events::{Event, Payload};
///
/// let event = Event::new("order:price", 1, Payload::of(&serde_json::json!({"item": "book"}))?);
/// assert_eq!(event.id.len(), 36);
/// assert!(event.flow_id.is_empty(), "a client fills it in");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// What happened, or what is asked for; any text.
    pub name: String,
    /// Which version of it, from 1.
    pub version: i64,
    /// Its own id.
    pub id: String,
    /// The id of the flow it belongs to: the same in all events that follow from one.
    pub flow_id: String,
    /// What it says.
    pub payload: Payload,
    /// What is said of it: `origin`, `causationId` and the like.
    pub metadata: Payload,
    /// Who asks. Never copied into an answer, never logged.
    pub identity: Payload,
    /// What proves it. Never copied into an answer, never logged.
    pub auth: Payload,
}

impl Event {
    /// An event with a new id. Its flow id is empty: what sends it fills it in.
    ///
    /// ```
    /// use busway_sdk::events::{Event, Payload};
    ///
    /// let event = Event::new("order:placed", 1, Payload::default());
    /// assert_eq!((event.name.as_str(), event.version, event.id.len()), ("order:placed", 1, 36));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, version: i64, payload: Payload) -> Self {
        Self {
            name: name.into(),
            version,
            id: random_id(),
            payload,
            ..Self::default()
        }
    }

    /// An answer of these parts: a new id, the flow of the request or a new one.
    pub(super) fn answer(name: String, version: i64, flow_id: &str, payload: Payload) -> Self {
        Self {
            flow_id: flow_of(flow_id),
            ..Self::new(name, version, payload)
        }
    }

    /// The same, as a handler is given it: what cannot be read of it is the caller's mistake.
    pub(super) fn for_handler(&self) -> Self {
        let mut event = self.clone();
        for part in [
            &mut event.payload,
            &mut event.metadata,
            &mut event.identity,
            &mut event.auth,
        ] {
            *part = std::mem::take(part).requests();
        }
        event
    }

    /// The same, naming what it follows from.
    pub(super) fn caused_by(mut self, id: &str) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Causation<'a> {
            causation_id: &'a str,
        }
        if !id.is_empty() {
            self.metadata = Payload::of(&Causation { causation_id: id }).unwrap_or_default();
        }
        self
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Event")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("id", &self.id)
            .field("flow_id", &self.flow_id)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

/// A new UUIDv4, lower case, with hyphens.
///
/// ```
/// assert_ne!(busway_sdk::events::random_id(), busway_sdk::events::random_id());
/// ```
#[must_use]
pub fn random_id() -> String {
    Uuid::new_v4().hyphenated().to_string()
}

/// This flow, or a new one.
pub(super) fn flow_of(flow_id: &str) -> String {
    if flow_id.is_empty() {
        random_id()
    } else {
        flow_id.to_owned()
    }
}

/// The response to a request: `<name>:response`, its version and flow, and in `metadata` the
/// request's id as `causationId`.
///
/// ```
/// use busway_sdk::events::{Event, Payload, new_response};
///
/// let request = Event { flow_id: "f".into(), ..Event::new("order:price", 2, Payload::default()) };
/// let response = new_response(&request, &serde_json::json!({"cents": 1250}))?;
/// assert_eq!(response.name, "order:price:response");
/// assert_eq!((response.version, response.flow_id.as_str()), (2, "f"));
/// assert_eq!(response.payload.as_bytes(), br#"{"cents":1250}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the payload has no JSON.
pub fn new_response<T: Serialize + ?Sized>(
    request: &Event,
    payload: &T,
) -> Result<Event, PayloadError> {
    Payload::of(payload).map(|payload| respond(request, payload))
}

pub(super) fn respond(request: &Event, payload: Payload) -> Event {
    let name = format!("{}:response", request.name);
    Event::answer(name, request.version, &request.flow_id, payload).caused_by(&request.id)
}

/// An event `error` of version 1 with this message. An empty flow id becomes a new one.
///
/// ```
/// let error = busway_sdk::events::new_error("f", "no such order");
/// assert_eq!((error.name.as_str(), error.version), ("error", 1));
/// assert_eq!(
///     error.payload.as_bytes(),
///     br#"{"message":"no such order","reason":"UNHANDLED_ERROR","parameters":{}}"#
/// );
/// ```
#[must_use]
pub fn new_error(flow_id: &str, message: &str) -> Event {
    failure::seed(
        flow_id,
        message,
        failure::UNHANDLED_ERROR,
        &Payload::default(),
    )
}

/// As [`new_error`], with metadata.
///
/// ```
/// use busway_sdk::events::new_error_with_metadata;
///
/// let error = new_error_with_metadata("f", "no such order", &serde_json::json!({"order": 7}))?;
/// assert_eq!(error.metadata.as_bytes(), br#"{"order":7}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the metadata have no JSON.
pub fn new_error_with_metadata<T: Serialize + ?Sized>(
    flow_id: &str,
    message: &str,
    metadata: &T,
) -> Result<Event, PayloadError> {
    Ok(Event {
        metadata: Payload::of(metadata)?,
        ..new_error(flow_id, message)
    })
}
