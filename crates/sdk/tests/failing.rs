//! Handlers and trackers that fail in places of their own.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use busway_sdk::events::{
    Context, Event, EventError, Handler, HandlerError, MockTracker, Mux, Payload,
};
use serde_json::{Value, json};
use tokio::time::timeout;

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as it should");
    }
}

/// A handler whose end, before its time, panics.
async fn hangs(_: Context, _: Event) -> Result<Event, HandlerError> {
    let _bomb = Bomb;
    std::future::pending().await
}

/// What a tracker was told at the ends.
#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<&'static str>>>);

impl Ends {
    fn tracker(&self) -> MockTracker {
        let ends = self.clone();
        MockTracker {
            end: Some(Box::new(move |context, _, error| {
                ends.0.lock().unwrap().push(match error {
                    Some(EventError::Cancelled) => "cancelled",
                    Some(EventError::TimedOut) => "timed out",
                    _ => "other",
                });
                context
            })),
            ..MockTracker::default()
        }
    }
}

fn of(name: &str, payload: &Value) -> Event {
    Event::new(name, 1, Payload::of(payload).unwrap())
}

async fn reason(mux: &Mux, event: Event) -> Value {
    let answer = mux.call(Context::new(), event).await;
    answer.payload.get::<Value>().unwrap()["reason"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_when_its_time_is_over_is_answered_and_has_an_end() {
    let ends = Ends::default();
    let mux = Mux::builder()
        .tracker(ends.tracker())
        .add("hangs", 1, hangs)
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let got = reason(&mux, of("hangs", &json!(1))).await;
    assert_eq!(got, "EVENT_TIMEOUT");
    assert_eq!(*ends.0.lock().unwrap(), ["timed out"]);
    let item = json!({"name": "hangs", "version": 1});
    let items = of("batch", &json!({"parallel": true, "events": [item, item]}));
    let answer = mux.call(Context::new(), items).await;
    let results: Value = answer.payload.get().unwrap();
    for result in results.as_array().unwrap() {
        assert_eq!(result["payload"]["reason"], "EVENT_TIMEOUT");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_when_its_caller_goes_away_has_an_end() {
    let ends = Ends::default();
    let mux = Mux::builder()
        .tracker(ends.tracker())
        .add("hangs", 1, hangs)
        .build()
        .unwrap();
    let waiting = mux.call(Context::new(), of("hangs", &json!(1)));
    let waited = timeout(Duration::from_secs(1), waiting).await;
    assert!(waited.is_err());
    assert_eq!(*ends.0.lock().unwrap(), ["cancelled"]);
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_panics_when_a_caller_goes_away_harms_nobody() {
    let tracker = MockTracker {
        end: Some(Box::new(|_, _, _| panic!("as it should"))),
        ..MockTracker::default()
    };
    let mux = Mux::builder()
        .tracker(tracker)
        .add("hangs", 1, hangs)
        .build()
        .unwrap();
    let waiting = mux.call(Context::new(), of("hangs", &json!(1)));
    let waited = timeout(Duration::from_secs(1), waiting).await;
    assert!(waited.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_in_the_middle_of_a_batch_ends_it_once() {
    let (ends, begun) = (Ends::default(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&begun);
    let waits = move |_: Context, _: Event| {
        counted.fetch_add(1, Relaxed);
        std::future::pending::<Result<Event, HandlerError>>()
    };
    let mux = Mux::builder()
        .tracker(ends.tracker())
        .add("waits", 1, waits)
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let item = json!({"name": "waits", "version": 1});
    let items = of("batch", &json!({"parallel": true, "events": vec![item; 3]}));
    let waited = timeout(Duration::from_secs(1), mux.call(Context::new(), items)).await;
    assert!(waited.is_err());
    assert_eq!(begun.load(Relaxed), 3);
    assert_eq!(*ends.0.lock().unwrap(), ["cancelled"]);
}

#[tokio::test]
async fn only_what_cannot_be_read_of_the_request_is_the_callers_mistake() {
    async fn reads(_: Context, event: Event) -> Result<Event, HandlerError> {
        let part = match event.name.as_str() {
            "payload" => &event.payload,
            "metadata" => &event.metadata,
            _ => &Payload::raw(r#""a row""#),
        };
        part.get::<u8>()?;
        Ok(event)
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let tracker = MockTracker {
        end: Some(Box::new(move |context, event, error| {
            if let Some(EventError::Handler(error)) = error {
                let is_told = error.message.is_some();
                let name = event.name.clone();
                log.lock().unwrap().push((name, is_told, error.retry));
            }
            context
        })),
        ..MockTracker::default()
    };
    let names = ["payload", "metadata", "row"];
    let mux = names
        .into_iter()
        .fold(Mux::builder(), |mux, name| mux.add(name, 1, reads));
    let mux = mux.tracker(tracker).build().unwrap();
    for name in names {
        let event = Event {
            metadata: Payload::raw("{}"),
            ..of(name, &json!("text"))
        };
        mux.call(Context::new(), event).await;
    }
    let told = told.lock().unwrap().clone();
    let wanted = [
        ("payload".to_owned(), true, false),
        ("metadata".to_owned(), true, false),
        ("row".to_owned(), false, true),
    ];
    assert_eq!(told, wanted);
    // A handler that is called by itself is not given an event: it has it from the test.
    let failed = reads
        .serve(Context::new(), of("payload", &json!("x")))
        .await;
    assert!(failed.unwrap_err().retry);
}
