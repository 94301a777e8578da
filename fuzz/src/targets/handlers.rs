//! A request to event handlers: envelopes, batches, CloudEvents.

use std::cell::RefCell;

use busway_message::{Kind, Message, names::BUSWAY_SUBSCRIPTION};
use busway_sdk::events::{Context, Event, HandlerError, Mux, Settings, Validation, new_response};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::Service as _;

use crate::request::message;

/// What an answer may say.
const STATUSES: [u16; 6] = [200, 204, 400, 404, 415, 422];

struct Services {
    runtime: Runtime,
    strict: Mux,
    lenient: Mux,
}

thread_local! {
    static SERVICES: RefCell<Option<Services>> = RefCell::new(services());
}

fn services() -> Option<Services> {
    let mux = |validation| {
        let settings = Settings {
            validation,
            ..Settings::default()
        };
        let mux = Mux::builder().settings(settings).add("echo", 1, echo);
        mux.add_batch("batch", 1).build().ok()
    };
    Some(Services {
        runtime: Builder::new_current_thread().enable_time().build().ok()?,
        strict: mux(Validation::Schema)?,
        lenient: mux(Validation::Off)?,
    })
}

async fn echo(_: Context, event: Event) -> Result<Event, HandlerError> {
    let answer = new_response(&event, &())?;
    Ok(Event {
        payload: event.payload,
        ..answer
    })
}

pub(super) fn run(data: &[u8]) {
    let message = message(data);
    SERVICES.with_borrow(|services| {
        if let Some(services) = services {
            for mux in [&services.strict, &services.lenient] {
                for is_from_bus in [false, true] {
                    let answered = ask(mux, &message, is_from_bus);
                    services.runtime.block_on(answered);
                }
            }
        }
    });
}

async fn ask(mux: &Mux, message: &Message, is_from_bus: bool) {
    let mut request = Request::new(Full::<Bytes>::from(message.body().clone()));
    *request.method_mut() = http::Method::POST;
    *request.headers_mut() = message.headers().clone();
    if is_from_bus {
        let headers = request.headers_mut();
        headers.insert(BUSWAY_SUBSCRIPTION, HeaderValue::from_static("s"));
    }
    let Ok(answer) = mux.events().call(request).await;
    let (head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    let answer = Message::new(head.headers, body.to_bytes());
    let status = head.status.as_u16();
    // A panic would be a 500, because services catch it.
    assert!(STATUSES.contains(&status), "{status}");
    assert!(is_from_bus || matches!(status, 200 | 415), "{status}");
    match Kind::of(&answer) {
        Ok(Kind::Event { .. }) => {}
        Ok(Kind::Plain) if matches!(status, 204 | 415) => assert!(answer.body().is_empty()),
        Ok(Kind::Plain) => {
            let kind = answer.headers().get(header::CONTENT_TYPE);
            assert_eq!(
                kind.map(HeaderValue::as_bytes),
                Some(&b"application/json"[..])
            );
            envelope(answer.body());
        }
        other => assert!(other.is_err(), "an answer is one event or an envelope"),
    }
    assert!(Kind::of(&answer).is_ok(), "an answer is valid");
}

/// All eight members, and a line break.
fn envelope(body: &[u8]) {
    assert!(body.ends_with(b"}\n"));
    // Payloads may have what a `Value` cannot: lone surrogates, numbers without an end.
    if let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) {
        let names = [
            "name", "version", "id", "flowId", "payload", "metadata", "identity", "auth",
        ];
        assert_eq!(members.len(), names.len());
        assert!(names.iter().all(|name| members.contains_key(*name)));
        assert!(
            members["flowId"]
                .as_str()
                .is_some_and(|flow| !flow.is_empty())
        );
    }
}
