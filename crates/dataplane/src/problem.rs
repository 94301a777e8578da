//! Every error answer of the receiver: status, stable type, words, headers.

use std::time::Duration;

use busway_core::{address::ChannelAddressError, bus::PublishError};
use busway_message::{InvalidEvent, batch::InvalidBatch};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// What the stable `type` of a problem begins with (RFC 9457 §3.1.1).
pub const TYPE_PREFIX: &str = "urn:busway:problem:";

/// The content type of an error answer.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// How long a sender is asked to wait before a first load of routes, for a channel that is being
/// provisioned, and for memory: each passes in about a second or is a person's to mend.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Why a request was not accepted (delivery specification, §1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// 405.
    #[error("only POST and OPTIONS are answered here")]
    MethodNotAllowed,
    /// 400, or 404 for another path.
    #[error(transparent)]
    Address(#[from] ChannelAddressError),
    /// 400: no Host in HTTP/1.1, or more than one.
    #[error("the request must have exactly one Host")]
    Host,
    /// 404.
    #[error("there is no such channel")]
    UnknownChannel,
    /// 503: no routes yet.
    #[error("the channels are not known yet")]
    NotLoaded,
    /// 503.
    #[error("the channel is not provisioned yet")]
    NotProvisioned,
    /// 403.
    #[error("the channel's namespace may no longer use this bus")]
    Revoked,
    /// 508.
    #[error("the message has been through {limit} channels or more")]
    HopLimit {
        /// The setting `maxHops`.
        limit: u32,
    },
    /// 413.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// 408.
    #[error("the header did not arrive within {}s", .limit.as_secs_f64())]
    SlowHeader {
        /// The setting `headerTimeout`.
        limit: Duration,
    },
    /// 503: `limits.connections` is reached.
    #[error("too many connections are open at the moment")]
    TooManyConnections,
    /// 408.
    #[error("the body did not arrive within {}s", .limit.as_secs_f64())]
    SlowBody {
        /// The setting `bodyTimeout`.
        limit: Duration,
    },
    /// 400: the connection or the framing broke in the body.
    #[error("the body could not be read")]
    BrokenBody,
    /// 503: `limits.memory` is reached.
    #[error("too many messages are held at the moment")]
    Overloaded,
    /// 400.
    #[error("not a valid CloudEvent: {0}")]
    InvalidEvent(#[from] InvalidEvent),
    /// 400.
    #[error("{}", batch_text(.0))]
    InvalidBatch(#[from] InvalidBatch),
    /// What the bus said.
    #[error("{}", publish_text(.0))]
    Publish(#[from] PublishError),
    /// 503: a batch is stored in part; the repeat may duplicate.
    #[error("only {stored} of {events} events could be stored; send the batch again")]
    HalfBatch {
        /// Events stored.
        stored: usize,
        /// Events in the batch.
        events: usize,
    },
    /// 500.
    #[error("an error occurred")]
    Internal,
}

fn batch_text(invalid: &InvalidBatch) -> String {
    match invalid {
        InvalidBatch::Event { source, .. } => format!("{invalid}: {source}"),
        other => other.to_string(),
    }
}

/// What a sender may know of a failed publish; an engine's own words are for the log only.
fn publish_text(error: &PublishError) -> String {
    match error {
        PublishError::UnknownChannel(_) => "there is no such channel".to_owned(),
        PublishError::Unavailable { .. } => "the bus cannot store the message now".to_owned(),
        PublishError::Other(_) => "an error occurred".to_owned(),
        PublishError::Busy { .. } | PublishError::TooLarge { .. } => error.to_string(),
    }
}

impl Problem {
    /// Every name, for tables and metrics; in the order of [`Self::index`].
    pub(crate) const NAMES: &'static [&'static str] = &[
        "method-not-allowed",
        "malformed-address",
        "not-a-channel",
        "malformed-host",
        "unknown-channel",
        "not-loaded",
        "not-provisioned",
        "revoked",
        "hop-limit",
        "too-large",
        "slow-header",
        "too-many-connections",
        "slow-body",
        "broken-body",
        "overloaded",
        "invalid-event",
        "invalid-batch",
        "busy",
        "unavailable",
        "half-batch",
        "internal",
    ];

    /// The stable short name: what follows [`TYPE_PREFIX`] in the answer's `type`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Address(ChannelAddressError::Malformed(_)) => "malformed-address",
            Self::Address(ChannelAddressError::NotAChannel) => "not-a-channel",
            Self::Host => "malformed-host",
            Self::UnknownChannel | Self::Publish(PublishError::UnknownChannel(_)) => {
                "unknown-channel"
            }
            Self::NotLoaded => "not-loaded",
            Self::NotProvisioned => "not-provisioned",
            Self::Revoked => "revoked",
            Self::HopLimit { .. } => "hop-limit",
            Self::TooLarge { .. } | Self::Publish(PublishError::TooLarge { .. }) => "too-large",
            Self::SlowHeader { .. } => "slow-header",
            Self::TooManyConnections => "too-many-connections",
            Self::SlowBody { .. } => "slow-body",
            Self::BrokenBody => "broken-body",
            Self::Overloaded => "overloaded",
            Self::InvalidEvent(_) => "invalid-event",
            Self::InvalidBatch(_) => "invalid-batch",
            Self::Publish(PublishError::Busy { .. }) => "busy",
            Self::Publish(PublishError::Unavailable { .. }) => "unavailable",
            Self::HalfBatch { .. } => "half-batch",
            Self::Publish(PublishError::Other(_)) | Self::Internal => "internal",
        }
    }

    pub(crate) fn index(&self) -> usize {
        let name = self.name();
        Self::NAMES.iter().position(|n| *n == name).unwrap_or(0)
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Address(ChannelAddressError::NotAChannel)
            | Self::UnknownChannel
            | Self::Publish(PublishError::UnknownChannel(_)) => StatusCode::NOT_FOUND,
            Self::Address(ChannelAddressError::Malformed(_))
            | Self::Host
            | Self::BrokenBody
            | Self::InvalidEvent(_)
            | Self::InvalidBatch(_) => StatusCode::BAD_REQUEST,
            Self::Revoked => StatusCode::FORBIDDEN,
            Self::NotLoaded
            | Self::NotProvisioned
            | Self::Overloaded
            | Self::TooManyConnections
            | Self::HalfBatch { .. }
            | Self::Publish(PublishError::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::HopLimit { .. } => StatusCode::LOOP_DETECTED,
            Self::TooLarge { .. } | Self::Publish(PublishError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::SlowHeader { .. } | Self::SlowBody { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Publish(PublishError::Busy { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Publish(PublishError::Other(_)) | Self::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// When the sender may try again, where that can help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotLoaded
            | Self::NotProvisioned
            | Self::Overloaded
            | Self::TooManyConnections
            | Self::HalfBatch { .. } => Some(SOON),
            Self::Publish(
                PublishError::Busy { after } | PublishError::Unavailable { after, .. },
            ) => Some(*after),
            _ => None,
        }
    }

    /// Whether what is left of the request is not read: the connection then has to close.
    const fn leaves_body(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. }
                | Self::SlowHeader { .. }
                | Self::TooManyConnections
                | Self::SlowBody { .. }
                | Self::BrokenBody
                | Self::Overloaded
        )
    }

    fn json(&self) -> String {
        let status = self.status();
        serde_json::json!({
            "type": format!("{TYPE_PREFIX}{}", self.name()),
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        })
        .to_string()
    }

    /// The answer as bytes, for a connection that has no request; it closes after it.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let (status, body) = (self.status(), self.json());
        let retry_after = self
            .retry_after()
            .map(|after| format!("retry-after: {}\r\n", seconds(after)))
            .unwrap_or_default();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{retry_after}connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// The answer: problem+json (RFC 9457).
    #[must_use]
    pub fn response(&self) -> Response<Full<Bytes>> {
        let status = self.status();
        let body = self.json();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if let Some(after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(after)));
        }
        if matches!(self, Self::MethodNotAllowed) {
            headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
        }
        if self.leaves_body() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whole seconds, and never less than was meant.
const fn seconds(after: Duration) -> u64 {
    after.as_secs() + (after.subsec_nanos() > 0) as u64
}

/// The methods that are answered.
pub(crate) const ALLOWED: &str = "POST, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_name_of_the_list_and_an_engines_words_stay_here() {
        let after = Duration::from_millis(1500);
        let why = "SECRET".to_owned();
        for problem in [
            Problem::MethodNotAllowed,
            Problem::Address(ChannelAddressError::Malformed("path")),
            Problem::Address(ChannelAddressError::NotAChannel),
            Problem::Host,
            Problem::UnknownChannel,
            Problem::NotLoaded,
            Problem::NotProvisioned,
            Problem::Revoked,
            Problem::HopLimit { limit: 32 },
            Problem::TooLarge { limit: 1 },
            Problem::SlowHeader { limit: SOON },
            Problem::TooManyConnections,
            Problem::SlowBody { limit: SOON },
            Problem::BrokenBody,
            Problem::Overloaded,
            Problem::InvalidEvent(InvalidEvent::NotAnEvent),
            Problem::InvalidBatch(InvalidBatch::NotAnArray),
            Problem::Publish(PublishError::Busy { after }),
            Problem::Publish(PublishError::Unavailable { after, why }),
            Problem::HalfBatch {
                stored: 1,
                events: 2,
            },
            Problem::Publish(PublishError::Other("SECRET".to_owned())),
        ] {
            assert_eq!(Problem::NAMES.get(problem.index()), Some(&problem.name()));
            assert!(!problem.to_string().contains("SECRET"), "{problem}");
            assert_eq!(problem.response().status(), problem.status());
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up() {
        let after = Duration::from_millis(1500);
        let response = Problem::Publish(PublishError::Busy { after }).response();
        assert_eq!(response.status(), 429);
        assert_eq!(
            response.headers().get("retry-after").map(|v| v.as_bytes()),
            Some(&b"2"[..])
        );
    }
}
