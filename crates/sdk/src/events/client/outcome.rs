use std::{collections::BTreeMap, error::Error, fmt};

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::transport::shown;
use crate::events::{Event, Validation, envelope, status::camel_case};

/// How a call ended, told by the name of its answer.
///
/// ```
/// use busway_sdk::events::{Client, ErrorType, Event, NoAnswer, Outcome, Payload};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # // Port 1 of loopback: nobody listens.
/// let endpoint = "http://127.0.0.1:1/events";
/// let event = Event::new("order:price", 1, Payload::default());
/// match Client::default().call(endpoint, &event).await {
///     Outcome::Success(answer) => println!("{:?}", answer.payload.get::<u32>()),
///     Outcome::Redirect { url, .. } => println!("ask {url}"),
///     Outcome::Error { kind: ErrorType::NotFound, .. } => println!("there is none"),
///     Outcome::Error { event, .. } => println!("{}", event.name),
///     Outcome::FailedDependency(NoAnswer::Connect(_)) => println!("it did nothing"),
///     Outcome::FailedDependency(why) => println!("{why}"),
///     Outcome::Timeout => println!("it may have done something"),
/// }
/// # }
/// ```
///
/// `Debug` shows of a redirect neither parameters nor user info, which may be secrets.
pub enum Outcome {
    /// `….:response`.
    Success(Event),
    /// `….:redirect`.
    Redirect {
        /// Where to.
        url: String,
        /// With which parameters.
        query_parameters: BTreeMap<String, Value>,
        /// The answer.
        event: Event,
    },
    /// Any other.
    Error {
        /// What follows the last `:` of its name.
        kind: ErrorType,
        /// The answer.
        event: Event,
    },
    /// There was no answer that could be understood.
    FailedDependency(NoAnswer),
    /// There was none in time. Whether the call did something is not known.
    Timeout,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success(event) => formatter.debug_tuple("Success").field(event).finish(),
            Self::Redirect { url, event, .. } => formatter
                .debug_struct("Redirect")
                .field("url", &shown(url))
                .field("event", event)
                .finish_non_exhaustive(),
            Self::Error { kind, event } => formatter
                .debug_struct("Error")
                .field("kind", kind)
                .field("event", event)
                .finish(),
            Self::FailedDependency(why) => formatter
                .debug_tuple("FailedDependency")
                .field(why)
                .finish(),
            Self::Timeout => formatter.write_str("Timeout"),
        }
    }
}

/// Why there was no answer that could be understood.
///
/// ```
/// use busway_sdk::events::NoAnswer;
///
/// assert_eq!(NoAnswer::TooLarge.to_string(), "the answer is too large");
/// assert_eq!(NoAnswer::TooLarge.reason(), "TooLarge");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The endpoint's address is none.
    #[error("{0}")]
    Url(String),
    /// The event cannot be written: its payload is not JSON.
    #[error("the event cannot be sent")]
    Event(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing was sent.
    #[error("no connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke. Whether the call did something is not known.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The status is none of success.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The answer is no event, or one without name or version.
    #[error("the answer is no event: {0}")]
    NotAnEvent(String),
    /// The answer is larger than the settings allow.
    #[error("the answer is too large")]
    TooLarge,
}

impl NoAnswer {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Url(_) => "InvalidUrl",
            Self::Event(_) => "InvalidEvent",
            Self::Connect(_) => "Connect",
            Self::Broken(_) => "Broken",
            Self::Status(_) => "Status",
            Self::NotAnEvent(_) => "NotAnEvent",
            Self::TooLarge => "TooLarge",
        }
    }
}

/// The types of errors that the implementations of the protocol know.
///
/// ```
/// use busway_sdk::events::ErrorType;
///
/// assert_eq!(ErrorType::of("order:bad_request"), ErrorType::BadRequest);
/// assert_eq!(ErrorType::of("order:badRequest"), ErrorType::BadRequest);
/// assert_eq!(ErrorType::of("error"), ErrorType::Generic);
/// assert_eq!(ErrorType::of("order:soldOut"), ErrorType::Unknown("soldOut".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// `error`
    Generic,
    /// `badRequest`
    BadRequest,
    /// `badProtocol`
    BadProtocol,
    /// `unauthorized`
    Unauthorized,
    /// `forbidden`
    Forbidden,
    /// `userDenied`
    UserDenied,
    /// `resourceDenied`
    ResourceDenied,
    /// `notFound`
    NotFound,
    /// `eventNotFound`
    EventNotFound,
    /// `expired`
    Expired,
    /// Any other, as it is.
    Unknown(String),
}

impl ErrorType {
    /// That of an event of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let last = last(name);
        match camel_case(last).as_str() {
            "error" => Self::Generic,
            "badRequest" => Self::BadRequest,
            "badProtocol" => Self::BadProtocol,
            "unauthorized" => Self::Unauthorized,
            "forbidden" => Self::Forbidden,
            "userDenied" => Self::UserDenied,
            "resourceDenied" => Self::ResourceDenied,
            "notFound" => Self::NotFound,
            "eventNotFound" => Self::EventNotFound,
            "expired" => Self::Expired,
            _ => Self::Unknown(last.to_owned()),
        }
    }
}

fn last(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, last)| last)
}

impl Outcome {
    pub(super) fn of(status: StatusCode, body: &Bytes) -> Self {
        if !status.is_success() {
            return Self::FailedDependency(NoAnswer::Status(status));
        }
        let no_event = |what: String| Self::FailedDependency(NoAnswer::NotAnEvent(what));
        let event = match envelope::read(body, Validation::Off) {
            Ok(event) => event,
            Err(unread) => return no_event(unread.error.to_string()),
        };
        if event.name.is_empty() || !envelope::has_version(body) {
            return no_event("it has no name or no version".to_owned());
        }
        if event.name.ends_with(":response") {
            return Self::Success(event);
        }
        if event.name.ends_with(":redirect") {
            return match event.payload.get() {
                Ok(Redirect {
                    url,
                    query_parameters,
                }) => Self::Redirect {
                    url,
                    query_parameters: query_parameters.unwrap_or_default(),
                    event,
                },
                Err(_) => no_event("its payload is no redirect".to_owned()),
            };
        }
        Self::Error {
            kind: ErrorType::of(&event.name),
            event,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Redirect {
    url: String,
    query_parameters: Option<BTreeMap<String, Value>>,
}

#[cfg(test)]
mod tests;
