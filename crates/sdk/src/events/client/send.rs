use std::{error::Error, time::Duration};

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{
    Client,
    transport::{Answered, Failed, retry_after, url},
};
use crate::events::{Event, cloud_event};

/// How often a request is repeated at most. 5: with the pauses between, about ten seconds; what
/// lasts longer is the caller's to decide.
pub const MAX_RETRIES: u32 = 5;
/// How long a `Retry-After` is waited for. 10 s; a longer one is the caller's to keep.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// The first pause before a repetition; each next is twice as long, with jitter.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A channel took an event.
///
/// ```
/// use busway_sdk::events::{Client, Event, SendError};
///
/// # #[allow(dead_code)]
/// async fn id_of(client: &Client, event: &Event) -> Result<Option<String>, SendError> {
///     Ok(client.send("http://orders-channel.shop", event).await?.message_id)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The message's id, by which Busway knows it (`busway-id`).
    pub message_id: Option<String>,
}

/// Why a channel did not take an event.
///
/// ```
/// use busway_sdk::events::{Client, Event, Payload, SendError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let event = Event::new("order:placed", 1, Payload::default());
/// // Port 1 of loopback: nobody listens.
/// match Client::default().send("http://127.0.0.1:1/default/orders", &event).await {
///     Ok(accepted) => println!("{:?}", accepted.message_id),
///     Err(SendError::Refused { status, retry_after }) => println!("{status}, {retry_after:?}"),
///     Err(error) => assert_eq!(error.reason(), "Connect"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel's address is none.
    #[error("{0}")]
    Url(String),
    /// No subscriber could read the event: it has no name or id, a version below 1, a payload that is
    /// not JSON (or none, beside metadata, identity or auth), or the client's source is none.
    #[error("the event cannot be sent")]
    Event(#[source] Box<dyn Error + Send + Sync>),
    /// The channel answered something else than 202.
    #[error("the channel answered {status}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// When it may be tried again.
        retry_after: Option<Duration>,
    },
    /// Nothing was sent.
    #[error("no connection to the channel")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke. Whether the channel took the event is not known.
    #[error("the connection to the channel broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time. Whether the channel took the event is not known.
    #[error("the channel took too long")]
    Timeout,
}

impl SendError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Url(_) => "InvalidUrl",
            Self::Event(_) => "InvalidEvent",
            Self::Refused { .. } => "Refused",
            Self::Connect(_) => "Connect",
            Self::Broken(_) => "Broken",
            Self::Timeout => "Timeout",
        }
    }

    /// Whether the event certainly did not get in, and may the next time.
    fn is_repeatable(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Refused { status, .. } => matches!(
                *status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
            ),
            Self::Url(_) | Self::Event(_) | Self::Broken(_) | Self::Timeout => false,
        }
    }
}

impl Client {
    /// Sends an event to a channel, as a CloudEvent in binary mode: its type is the event's name.
    /// Metadata, identity and auth travel in an envelope, where there are any.
    ///
    /// Repeated, if the settings say so, when nothing was sent or the answer is 429 or 503: always
    /// with the event's own id, by which a subscriber can tell.
    ///
    /// ```no_run
    /// use busway_sdk::events::{Client, Event, Payload};
    ///
    /// # async fn doc() -> Result<(), Box<dyn std::error::Error>> {
    /// let event = Event::new("order:placed", 1, Payload::of(&serde_json::json!({"order": 1}))?);
    /// Client::default().send("http://orders-channel.shop", &event).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the channel did not answer 202.
    pub async fn send(&self, channel: &str, event: &Event) -> Result<Accepted, SendError> {
        let context = self.context();
        let to = url(channel)?;
        let event = Self::in_flow(event, context.as_ref());
        let message = cloud_event::outgoing(&event, &self.settings.source);
        let message = message.map_err(|error| SendError::Event(error.into()))?;
        let (mut headers, body) = message.into_parts();
        headers.extend(Self::correlation(context.as_ref()));
        let mut pauses = Pauses::new(self.settings.retries);
        loop {
            let deadline = self.deadline(context.as_ref());
            let posted = self
                .transport
                .post(&to, headers.clone(), body.clone(), deadline);
            let error = match posted.await {
                Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                    return Ok(Accepted::of(&answer));
                }
                Ok(answer) => SendError::Refused {
                    status: answer.status,
                    retry_after: retry_after(&answer.headers),
                },
                Err(failed) => failed.into(),
            };
            let asked = match &error {
                SendError::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            let pause = pauses.next(asked).filter(|_| error.is_repeatable());
            let over = context.as_ref().and_then(crate::events::Context::deadline);
            match pause {
                // One that would wake up too late does not sleep.
                Some(pause) if over.is_none_or(|over| Instant::now() + pause < over) => {
                    sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }
}

impl Accepted {
    fn of(answer: &Answered) -> Self {
        let id = answer.headers.get(busway_message::names::BUSWAY_ID);
        Self {
            message_id: id.and_then(|id| id.to_str().ok()).map(str::to_owned),
        }
    }
}

impl From<Failed> for SendError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Url(what) => Self::Url(what),
            Failed::Connect(error) => Self::Connect(error),
            Failed::Broken(error) => Self::Broken(error),
            Failed::TooLarge => Self::Broken("the answer is too large".into()),
            Failed::TimedOut => Self::Timeout,
        }
    }
}

/// The pauses before each repetition.
pub(super) struct Pauses {
    left: u32,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(retries: u32) -> Self {
        Self {
            left: retries.min(MAX_RETRIES),
            next: FIRST_PAUSE,
        }
    }

    /// The next one: at least what was asked for; nothing when it was the last, or too much is
    /// asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let asked = asked.unwrap_or_default();
        if asked > MAX_RETRY_AFTER {
            return None;
        }
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next *= 2;
        Some(pause.max(asked))
    }
}
