//! Error events: what an answer says when no handler gave one.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{ErrorStyle, Event, EventError, Payload};

pub(super) const UNHANDLED_ERROR: &str = "UNHANDLED_ERROR";
pub(super) const EVENT_TIMEOUT: &str = "EVENT_TIMEOUT";
pub(super) const NO_EVENT_HANDLER_FOUND: &str = "NO_EVENT_HANDLER_FOUND";
pub(super) const INVALID_COMMUNICATION_PROTOCOL: &str = "INVALID_COMMUNICATION_PROTOCOL";
pub(super) const BATCH_LIMIT: &str = "BATCH_LIMIT";

/// What went wrong, as an answer tells it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) reason: &'static str,
    /// An object; unset is an empty one.
    pub(super) parameters: Payload,
}

impl Failure {
    /// Nobody handles this event.
    pub(super) fn not_found(message: String, event: &Event) -> Self {
        #[derive(Serialize)]
        struct Parameters<'a> {
            event: &'a str,
            version: i64,
        }
        let parameters = Parameters {
            event: &event.name,
            version: event.version,
        };
        Self {
            message,
            reason: NO_EVENT_HANDLER_FOUND,
            parameters: Payload::of(&parameters).unwrap_or_default(),
        }
    }

    /// Of the event of this name.
    pub(super) fn of(error: &EventError, name: &str) -> Self {
        let message = match error {
            EventError::Handler(error) => error.message.clone(),
            EventError::Protocol(error) => Some(error.to_string()),
            EventError::TooManyItems | EventError::TooDeep | EventError::FlowTooLong => {
                Some(error.to_string())
            }
            EventError::TimedOut => Some(format!("Event \"{name}\" timed out")),
            EventError::Panicked { .. } | EventError::NotJson(_) | EventError::Cancelled => None,
        };
        let parameters = match error {
            EventError::Protocol(error) => error.property().map(|property| {
                #[derive(Serialize)]
                #[serde(rename_all = "camelCase")]
                struct Parameters<'a> {
                    property_name: &'a str,
                }
                Payload::of(&Parameters {
                    property_name: property,
                })
                .unwrap_or_default()
            }),
            _ => None,
        };
        Self {
            message: message.unwrap_or_else(|| format!("Event \"{name}\" failed")),
            reason: error.reason(),
            parameters: parameters.unwrap_or_default(),
        }
    }

    /// As an answer to `request`, of which only what could be read is set.
    pub(super) fn answer(&self, style: ErrorStyle, request: &Event) -> Event {
        let answer = match style {
            ErrorStyle::Seed => seed(
                &request.flow_id,
                &self.message,
                self.reason,
                &self.parameters,
            ),
            ErrorStyle::Typed => self.typed(request),
        };
        answer.caused_by(&request.id)
    }

    fn typed(&self, request: &Event) -> Event {
        #[derive(Serialize)]
        struct Coded<'a> {
            code: &'a str,
            parameters: &'a RawValue,
        }
        let (name, version) = match self.reason {
            NO_EVENT_HANDLER_FOUND => ("eventNotFound".to_owned(), 1),
            INVALID_COMMUNICATION_PROTOCOL => ("badProtocol".to_owned(), 1),
            _ => (format!("{}:error", request.name), request.version),
        };
        let coded = Coded {
            code: self.reason,
            parameters: object(&self.parameters),
        };
        let payload = Payload::of(&coded).unwrap_or_default();
        Event::answer(name, version, &request.flow_id, payload)
    }
}

/// `error` of version 1.
pub(super) fn seed(flow_id: &str, message: &str, reason: &str, parameters: &Payload) -> Event {
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
        reason: &'a str,
        parameters: &'a RawValue,
    }
    let told = Told {
        message,
        reason,
        parameters: object(parameters),
    };
    let payload = Payload::of(&told).unwrap_or_default();
    Event::answer("error".to_owned(), 1, flow_id, payload)
}

fn object(parameters: &Payload) -> &RawValue {
    let json = if parameters.is_unset() {
        b"{}"
    } else {
        parameters.as_bytes()
    };
    serde_json::from_slice(json).unwrap_or(RawValue::NULL)
}
