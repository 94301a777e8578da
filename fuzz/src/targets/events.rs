//! CloudEvents in three modes: a request.

use busway_message::{
    AttributeName, Kind, Message, Mode, attribute, batch,
    convert::{to_binary, to_structured},
    dead_letter::{Cause, ErrorInfo, mark},
    hops::{hops, with_hop},
    trace::TraceContext,
};

use crate::request::message;

pub(super) fn run(data: &[u8]) {
    let message = message(data);
    assert!(hops(&with_hop(message.clone())) > 0);
    if let Some(trace) = TraceContext::from_headers(message.headers()) {
        let again = TraceContext::parse(trace.header_value().as_bytes());
        assert_eq!(again, Some(trace));
    }
    let letter = mark(message.clone(), &failure());
    match Kind::of(&message) {
        Ok(kind @ Kind::Event { mode, .. }) => {
            assert_eq!(Kind::of(&letter).ok(), Some(kind), "a dead letter is valid");
            for (name, value) in [
                ("knativeerrordest", "http://example.com/"),
                ("knativeerrorcode", "422"),
                ("buswayattempts", "3"),
            ] {
                assert_eq!(of(&letter, name).as_deref(), Some(value), "{name}");
            }
            match mode {
                Mode::Binary => binary(&message),
                Mode::Structured => structured(&message),
            }
        }
        Ok(Kind::Batch) => split(&message),
        Ok(Kind::Plain) => {
            assert_eq!(letter.body(), message.body());
            assert_eq!(letter.header("busway-error-code"), Some("422"));
        }
        Err(error) => {
            assert!(!error.reason().is_empty() && !error.to_string().is_empty());
            assert!(to_binary(&message).is_err() && to_structured(&message).is_err());
        }
    }
}

fn failure() -> ErrorInfo<'static> {
    ErrorInfo {
        dest: "http://user:secret@example.com/?key=secret",
        cause: Cause::Answer {
            status: 422,
            body: b"<p>No.",
        },
        attempts: 3,
    }
}

fn of(message: &Message, name: &str) -> Option<String> {
    let name = AttributeName::new(name).ok()?;
    attribute(message, &name).map(std::borrow::Cow::into_owned)
}

/// Attributes survive the way to the other mode and back; so does the data, but for white space
/// around JSON.
fn binary(event: &Message) {
    let Ok(written) = to_structured(event) else {
        return;
    };
    assert!(matches!(
        Kind::of(&written),
        Ok(Kind::Event {
            mode: Mode::Structured,
            ..
        })
    ));
    same_attributes(event, &written);
    let back = to_binary(&written).unwrap_or_else(|error| panic!("{written:?}: {error}"));
    same_attributes(event, &back);
    // An encoding of 0.3 that is true is undone: the data is what it says.
    if of(event, "datacontentencoding").is_none() {
        let same = back.body() == event.body() || back.body()[..] == *event.body().trim_ascii();
        assert!(same, "{event:?} {back:?}");
    }
}

fn structured(event: &Message) {
    let Ok(read) = to_binary(event) else {
        return;
    };
    assert!(matches!(
        Kind::of(&read),
        Ok(Kind::Event {
            mode: Mode::Binary,
            ..
        })
    ));
    same_attributes(&read, event);
    let written = to_structured(&read).unwrap_or_else(|error| panic!("{read:?}: {error}"));
    same_attributes(&read, &written);
    let again = to_binary(&written);
    assert_eq!(again.ok().as_ref(), Some(&read), "{written:?}");
}

/// The attributes of an event in binary mode are those of the other.
fn same_attributes(binary: &Message, other: &Message) {
    let names = binary.headers().keys();
    for name in names.filter_map(|name| name.as_str().strip_prefix("ce-")) {
        if !matches!(name, "datacontenttype" | "datacontentencoding") {
            assert_eq!(of(binary, name), of(other, name), "{name}");
        }
    }
}

/// Each event of a batch is valid, has its own bytes, and they stand in the batch in their order.
fn split(message: &Message) {
    let Ok(events) = batch::split(message) else {
        return;
    };
    assert!(events.len() <= batch::MAX_EVENTS);
    let mut rest = &message.body()[..];
    for event in events {
        assert!(matches!(
            Kind::of(&event),
            Ok(Kind::Event {
                mode: Mode::Structured,
                ..
            })
        ));
        let at = rest
            .windows(event.body().len())
            .position(|window| window == event.body());
        let Some(at) = at else {
            panic!("{event:?} is not in its batch");
        };
        rest = rest.get(at + event.body().len()..).unwrap_or_default();
    }
}
