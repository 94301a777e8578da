//! Events as CloudEvents, in and out.

use std::{borrow::Cow, time::SystemTime};

use busway_message::{
    AttributeName, InvalidEvent, Kind, Message, Mode, SpecVersion, attribute, convert,
    is_attribute_value,
};
use bytes::Bytes;
use http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Event, Payload, PayloadError, ProtocolError, Validation,
    envelope::{self, Member, Members, Unread},
    random_id,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TYPE: &str = "type";
const FLOW_ID: &str = "flowid";
const CAUSATION_ID: &str = "causationid";
const EVENT_VERSION: &str = "eventversion";
/// The longest flow, cause or source of an answer that is an attribute, in bytes. 1 KiB: an attribute is a header, and
/// a dispatcher that cannot read an answer's headers, of 64 KiB in all, sends the event again.
const MAX_ID: usize = 1024;

/// How a CloudEvent came, which is how its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Came {
    mode: Mode,
    version: SpecVersion,
    type_: String,
    subject: Option<String>,
    /// Its data is an envelope.
    is_enveloped: bool,
}

/// Reads a message that is a valid CloudEvent.
pub(super) fn read(
    message: &Message,
    mode: Mode,
    version: SpecVersion,
    validation: Validation,
) -> (Came, Result<Event, Box<Unread>>) {
    let text = |name| text(message, name);
    let readable = readable(message);
    let mut came = Came {
        mode,
        version,
        type_: text(TYPE).unwrap_or_default(),
        subject: text("subject"),
        is_enveloped: false,
    };
    let data = match convert::to_binary(message) {
        Ok(binary) => binary.body().clone(),
        Err(error) => {
            let error = invalid(&error);
            return (came, Err(Box::new(Unread { error, readable })));
        }
    };
    if is_envelope(&data, &came.type_) {
        came.is_enveloped = true;
        let mut event = envelope::read(&data, validation);
        let flow_id = match &mut event {
            Ok(event) => &mut event.flow_id,
            Err(unread) => &mut unread.readable.flow_id,
        };
        if flow_id.is_empty() {
            *flow_id = readable.flow_id;
        }
        return (came, event);
    }
    let source = text("source").unwrap_or_default();
    let stated = text(EVENT_VERSION);
    let event = bare(
        &data,
        &came.type_,
        &source,
        stated.as_deref(),
        validation,
        &readable,
    );
    let event = event.map_err(|error| Box::new(Unread { error, readable }));
    (came, event)
}

/// What can be read of a CloudEvent, a valid one or not.
pub(super) fn readable(message: &Message) -> Event {
    Event {
        id: text(message, "id").unwrap_or_default(),
        flow_id: text(message, FLOW_ID).unwrap_or_default(),
        ..Event::default()
    }
}

/// The event that a CloudEvent is, when its data is no envelope.
fn bare(
    data: &Bytes,
    type_: &str,
    source: &str,
    version: Option<&str>,
    validation: Validation,
    readable: &Event,
) -> Result<Event, ProtocolError> {
    #[derive(Serialize)]
    struct Metadata<'a> {
        origin: &'a str,
    }
    let wrong = |rule: &str| {
        let what = format!("`{EVENT_VERSION}` must be {rule}");
        ProtocolError::of(EVENT_VERSION, what)
    };
    let version = match version {
        None => 1,
        Some(text) => text.parse().map_err(|_| wrong("an integer of 64 bits"))?,
    };
    if version < 1 && validation == Validation::Schema {
        return Err(wrong("at least 1"));
    }
    Ok(Event {
        name: type_.to_owned(),
        version,
        id: readable.id.clone(),
        flow_id: super::event::flow_of(&readable.flow_id),
        payload: payload(data)?,
        metadata: Payload::of(&Metadata { origin: source }).unwrap_or_default(),
        ..Event::default()
    })
}

/// Data that has to be JSON; without data there is no payload.
fn payload(data: &Bytes) -> Result<Payload, ProtocolError> {
    if data.is_empty() {
        return Ok(Payload::default());
    }
    let payload = Payload::raw(data.clone());
    let json = payload
        .json("null")
        .map_err(|error| ProtocolError::of("data", format!("the data is not JSON: {error}")))?;
    if busway_message::nesting(json) > busway_message::MAX_NESTING {
        let most = busway_message::MAX_NESTING;
        let what = format!("the data nests deeper than {most} levels");
        return Err(ProtocolError::of("data", what));
    }
    Ok(payload)
}

/// Whether data has the event's type as its `name`, and a `version` and a `payload`. One that is null
/// is stated too, and then against the schema: else who asks would be part of a payload.
fn is_envelope(data: &Bytes, type_: &str) -> bool {
    let Ok(members) = Members::read(data) else {
        return false;
    };
    let name = members.get(Member::Name);
    let name = name.and_then(|name| serde_json::from_str::<Cow<'_, str>>(name.get()).ok());
    name.is_some_and(|name| name == type_)
        && members.stated(Member::Version).is_some()
        && members.stated(Member::Payload).is_some()
}

/// An answer in the same mode.
///
/// # Errors
/// When its payload is not JSON.
pub(super) fn answer(
    came: &Came,
    request: &Event,
    answer: &Event,
    source: &str,
) -> Result<Message, PayloadError> {
    let data = if came.is_enveloped {
        envelope::write(answer).map(|it| it.freeze())
    } else {
        answer
            .payload
            .json("null")
            .map(|_| answer.payload.to_bytes())
    };
    let data = data.map_err(PayloadError::write)?;
    let response_to_nameless;
    let type_ = if answer.name.is_empty() {
        response_to_nameless = format!("{}:response", came.type_);
        &response_to_nameless
    } else {
        &answer.name
    };
    let (id, time, version) = (random_id(), now(), answer.version.to_string());
    let attributes = [
        ("id", id.as_str()),
        ("source", source),
        (TYPE, type_),
        ("time", &time),
        (FLOW_ID, &answer.flow_id),
        (EVENT_VERSION, &version),
        (CAUSATION_ID, &request.id),
        ("subject", came.subject.as_deref().unwrap_or_default()),
    ];
    let made = compose(came.version, &attributes, data);
    let made = made.and_then(|made| match came.mode {
        Mode::Binary => Ok(made),
        Mode::Structured => convert::to_structured(&made),
    });
    made.map_err(|error| PayloadError::write(serde::ser::Error::custom(error)))
}

/// An event as a CloudEvent in binary mode. Its data is its payload, or an envelope when it says
/// more than attributes can.
///
/// # Errors
/// When its payload is not JSON, or no receiver would take it by the schema.
#[cfg(feature = "client")]
pub(super) fn outgoing(event: &Event, source: &str) -> Result<Message, InvalidOutgoing> {
    let json = event.payload.json("null").map_err(PayloadError::write)?;
    let says_more = [&event.metadata, &event.identity, &event.auth]
        .iter()
        .any(|part| !part.is_unset());
    if event.version < 1 {
        return Err(ProtocolError::of(EVENT_VERSION, "the version must be at least 1").into());
    }
    let bytes = event.payload.to_bytes();
    let data = if says_more || !is_id(&event.flow_id) || is_envelope(&bytes, &event.name) {
        let written = envelope::write(event).map_err(PayloadError::write)?;
        let data = written.freeze();
        envelope::read(&data, Validation::Schema).map_err(|unread| unread.error)?;
        data
    } else {
        let data = bytes.slice_ref(json.as_bytes());
        payload(&data)?;
        data
    };
    let (time, version) = (now(), event.version.to_string());
    let attributes = [
        ("id", event.id.as_str()),
        ("source", source),
        (TYPE, &event.name),
        ("time", &time),
        (FLOW_ID, &event.flow_id),
        (EVENT_VERSION, &version),
    ];
    Ok(compose(SpecVersion::V1, &attributes, data)?)
}

/// Why an event cannot be sent.
#[cfg(feature = "client")]
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidOutgoing {
    #[error(transparent)]
    NotJson(#[from] PayloadError),
    #[error(transparent)]
    NotAnEvent(#[from] InvalidEvent),
    #[error(transparent)]
    Refused(#[from] ProtocolError),
}

/// What is empty is left out, and a flow or cause of an envelope that no attribute has.
fn compose(
    version: SpecVersion,
    attributes: &[(&str, &str)],
    data: Bytes,
) -> Result<Message, InvalidEvent> {
    let set = attributes.iter().copied().filter(|(name, value)| {
        let may_be_left_out = matches!(*name, FLOW_ID | CAUSATION_ID);
        !value.is_empty() && (!may_be_left_out || is_id(value))
    });
    Message::event(version, set, JSON, data)
}

/// Whether answers can have this source.
pub(super) fn is_source(value: &str) -> bool {
    let attributes = [("id", "i"), ("source", value), (TYPE, "t")];
    value.len() <= MAX_ID && compose(SpecVersion::V1, &attributes, Bytes::new()).is_ok()
}

/// Whether a flow or a cause can be an attribute.
fn is_id(value: &str) -> bool {
    value.len() <= MAX_ID && is_attribute_value(value)
}

fn text(message: &Message, name: &str) -> Option<String> {
    let name = AttributeName::new(name).ok()?;
    attribute(message, &name).map(Cow::into_owned)
}

/// What a message says it is. `None` is an event format that is not taken.
pub(super) fn kind(message: &Message) -> Option<Result<Kind, ProtocolError>> {
    match Kind::of(message) {
        Ok(Kind::Batch) | Err(InvalidEvent::UnsupportedFormat { .. }) => None,
        Ok(kind) => Some(Ok(kind)),
        Err(error) => Some(Err(invalid(&error))),
    }
}

fn invalid(error: &InvalidEvent) -> ProtocolError {
    let what = format!("not a valid CloudEvent: {error}");
    match error.attribute() {
        Some(attribute) => ProtocolError::of(attribute.to_owned(), what),
        None => ProtocolError::new(what),
    }
}

fn now() -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
    now.to_string()
}
