use std::{borrow::Cow, error::Error, fmt};

use super::{
    Event,
    failure::{BATCH_LIMIT, EVENT_TIMEOUT, INVALID_COMMUNICATION_PROTOCOL, UNHANDLED_ERROR},
    shown::Shown,
};

/// An error of any kind.
type Source = Box<dyn Error + Send + Sync>;

/// Why handlers cannot be put together.
///
/// ```
/// use busway_sdk::events::MuxError;
///
/// let error = MuxError::Duplicate { name: "order:price".into(), version: 1 };
/// assert_eq!(error.to_string(), "two handlers for event `order:price` version 1");
/// assert_eq!(error.reason(), "DuplicateHandler");
/// ```
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// Two handlers for one event.
    #[error("two handlers for event `{name}` version {version}")]
    Duplicate {
        /// Its name.
        name: String,
        /// Its version.
        version: i64,
    },
    /// The setting `source` is no URI-reference, or too long for a header.
    #[error("`{}` cannot be the source of answers", Shown(text))]
    InvalidSource {
        /// What it is.
        text: String,
    },
}

impl MuxError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "DuplicateHandler",
            Self::InvalidSource { .. } => "InvalidSource",
        }
    }
}

/// Why a payload cannot be read or written.
///
/// ```
/// use busway_sdk::events::{HandlerError, Payload};
///
/// let error = Payload::raw("\"text\"").get::<u32>().unwrap_err();
/// assert_eq!(error.to_string(), "the payload cannot be read");
/// let error: HandlerError = error.into();
/// assert!(error.retry && error.message.is_none(), "it is not of the event that a handler was given");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be {done}")]
pub struct PayloadError {
    done: &'static str,
    /// Whether it is of the event that a handler was given.
    is_requests: bool,
    #[source]
    source: serde_json::Error,
}

impl PayloadError {
    pub(super) fn read(source: serde_json::Error, is_requests: bool) -> Self {
        Self {
            done: "read",
            is_requests,
            source,
        }
    }

    pub(super) fn write(source: serde_json::Error) -> Self {
        Self {
            done: "written",
            is_requests: false,
            source,
        }
    }
}

/// Why a body is no event.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use busway_sdk::events::{EventError, MockTracker, Mux};
/// use http_body_util::Full;
/// use tower::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let told = Arc::new(Mutex::new(None));
/// let log = Arc::clone(&told);
/// let tracker = MockTracker {
///     notice_error: Some(Box::new(move |context, error| {
///         if let EventError::Protocol(error) = error {
///             *log.lock().unwrap() = error.property().map(str::to_owned);
///         }
///         context
///     })),
///     ..MockTracker::default()
/// };
/// let mux = Mux::builder().tracker(tracker).build()?;
/// let body = Full::<bytes::Bytes>::from(r#"{"name":"order:price","version":"1"}"#);
/// mux.events().call(http::Request::post("/").body(body)?).await?;
/// assert_eq!(told.lock().unwrap().as_deref(), Some("version"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ProtocolError {
    what: String,
    property: Option<Cow<'static, str>>,
}

impl ProtocolError {
    /// What is wrong may repeat what came, and is cut.
    pub(super) fn new(what: impl fmt::Display) -> Self {
        Self {
            what: Shown(what).to_string(),
            property: None,
        }
    }

    pub(super) fn of(property: impl Into<Cow<'static, str>>, what: impl fmt::Display) -> Self {
        Self {
            property: Some(property.into()),
            ..Self::new(what)
        }
    }

    /// The member of the envelope, or the attribute of the CloudEvent, that is wrong.
    #[must_use]
    pub fn property(&self) -> Option<&str> {
        self.property.as_deref()
    }
}

/// What a handler failed with.
///
/// Any `std::error::Error` becomes one with `?`: kept for trackers, and never shown to the caller,
/// who is told `Event "<name>" failed`. A [`PayloadError`] of the event that the handler was given is
/// told, and not retried: the same bytes would fail again. One of anything else, such as the answer
/// of another service, is an error like any other.
///
/// ```
/// use busway_sdk::events::{Context, Event, HandlerError, new_response};
///
/// async fn handle(_: Context, event: Event) -> Result<Event, HandlerError> {
///     let amount: u32 = event.payload.get()?;
///     if amount == 0 {
///         return Err(HandlerError::message("nothing to do").no_retry());
///     }
///     Ok(new_response(&event, &amount)?)
/// }
/// ```
#[derive(Debug)]
pub struct HandlerError {
    /// The cause, for trackers and logs.
    pub source: Option<Source>,
    /// What the caller is told.
    pub message: Option<String>,
    /// The answer, in place of an error event made from the message.
    pub answer: Option<Box<Event>>,
    /// Whether the bus should try again (500) or not (422). True at first.
    pub retry: bool,
}

impl HandlerError {
    /// With a cause that the caller is not told.
    ///
    /// ```
    /// # use busway_sdk::events::HandlerError;
    /// let error = HandlerError::new("the database is down");
    /// assert!(error.retry && error.message.is_none());
    /// ```
    #[must_use]
    pub fn new(source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            message: None,
            answer: None,
            retry: true,
        }
    }

    /// With what the caller is told.
    ///
    /// ```
    /// # use busway_sdk::events::HandlerError;
    /// assert_eq!(HandlerError::message("sold out").message.as_deref(), Some("sold out"));
    /// ```
    #[must_use]
    pub fn message(message: impl Into<String>) -> Self {
        Self {
            source: None,
            message: Some(message.into()),
            answer: None,
            retry: true,
        }
    }

    /// With the event that is the answer.
    ///
    /// ```
    /// # use busway_sdk::events::{HandlerError, new_error};
    /// let error = HandlerError::message("sold out").with_answer(new_error("f", "sold out"));
    /// assert!(error.answer.is_some());
    /// ```
    #[must_use]
    pub fn with_answer(mut self, answer: Event) -> Self {
        self.answer = Some(Box::new(answer));
        self
    }

    /// One that comes again however often it is tried.
    ///
    /// ```
    /// # use busway_sdk::events::HandlerError;
    /// assert!(!HandlerError::message("no such order").no_retry().retry);
    /// ```
    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.retry = false;
        self
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, &self.source) {
            (Some(message), _) => formatter.write_str(message),
            (None, Some(source)) => fmt::Display::fmt(source, formatter),
            (None, None) => formatter.write_str("the handler failed"),
        }
    }
}

// Not an `Error` itself: then this could not be.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut failed = Self::new(error);
        let payload = failed.source.as_ref().and_then(|it| it.downcast_ref());
        if let Some(PayloadError {
            is_requests: true,
            source,
            ..
        }) = payload
        {
            failed.message = Some(format!("the payload cannot be read: {}", Shown(source)));
            failed.retry = false;
        }
        failed
    }
}

/// What trackers are told.
///
/// ```
/// use busway_sdk::events::EventError;
///
/// assert_eq!(EventError::TimedOut.reason(), "EVENT_TIMEOUT");
/// assert_eq!(EventError::TimedOut.to_string(), "the handler took too long");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum EventError {
    /// The body is no event.
    Protocol(ProtocolError),
    /// The handler returned an error.
    Handler(HandlerError),
    /// The handler panicked.
    Panicked {
        /// What it panicked with, where that is text.
        message: String,
    },
    /// The handler took longer than it may.
    TimedOut,
    /// The caller went away, or the answer was not wanted any more.
    Cancelled,
    /// What the handler answered cannot be written.
    NotJson(PayloadError),
    /// A batch of more items than [`super::MAX_BATCH_ITEMS`].
    TooManyItems,
    /// An item of a batch below [`super::MAX_BATCH_DEPTH`].
    TooDeep,
    /// A batch whose flow id, times its items, is over [`super::MAX_INHERITED`].
    FlowTooLong,
}

impl EventError {
    /// The stable short name: the reason in an answer.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Protocol(_) => INVALID_COMMUNICATION_PROTOCOL,
            Self::Handler(_) | Self::Panicked { .. } | Self::Cancelled | Self::NotJson(_) => {
                UNHANDLED_ERROR
            }
            Self::TimedOut => EVENT_TIMEOUT,
            Self::TooManyItems | Self::TooDeep | Self::FlowTooLong => BATCH_LIMIT,
        }
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => fmt::Display::fmt(error, formatter),
            Self::Handler(error) => fmt::Display::fmt(error, formatter),
            Self::Panicked { message } => write!(formatter, "the handler panicked: {message}"),
            Self::TimedOut => formatter.write_str("the handler took too long"),
            Self::Cancelled => formatter.write_str("the request was cancelled"),
            Self::NotJson(_) => formatter.write_str("the answer is not JSON"),
            Self::TooManyItems => {
                let most = super::MAX_BATCH_ITEMS;
                write!(formatter, "a batch has at most {most} items")
            }
            Self::TooDeep => {
                let most = super::MAX_BATCH_DEPTH;
                write!(formatter, "batches nest at most {most} deep")
            }
            Self::FlowTooLong => {
                formatter.write_str("the batch's flow id is too long for so many items")
            }
        }
    }
}

impl Error for EventError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its message is what is displayed, where it has one.
            Self::Handler(HandlerError {
                message: Some(_),
                source: Some(source),
                ..
            }) => Some(&**source),
            Self::Handler(HandlerError {
                source: Some(source),
                ..
            }) => source.source(),
            Self::NotJson(error) => error.source(),
            _ => None,
        }
    }
}
