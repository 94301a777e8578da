//! Handlers, trackers and batches, without a network.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use busway_sdk::events::{
    Context, Event, EventError, Handler, HandlerError, MAX_PARALLEL, MockTracker, Mux, MuxError,
    Payload, Settings, batch, new_error, new_error_with_metadata, new_response,
};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::Service as _;

async fn echo(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(Event {
        payload: event.payload.clone(),
        ..new_response(&event, &())?
    })
}

async fn panics(_: Context, _: Event) -> Result<Event, HandlerError> {
    panic!("as it should")
}

fn of(name: &str, payload: &Value) -> Event {
    Event::new(name, 1, Payload::of(payload).unwrap())
}

async fn call(mux: &Mux, event: Event) -> Event {
    mux.call(Context::new(), event).await
}

#[tokio::test]
async fn what_was_added_is_found() {
    let mux = Mux::builder().add("mock", 1, echo).build().unwrap();
    let answer = call(&mux, of("mock", &json!([1]))).await;
    assert_eq!(answer.name, "mock:response");
    assert_eq!(answer.payload.get::<Value>().unwrap(), json!([1]));
    assert_eq!(
        call(&mux, Event::new("mock", 2, Payload::default()))
            .await
            .name,
        "error"
    );
}

#[test]
fn two_handlers_for_one_event_are_an_error_at_the_start() {
    let twice = Mux::builder()
        .add("mock", 1, echo)
        .add("mock", 2, echo)
        .add("other", 1, echo)
        .add_batch("mock", 1);
    let error = twice.build().unwrap_err();
    let name = "mock".to_owned();
    assert_eq!(error, MuxError::Duplicate { name, version: 1 });
    assert_eq!(error.to_string(), "two handlers for event `mock` version 1");
    assert_eq!(error.reason(), "DuplicateHandler");
}

#[test]
fn a_source_that_can_be_none_is_an_error_at_the_start() {
    for (source, is_one) in [
        ("/prices", true),
        ("urn:prices", true),
        ("", false),
        ("a b", false),
        ("/a\n", false),
        (&"x".repeat(1024), true),
        (&"x".repeat(1025), false),
    ] {
        let settings = Settings {
            source: Some(source.to_owned()),
            ..Settings::default()
        };
        match Mux::builder().settings(settings).build() {
            Ok(_) => assert!(is_one, "{source}"),
            Err(error) => {
                assert!(!is_one, "{source}");
                assert_eq!(error.reason(), "InvalidSource");
            }
        }
    }
}

#[test]
fn an_error_with_metadata_round_trips() {
    let error = new_error_with_metadata("f", "sold out", &json!({"order": 7})).unwrap();
    assert_eq!(error.flow_id, "f");
    assert_eq!(error.metadata.get::<Value>().unwrap(), json!({"order": 7}));
    let payload: Value = error.payload.get().unwrap();
    assert_eq!(payload["message"], "sold out");
    assert!(!new_error("", "sold out").flow_id.is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_an_error_to_a_caller_without_network_too() {
    async fn garbage(_: Context, _: Event) -> Result<Event, HandlerError> {
        Ok(Event::new("x", 1, Payload::raw(&b"{"[..])))
    }
    let tracker = Arc::new(MockTracker::default());
    let mux = Mux::builder()
        .tracker(Arc::clone(&tracker))
        .add("garbage", 1, garbage)
        .build()
        .unwrap();
    let answer = call(&mux, of("garbage", &json!(1))).await;
    assert_eq!(answer.name, "error");
    assert_eq!(tracker.start_count(), 1);
    assert_eq!(tracker.end_count(), 1);
    assert_eq!(tracker.notice_event_error_count(), 1);
}

#[tokio::test]
async fn what_a_tracker_adds_is_there_for_the_handler_and_at_the_end() {
    #[derive(Clone)]
    struct Started(&'static str);

    let ended = Arc::new(Mutex::new(None));
    let at_end = Arc::clone(&ended);
    let tracker = MockTracker {
        start: Some(Box::new(|context, event, request, response| {
            assert_eq!(event.name, "which");
            assert_eq!(request.uri.path(), "/events");
            response.insert("x-tracked", http::HeaderValue::from_static("yes"));
            context.with(Started("by the tracker"))
        })),
        end: Some(Box::new(move |context, _, _| {
            *at_end.lock().unwrap() = context.get::<Started>().map(|it| it.0);
            context
        })),
        ..MockTracker::default()
    };
    async fn which(context: Context, event: Event) -> Result<Event, HandlerError> {
        let started = context.get::<Started>().map(|started| started.0);
        // Inside of the handler it is there without being handed over, too.
        let current = Context::current().unwrap();
        assert_eq!(current.get::<Started>().map(|started| started.0), started);
        assert_eq!(
            context.get::<u32>(),
            Some(&7),
            "the request's extensions are there"
        );
        Ok(new_response(&event, &started)?)
    }
    let mux = Mux::builder()
        .tracker(tracker)
        .add("which", 1, which)
        .build()
        .unwrap();
    let body = r#"{"name":"which","version":1,"id":"i","flowId":"f","payload":1}"#;
    let request = Request::post("/events").extension(7u32);
    let request = request.body(Full::<bytes::Bytes>::from(body)).unwrap();
    let answer = mux.service().call(request).await.unwrap();
    assert_eq!(answer.headers()["x-tracked"], "yes");
    assert_eq!(*ended.lock().unwrap(), Some("by the tracker"));
    assert!(Context::current().is_none());
}

#[tokio::test]
async fn trackers_are_told_what_happened_and_callers_are_not() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let tracker = MockTracker {
        end: Some(Box::new(move |context, _, error| {
            let error = error.unwrap();
            let text = format!("{} {error}", error.reason());
            log.lock().unwrap().push(text);
            context
        })),
        ..MockTracker::default()
    };
    async fn fails(_: Context, _: Event) -> Result<Event, std::io::Error> {
        Err(std::io::Error::other("the disk is full"))
    }
    let mux = Mux::builder()
        .tracker(tracker)
        .add("panics", 1, panics)
        .add("fails", 1, fails)
        .build()
        .unwrap();
    for name in ["panics", "fails"] {
        let answer = call(&mux, of(name, &json!(1))).await;
        let payload: Value = answer.payload.get().unwrap();
        assert_eq!(payload["message"], format!("Event \"{name}\" failed"));
    }
    assert_eq!(
        *told.lock().unwrap(),
        [
            "UNHANDLED_ERROR the handler panicked: as it should",
            "UNHANDLED_ERROR the disk is full"
        ]
    );
}

#[tokio::test]
async fn a_tracker_that_panics_costs_its_own_request_only() {
    let tracker = MockTracker {
        start: Some(Box::new(|_, _, _, _| panic!("as it should"))),
        ..MockTracker::default()
    };
    let mux = Mux::builder()
        .tracker(tracker)
        .add("echo", 1, echo)
        .build()
        .unwrap();
    for _ in 0..2 {
        let body = r#"{"name":"echo","version":1,"id":"i","flowId":"f","payload":1}"#;
        let request = Request::post("/").body(Full::<bytes::Bytes>::from(body));
        let answer = mux.events().call(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_and_what_it_spawned_is_told() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (told, was_told) = tokio::sync::mpsc::unbounded_channel();
    let counted = Arc::clone(&dropped);
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let hangs = move |context: Context, _: Event| {
        let dropped = Dropped(Arc::clone(&counted));
        let told = told.clone();
        async move {
            let _dropped = dropped;
            assert!(context.remaining().unwrap() <= Duration::from_secs(25));
            tokio::spawn(async move {
                context.cancelled().await;
                let _ = told.send(context.is_cancelled());
            });
            std::future::pending::<Result<Event, HandlerError>>().await
        }
    };
    let mux = Mux::builder().add("hangs", 1, hangs).build().unwrap();
    let begun = Instant::now();
    let answer = call(&mux, of("hangs", &json!(1))).await;
    assert_eq!(begun.elapsed().as_secs(), 25);
    let payload: Value = answer.payload.get().unwrap();
    assert_eq!(payload["reason"], "EVENT_TIMEOUT");
    assert_eq!(dropped.load(Relaxed), 1);
    let mut was_told = was_told;
    assert_eq!(was_told.recv().await, Some(true));
}

#[tokio::test]
async fn a_request_that_is_cancelled_has_an_end_and_its_handler_is_dropped() {
    let cancelled = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&cancelled);
    let tracker = Arc::new(MockTracker {
        end: Some(Box::new(move |context, _, error| {
            let is_cancelled = matches!(error, Some(EventError::Cancelled));
            log.lock()
                .unwrap()
                .push((is_cancelled, context.is_cancelled()));
            context
        })),
        ..MockTracker::default()
    });
    async fn hangs(_: Context, _: Event) -> Result<Event, HandlerError> {
        std::future::pending().await
    }
    let mux = Mux::builder()
        .tracker(Arc::clone(&tracker))
        .add("hangs", 1, hangs)
        .build()
        .unwrap();
    let waiting = call(&mux, of("hangs", &json!(1)));
    let waited = tokio::time::timeout(Duration::from_millis(10), waiting).await;
    assert!(waited.is_err());
    assert_eq!(*cancelled.lock().unwrap(), [(true, true)]);
    assert_eq!(tracker.end_count(), 1);
}

/// Counts how many run at once.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

fn counting(counts: &Arc<AtOnce>) -> impl Handler {
    let counts = Arc::clone(counts);
    move |_: Context, event: Event| {
        let counts = Arc::clone(&counts);
        async move {
            let now = counts.now.fetch_add(1, Relaxed) + 1;
            counts.most.fetch_max(now, Relaxed);
            // Later ones end first.
            let number: u64 = event.payload.get()?;
            sleep(Duration::from_millis(100 - number)).await;
            counts.now.fetch_sub(1, Relaxed);
            Ok::<_, HandlerError>(new_response(&event, &number)?)
        }
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Value> {
    let item = |number| json!({"name": "count", "version": 1, "id": "i", "payload": number});
    range.map(item).collect()
}

#[tokio::test(start_paused = true)]
async fn a_parallel_batch_runs_sixteen_at_once_on_all_levels_and_keeps_the_order() {
    let counts = Arc::new(AtOnce::default());
    let mux = Mux::builder()
        .add("count", 1, counting(&counts))
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let flat = json!({"parallel": true, "events": numbers(0..50)});
    let answer = call(&mux, of("batch", &flat)).await;
    let results: Vec<Value> = answer.payload.get().unwrap();
    let got: Vec<_> = results
        .iter()
        .map(|it| it["payload"].as_u64().unwrap())
        .collect();
    assert_eq!(got, (0..50).collect::<Vec<_>>());
    assert_eq!(counts.most.swap(0, Relaxed), MAX_PARALLEL);

    let inner = json!({"name": "batch", "version": 1, "id": "b", "payload": {"parallel": true, "events": numbers(0..20)}});
    let nested = json!({"parallel": true, "events": vec![inner; 10]});
    let answer = call(&mux, of("batch", &nested)).await;
    assert_eq!(answer.payload.get::<Vec<Value>>().unwrap().len(), 10);
    assert_eq!(counts.most.swap(0, Relaxed), MAX_PARALLEL);

    let one_by_one = json!({"events": numbers(0..10)});
    call(&mux, of("batch", &one_by_one)).await;
    assert_eq!(counts.most.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_what_was_done_in_its_time_also_in_parallel() {
    let counts = Arc::new(AtOnce::default());
    let mux = Mux::builder()
        .settings(Settings {
            handler_timeout: Duration::from_millis(150),
            ..Settings::default()
        })
        .add("count", 1, counting(&counts))
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let many = json!({"parallel": true, "events": numbers(0..40)});
    let begun = Instant::now();
    let answer = call(&mux, of("batch", &many)).await;
    assert_eq!(begun.elapsed(), Duration::from_millis(150));
    let results: Vec<Value> = answer.payload.get().unwrap();
    assert_eq!(results.len(), 40);
    let done = results
        .iter()
        .filter(|it| it["name"] == "count:response")
        .count();
    let late = results
        .iter()
        .filter(|it| it["payload"]["reason"] == "EVENT_TIMEOUT")
        .count();
    assert_eq!((done, late), (16, 24));
}

#[tokio::test(start_paused = true)]
async fn what_a_late_item_of_a_batch_spawned_is_told() {
    let (told, mut was_told) = tokio::sync::mpsc::unbounded_channel();
    let hangs = move |context: Context, _: Event| {
        let told = told.clone();
        async move {
            tokio::spawn(async move {
                context.cancelled().await;
                let _ = told.send(());
            });
            std::future::pending::<Result<Event, HandlerError>>().await
        }
    };
    let mux = Mux::builder()
        .add("hangs", 1, hangs)
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let items = json!({"events": [{"name": "hangs", "version": 1}]});
    call(&mux, of("batch", &items)).await;
    assert_eq!(was_told.recv().await, Some(()));
}

#[tokio::test]
async fn a_batch_can_be_part_of_a_handler_of_ones_own() {
    let inner = Mux::builder().add("echo", 1, echo).build().unwrap();
    let guarded = {
        let inner = Arc::new(batch(inner));
        move |context: Context, event: Event| {
            let inner = Arc::clone(&inner);
            async move {
                if event.auth.is_unset() {
                    return Err(HandlerError::message("who are you?").no_retry());
                }
                inner.serve(context, event).await
            }
        }
    };
    let mux = Mux::builder().add("guarded", 1, guarded).build().unwrap();
    let items = json!({"events": [{"name": "echo", "version": 1, "id": "1", "payload": 5}]});
    let refused = call(&mux, of("guarded", &items)).await;
    assert_eq!(refused.name, "error");
    let known = Event {
        auth: Payload::of(&json!({"token": "t"})).unwrap(),
        ..of("guarded", &items)
    };
    let answer = call(&mux, known.clone()).await;
    assert_eq!(answer.payload.get::<Value>().unwrap()[0]["payload"], 5);
    assert!(answer.auth.is_unset() && answer.identity.is_unset());
    let none = Event {
        payload: Payload::of(&7).unwrap(),
        ..known
    };
    let payload: Value = call(&mux, none).await.payload.get().unwrap();
    assert_eq!(payload["reason"], "INVALID_COMMUNICATION_PROTOCOL");
}

#[tokio::test]
async fn an_item_of_a_batch_has_its_own_flow_and_no_item_shows_the_batchs_credentials() {
    async fn seen(context: Context, event: Event) -> Result<Event, HandlerError> {
        assert!(event.auth.is_unset());
        Ok(new_response(&event, context.flow_id())?)
    }
    let mux = Mux::builder()
        .add("seen", 1, seen)
        .add_batch("batch", 1)
        .build()
        .unwrap();
    let items = json!({"events": [
        {"name": "seen", "version": 1, "flowId": "own"},
        {"name": "seen", "version": 1},
    ]});
    let event = Event {
        flow_id: "the batch's".to_owned(),
        auth: Payload::of(&json!({"token": "t"})).unwrap(),
        ..of("batch", &items)
    };
    let results: Value = call(&mux, event).await.payload.get().unwrap();
    assert_eq!(results[0]["payload"], "own");
    assert_eq!(results[1]["payload"], "the batch's");
    assert_eq!(results[1]["flowId"], "the batch's");
}
