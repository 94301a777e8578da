//! Lines of a log, as text. A binary of its own: it has the process's only subscriber.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/log.rs"]
mod log;

use busway_sdk::events::{Context, Event, HandlerError, Mux, Payload, TracingTracker};
use serde_json::json;

use self::log::Log;

async fn fails(_: Context, event: Event) -> Result<Event, HandlerError> {
    let text: String = event.payload.get()?;
    Err(HandlerError::new(text))
}

#[tokio::test]
async fn no_text_of_others_makes_a_line_long_or_looks_like_another_line() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let forged = format!("x\nERROR forged: {}", "é".repeat(100_000));
    let mux = Mux::builder()
        .tracker(TracingTracker)
        .add(forged.as_str(), 1, fails)
        .build()
        .unwrap();
    for (payload, version) in [
        (json!(forged), 1),
        (json!({"forged": forged}), 1),
        (json!(1), 2),
    ] {
        let event = Event {
            id: forged.clone(),
            flow_id: forged.clone(),
            metadata: Payload::of(&json!({"origin": forged})).unwrap(),
            ..Event::new(forged.as_str(), version, Payload::of(&payload).unwrap())
        };
        mux.call(Context::new(), event).await;
    }
    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in lines {
        assert!(!line.starts_with("ERROR forged"), "{line}");
        // Name, id, flow, origin and error, and what is around them.
        assert!(line.chars().count() < 2_000, "{line}");
    }
}
