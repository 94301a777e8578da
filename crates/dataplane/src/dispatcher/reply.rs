//! Whether an answer is a reply (delivery specification, §3).

use busway_message::{
    KeepHeaders, Kind, Message, hops,
    names::{BUSWAY_ID, TRACEPARENT, TRACESTATE, X_REQUEST_ID},
};
use http::HeaderName;

use super::{job::Failed, lane::Ended};

/// What an answer 2xx brings.
pub(super) enum Reply {
    /// Nothing.
    None,
    /// A message for `replyTo`.
    Message(Message),
    /// A body over the limit of messages.
    TooLarge(Failed),
}

/// The reply in the answer to `message`.
///
/// Only 200 and 201 with a body have one. To a CloudEvent only a CloudEvent is a reply: an HTML
/// page is not. The reply goes on with the correlation headers and one hop more.
pub(super) fn of(message: &Message, ended: Ended, keep: &KeepHeaders) -> Reply {
    let Ended {
        outcome, answer, ..
    } = ended;
    let Some(answer) = answer.filter(|answer| matches!(answer.status, 200 | 201)) else {
        return Reply::None;
    };
    let headers = keep.from_reply(&answer.headers);
    let reply = Message::new(headers, answer.body.clone());
    let is_event = match Kind::of(&reply) {
        // In binary mode the data may be empty.
        Ok(Kind::Event { .. } | Kind::Batch) => true,
        Ok(Kind::Plain) => false,
        // It says that it is one; whoever gets it says what is wrong.
        Err(_) => !reply.body().is_empty(),
    };
    let to_plain = || !matches!(Kind::of(message), Ok(Kind::Event { .. }));
    if !is_event && (reply.body().is_empty() || !to_plain()) {
        return Reply::None;
    }
    if answer.cut {
        return Reply::TooLarge(Failed::new(outcome, &answer.body));
    }
    Reply::Message(correlated(hops::with_hop_of(reply, message), message))
}

/// With the headers that tell which message it answers, where the subscriber set none.
fn correlated(mut reply: Message, message: &Message) -> Message {
    let follows = |name: &HeaderName| {
        *name == X_REQUEST_ID
            || *name == TRACEPARENT
            || *name == BUSWAY_ID
            || name.as_str() == "baggage"
            || name.as_str() == "b3"
            || name.as_str().starts_with("x-b3-")
            || name.as_str().starts_with("x-ot-")
    };
    // A state belongs to its parent.
    let own_trace = reply.headers().contains_key(TRACEPARENT);
    for (name, value) in message.headers() {
        let wanted = follows(name) || (*name == TRACESTATE && !own_trace);
        if wanted && !reply.headers().contains_key(name) {
            reply = reply.with_header(name.clone(), value.clone());
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use busway_core::outcome::Outcome;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::dispatcher::link::Answer;

    fn message(headers: &[(&'static str, &'static str)], body: &'static str) -> Message {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        Message::new(map, Bytes::from_static(body.as_bytes()))
    }

    const EVENT: &[(&str, &str)] = &[
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];

    fn reply(
        to: &Message,
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> Reply {
        let (headers, body) = message(headers, body).into_parts();
        let ended = Ended {
            outcome: Outcome::Status(status),
            answer: Some(Answer {
                status,
                headers,
                body,
                cut: false,
                room: None,
            }),
            told: false,
        };
        of(to, ended, &KeepHeaders::default())
    }

    #[test]
    fn only_200_and_201_with_an_event_or_a_body_to_a_plain_message_are_replies() {
        let (event, plain) = (message(EVENT, "x"), message(&[], "x"));
        let html = &[("content-type", "text/html")];
        for (to, status, headers, body, is_reply) in [
            (&event, 200, EVENT, "y", true),
            (&event, 201, EVENT, "", true),
            (&event, 202, EVENT, "y", false),
            (&event, 204, EVENT, "", false),
            (&event, 200, &html[..], "<p>", false),
            (&event, 200, &[], "", false),
            (&plain, 200, &html[..], "<p>", true),
            (&plain, 200, &[], "", false),
            (&plain, 201, EVENT, "", true),
        ] {
            let got = matches!(reply(to, status, headers, body), Reply::Message(_));
            assert_eq!(got, is_reply, "{status} {headers:?} {body:?}");
        }
    }

    #[test]
    fn a_reply_goes_on_with_the_correlation_headers_and_one_hop_more() {
        let to = message(
            &[
                ("x-request-id", "r"),
                ("busway-hops", "4"),
                ("baggage", "a=b"),
                ("busway-id", "i"),
            ],
            "x",
        );
        let Reply::Message(got) = reply(&to, 200, &[("baggage", "c=d"), ("busway-hops", "1")], "y")
        else {
            panic!("no reply");
        };
        for (name, value) in [
            ("x-request-id", "r"),
            ("busway-hops", "5"),
            ("baggage", "c=d"),
            ("busway-id", "i"),
        ] {
            assert_eq!(got.header(name), Some(value), "{name}");
        }
    }
}
