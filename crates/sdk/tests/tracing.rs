//! What `TracingTracker` logs, and what nothing ever logs. A binary of its own: it has the process's only subscriber.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/log.rs"]
mod log;

use busway_sdk::events::{
    Context, Event, HandlerError, Mux, Payload, TracingTracker, new_response,
};
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tower::Service as _;

use self::log::Log;

/// The lines of a log with this text.
fn lines(log: &Log, with: &str) -> Vec<String> {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains(with));
    lines.map(str::to_owned).collect()
}

async fn price(context: Context, event: Event) -> Result<Event, HandlerError> {
    tracing::info!(?event, ?context, "looking it up");
    Ok(new_response(&event, &1)?)
}

async fn fails(_: Context, _: Event) -> Result<Event, std::io::Error> {
    Err(std::io::Error::other("the disk is full"))
}

#[tokio::test]
async fn a_line_names_the_event_and_its_flow_and_never_who_asks() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let mux = Mux::builder()
        .tracker(TracingTracker)
        .add("order:price", 3, price)
        .add("fails", 1, fails)
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let secret = Payload::of(&json!({"secret": true})).unwrap();
    let event = |name: &str, version, payload| Event {
        id: format!("id of {name}"),
        flow_id: "the flow".to_owned(),
        metadata: Payload::of(&json!({"origin": "the shop"})).unwrap(),
        identity: secret.clone(),
        auth: secret.clone(),
        ..Event::new(name, version, payload)
    };
    for (name, version) in [("order:price", 3), ("fails", 1), ("unknown", 1)] {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", http::HeaderValue::from_static("secret"));
        let context = Context::new().with_headers(headers);
        mux.call(context, event(name, version, secret.clone()))
            .await;
    }
    let items = json!({"events": [{"name": "fails", "version": 1, "id": "item"}]});
    let batch = event("batch", 1, Payload::of(&items).unwrap());
    mux.call(Context::new(), batch).await;
    let request = Request::post("/")
        .body(Full::<bytes::Bytes>::from("secret"))
        .unwrap();
    mux.events().call(request).await.unwrap();

    for (message, operation, id) in [
        ("looking it up", "order:price:V3", "id of order:price"),
        ("event done", "order:price:V3", "id of order:price"),
        ("the disk is full", "fails:V1", "id of fails"),
        ("event not found", "unknown:V1", "id of unknown"),
    ] {
        let lines = lines(&log, message);
        let span = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["span"].clone()
        };
        let wanted = json!({
            "name": "event", "operation": operation, "EventID": id, "FlowID": "the flow", "Origin": "the shop",
        });
        assert!(
            lines.iter().any(|line| span(line) == wanted),
            "{message}: {lines:#?}"
        );
    }
    assert_eq!(lines(&log, "\"EventID\":\"item\"").len(), 1);
    assert_eq!(lines(&log, "no event").len(), 1);
    assert!(
        lines(&log, "secret").is_empty(),
        "{:#?}",
        lines(&log, "secret")
    );
}
