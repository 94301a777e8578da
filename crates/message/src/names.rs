//! Header and attribute names, and content types, in one place.

use http::HeaderName;

/// Set by the receiver and sent to subscribers: the message's id, see [`crate::MessageId`].
pub const BUSWAY_ID: HeaderName = HeaderName::from_static("busway-id");
/// How often this message has been passed on as a reply or dead letter, see [`crate::hops`].
pub const BUSWAY_HOPS: HeaderName = HeaderName::from_static("busway-hops");
/// Namespace of the subscription an attempt is for.
pub const BUSWAY_NAMESPACE: HeaderName = HeaderName::from_static("busway-namespace");
/// Name of the subscription an attempt is for.
pub const BUSWAY_SUBSCRIPTION: HeaderName = HeaderName::from_static("busway-subscription");
/// Number of the attempt, from 1.
pub const BUSWAY_ATTEMPT: HeaderName = HeaderName::from_static("busway-attempt");
/// On a breaker's probe.
pub const BUSWAY_PROBE: HeaderName = HeaderName::from_static("busway-probe");
/// On a message replayed by an operation.
pub const BUSWAY_REPLAY: HeaderName = HeaderName::from_static("busway-replay");
/// On a message redriven from a dead-letter store.
pub const BUSWAY_REDRIVE: HeaderName = HeaderName::from_static("busway-redrive");

/// On a plain dead letter: where it could not be delivered.
pub const BUSWAY_ERROR_DEST: HeaderName = HeaderName::from_static("busway-error-dest");
/// On a plain dead letter: the last status, 0 when there was no answer.
pub const BUSWAY_ERROR_CODE: HeaderName = HeaderName::from_static("busway-error-code");
/// On a plain dead letter: the beginning of the last answer in base64, or why there was none.
pub const BUSWAY_ERROR_DATA: HeaderName = HeaderName::from_static("busway-error-data");
/// On a plain dead letter: how many attempts were made.
pub const BUSWAY_ERROR_ATTEMPTS: HeaderName = HeaderName::from_static("busway-error-attempts");

/// As [`BUSWAY_ERROR_DEST`], as attribute of a CloudEvent.
pub const ERROR_DEST_ATTRIBUTE: &str = "knativeerrordest";
/// As [`BUSWAY_ERROR_CODE`], as attribute of a CloudEvent.
pub const ERROR_CODE_ATTRIBUTE: &str = "knativeerrorcode";
/// As [`BUSWAY_ERROR_DATA`], as attribute of a CloudEvent.
pub const ERROR_DATA_ATTRIBUTE: &str = "knativeerrordata";
/// As [`BUSWAY_ERROR_ATTEMPTS`], as attribute of a CloudEvent.
pub const ERROR_ATTEMPTS_ATTRIBUTE: &str = "buswayattempts";

/// What makes a message a CloudEvent in binary mode.
pub const CE_SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");
/// What headers that are CloudEvents attributes begin with.
pub const CE_PREFIX: &str = "ce-";

/// W3C Trace Context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// W3C Trace Context, the vendors' part.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The sender's own correlation id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Content type of one CloudEvent in structured mode.
pub const STRUCTURED_JSON: &str = "application/cloudevents+json";
/// Content type of several CloudEvents in one body.
pub const BATCH_JSON: &str = "application/cloudevents-batch+json";
