//! The envelope: eight members of a JSON object, read strictly and written in one order.

mod members;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::value::RawValue;

pub(super) use self::members::{Member, Members, place};
use super::{Event, Payload, ProtocolError, Validation};

/// What could be read of a body that is no event, and why it is none.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) error: ProtocolError,
    /// Only `id` and `flow_id` are set, and only what is there.
    pub(super) readable: Event,
}

/// Reads an envelope. Payload and the like are slices of the body, not copies.
pub(super) fn read(body: &Bytes, validation: Validation) -> Result<Event, Box<Unread>> {
    let members = Members::read(body).map_err(|error| {
        Box::new(Unread {
            error,
            readable: Event::default(),
        })
    })?;
    let event = members.event(body).and_then(|event| match validation {
        Validation::Off => Ok(event),
        Validation::Schema => members.check(&event).map(|()| event),
    });
    event.map_err(|error| {
        let readable = Event {
            id: members.text(Member::Id, body).unwrap_or_default(),
            flow_id: members.text(Member::FlowId, body).unwrap_or_default(),
            ..Event::default()
        };
        Box::new(Unread { error, readable })
    })
}

/// Whether an envelope states its version: a 0 may be one, or none.
#[cfg(feature = "client")]
pub(super) fn has_version(body: &[u8]) -> bool {
    Members::read(body).is_ok_and(|members| members.get(Member::Version).is_some())
}

impl Members<'_> {
    /// The event; what is missing is empty.
    fn event(&self, body: &Bytes) -> Result<Event, ProtocolError> {
        Ok(Event {
            name: self.text(Member::Name, body)?,
            version: self.version(body)?,
            id: self.text(Member::Id, body)?,
            flow_id: self.text(Member::FlowId, body)?,
            payload: self.raw(Member::Payload, body)?,
            metadata: self.raw(Member::Metadata, body)?,
            identity: self.raw(Member::Identity, body)?.secret(),
            auth: self.raw(Member::Auth, body)?.secret(),
        })
    }

    fn text(&self, member: Member, body: &[u8]) -> Result<String, ProtocolError> {
        let Some(value) = self.get(member) else {
            return Ok(String::new());
        };
        serde_json::from_str(value.get())
            .map_err(|_| wrong(member, "must be a string", value, body))
    }

    /// Digits only: `1.0`, `1e0` and `"1"` are no integers.
    fn version(&self, body: &[u8]) -> Result<i64, ProtocolError> {
        let Some(value) = self.get(Member::Version) else {
            return Ok(0);
        };
        value.get().parse().map_err(|_| {
            let rule = "must be an integer of 64 bits";
            wrong(Member::Version, rule, value, body)
        })
    }

    fn raw(&self, member: Member, body: &Bytes) -> Result<Payload, ProtocolError> {
        let Some(value) = self.get(member) else {
            return Ok(Payload::default());
        };
        if busway_message::nesting(value.get()) > busway_message::MAX_NESTING {
            let rule = format!("nests deeper than {} levels", busway_message::MAX_NESTING);
            return Err(wrong(member, &rule, value, body));
        }
        Ok(Payload::raw(body.slice_ref(value.get().as_bytes())))
    }

    /// What the schema asks for beyond the right types, in the order of the members.
    fn check(&self, event: &Event) -> Result<(), ProtocolError> {
        self.check_text(Member::Name, &event.name)?;
        if self.get(Member::Version).is_none() {
            return Err(missing(Member::Version));
        }
        if event.version < 1 {
            let what = "`version` must be at least 1";
            return Err(ProtocolError::of(Member::Version.as_str(), what));
        }
        self.check_text(Member::Id, &event.id)?;
        self.check_text(Member::FlowId, &event.flow_id)?;
        if self.get(Member::Payload).is_none() {
            return Err(missing(Member::Payload));
        }
        for member in [Member::Metadata, Member::Identity, Member::Auth] {
            let is_object = |value: &RawValue| value.get().starts_with('{');
            if !self.get(member).is_none_or(is_object) {
                let what = format!("`{}` must be an object", member.as_str());
                return Err(ProtocolError::of(member.as_str(), what));
            }
        }
        if self.is_followed {
            return Err(ProtocolError::new("the event is followed by more bytes"));
        }
        Ok(())
    }

    fn check_text(&self, member: Member, text: &str) -> Result<(), ProtocolError> {
        match self.get(member) {
            None => Err(missing(member)),
            Some(_) if text.is_empty() => {
                let what = format!("`{}` must not be empty", member.as_str());
                Err(ProtocolError::of(member.as_str(), what))
            }
            Some(_) => Ok(()),
        }
    }
}

fn missing(member: Member) -> ProtocolError {
    let what = format!("`{}` is missing", member.as_str());
    ProtocolError::of(member.as_str(), what)
}

fn wrong(member: Member, rule: &str, value: &RawValue, body: &[u8]) -> ProtocolError {
    let (line, column) = place(value, body);
    let what = format!(
        "`{}` {rule} at line {line} column {column}",
        member.as_str()
    );
    ProtocolError::of(member.as_str(), what)
}

/// Writes an event, without a newline at the end.
///
/// # Errors
/// When its payload, metadata, identity or auth are not JSON.
pub(super) fn write(event: &Event) -> Result<BytesMut, serde_json::Error> {
    let parts = [
        (",\"payload\":", event.payload.json("null")?),
        (",\"metadata\":", event.metadata.json("{}")?),
        (",\"identity\":", event.identity.json("{}")?),
        (",\"auth\":", event.auth.json("{}")?),
    ];
    let strings = event.name.len() + event.id.len() + event.flow_id.len();
    let raw: usize = parts
        .iter()
        .map(|(name, json)| name.len() + json.len())
        .sum();
    // With room for what is around them, and for a newline.
    let mut out = BytesMut::with_capacity(strings + raw + 96);
    out.put_slice(b"{\"name\":");
    put_string(&mut out, &event.name)?;
    out.put_slice(b",\"version\":");
    out.put_slice(event.version.to_string().as_bytes());
    out.put_slice(b",\"id\":");
    put_string(&mut out, &event.id)?;
    out.put_slice(b",\"flowId\":");
    put_string(&mut out, &event.flow_id)?;
    for (name, json) in parts {
        out.put_slice(name.as_bytes());
        out.put_slice(json.as_bytes());
    }
    out.put_slice(b"}");
    Ok(out)
}

fn put_string(out: &mut BytesMut, text: &str) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out.writer(), text)
}

#[cfg(test)]
mod tests;
