//! Plays the wire vectors of `tests/wire`: requests, and the exact answers to them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_sdk::events::{
    BusStatus, Context, ErrorStyle, Event, HandlerError, MockTracker, Mux, Payload, Settings,
    Validation, batch, new_response,
};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use tower::Service as _;

/// One vector.
#[derive(Debug, Default)]
struct Vector {
    title: String,
    settings: String,
    request_line: String,
    request_headers: Vec<(String, String)>,
    body: String,
    answer: String,
    tracked: String,
}

/// All vectors of a file.
fn vectors(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/wire")
        .join(file);
    let text = fs::read_to_string(path).unwrap();
    let vectors: Vec<_> = text.split("=== ").skip(1).map(vector).collect();
    assert!(!vectors.is_empty(), "{file} has no vectors");
    vectors
}

fn vector(text: &str) -> Vector {
    let mut lines = text.lines();
    let mut vector = Vector {
        title: lines.next().unwrap().to_owned(),
        ..Vector::default()
    };
    let (mut body, mut answer) = (Vec::new(), Vec::new());
    for line in lines {
        if let Some(settings) = line.strip_prefix("@ ") {
            settings.clone_into(&mut vector.settings);
        } else if let Some(line) = line.strip_prefix("> ") {
            match line.split_once(": ") {
                Some((name, value)) => {
                    let header = (name.to_owned(), value.to_owned());
                    vector.request_headers.push(header);
                }
                None => line.clone_into(&mut vector.request_line),
            }
        } else if let Some(tracked) = line.strip_prefix('!') {
            vector.tracked = expanded(tracked.trim());
            break;
        } else if line.starts_with("< ") || !answer.is_empty() {
            answer.push(line.to_owned());
        } else {
            body.push(line.to_owned());
        }
    }
    vector.body = expanded(&body.join("\n"));
    vector.answer = expanded(&answer.join("\n"));
    vector
}

/// With `⟪3×ab⟫` as `ababab`.
fn expanded(text: &str) -> String {
    let mut parts = text.split('⟪');
    let mut expanded = parts.next().unwrap().to_owned();
    for part in parts {
        let (repeated, rest) = part.split_once('⟫').unwrap();
        let (times, what) = repeated.split_once('×').unwrap();
        expanded.push_str(&what.repeat(times.parse().unwrap()));
        expanded.push_str(rest);
    }
    expanded
}

async fn echo(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(Event {
        payload: event.payload.clone(),
        ..new_response(&event, &())?
    })
}

async fn two(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(new_response(&event, "two")?)
}

async fn seen(context: Context, event: Event) -> Result<Event, HandlerError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Seen<'a> {
        metadata: serde_json::Value,
        identity: serde_json::Value,
        auth: serde_json::Value,
        flow_id: &'a str,
        authorization: Option<&'a str>,
        request_id: Option<&'a str>,
    }
    let authorization = context.headers().get("authorization");
    let seen = Seen {
        metadata: event.metadata.get()?,
        identity: event.identity.get()?,
        auth: event.auth.get()?,
        flow_id: context.flow_id(),
        authorization: authorization.and_then(|value| value.to_str().ok()),
        request_id: context.request_id(),
    };
    assert_eq!(context.flow_id(), event.flow_id);
    Ok(new_response(&event, &seen)?)
}

async fn renamed(_: Context, _: Event) -> Result<Event, HandlerError> {
    Ok(Event {
        id: String::new(),
        ..Event::new("whatever", 7, Payload::raw(&b"[1]"[..]))
    })
}

async fn fails(_: Context, _: Event) -> Result<Event, std::io::Error> {
    Err(std::io::Error::other("the disk is full"))
}

async fn refuses(_: Context, _: Event) -> Result<Event, HandlerError> {
    Err(HandlerError::message("sold out").no_retry())
}

async fn answers(_: Context, _: Event) -> Result<Event, HandlerError> {
    let answer = Event {
        id: "own".to_owned(),
        ..Event::new("answers:notFound", 3, Payload::raw(&br#"{"order":7}"#[..]))
    };
    Err(HandlerError::message("not shown").with_answer(answer))
}

async fn number(_: Context, event: Event) -> Result<Event, HandlerError> {
    let number: i64 = event.payload.get()?;
    Ok(new_response(&event, &number)?)
}

/// Of what is not the request's.
async fn asks(_: Context, event: Event) -> Result<Event, HandlerError> {
    let answered: i64 = Payload::raw(r#""what another service said""#).get()?;
    Ok(new_response(&event, &answered)?)
}

async fn panics(_: Context, _: Event) -> Result<Event, HandlerError> {
    panic!("as it should")
}

async fn hangs(_: Context, _: Event) -> Result<Event, HandlerError> {
    std::future::pending().await
}

async fn garbage(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(Event {
        payload: Payload::raw(&b"{oops"[..]),
        ..new_response(&event, &())?
    })
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings {
        handler_timeout: Duration::from_secs(1),
        ..Settings::default()
    };
    for setting in text.split_whitespace() {
        match setting {
            "off" => settings.validation = Validation::Off,
            "typed" => settings.error_style = ErrorStyle::Typed,
            "bus-off" => settings.bus_status = BusStatus::Off,
            "small" => settings.max_body = 100,
            "source" => settings.source = Some("/prices".to_owned()),
            other => panic!("no setting `{other}`"),
        }
    }
    settings
}

/// A tracker that writes down what it is told.
fn tracker(log: &Arc<Mutex<Vec<String>>>) -> MockTracker {
    let write = |log: &Arc<Mutex<Vec<String>>>, what: String| log.lock().unwrap().push(what);
    let with = |is_error: bool| if is_error { "error" } else { "none" };
    let logs: [_; 4] = std::array::from_fn(|_| Arc::clone(log));
    let [start, notice_error, notice_event_error, end] = logs;
    MockTracker {
        start: Some(Box::new(move |context, _, _, _| {
            write(&start, "start".to_owned());
            context
        })),
        notice_error: Some(Box::new(move |context, _| {
            write(&notice_error, "notice_error".to_owned());
            context
        })),
        notice_event_error: Some(Box::new(move |context, _, error| {
            let what = format!("notice_event_error({})", with(error.is_some()));
            write(&notice_event_error, what);
            context
        })),
        end: Some(Box::new(move |context, _, error| {
            write(&end, format!("end({})", with(error.is_some())));
            context
        })),
        ..MockTracker::default()
    }
}

/// What the service does with a vector's request, as a vector says it.
async fn played(vector: &Vector) -> (String, String) {
    let log = Arc::default();
    let inner = Mux::builder().add("inner", 1, echo).build().unwrap();
    let mux = Mux::builder()
        .settings(settings(&vector.settings))
        .tracker(tracker(&log))
        .add("echo", 1, echo)
        .add("echo", 2, two)
        .add("free text", 1, echo)
        .add("seen", 1, seen)
        .add("renamed", 1, renamed)
        .add("fails", 1, fails)
        .add("refuses", 1, refuses)
        .add("answers", 1, answers)
        .add("number", 1, number)
        .add("asks", 1, asks)
        .add("panics", 1, panics)
        .add("hangs", 1, hangs)
        .add("garbage", 1, garbage)
        .add_batch("batch", 1)
        .add("inner batch", 1, batch(inner))
        .build()
        .unwrap();
    let (method, path) = vector.request_line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in &vector.request_headers {
        request = request.header(name, value);
    }
    let body = Full::new(bytes::Bytes::from(vector.body.clone()));
    let answer = mux
        .service()
        .call(request.body(body).unwrap())
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut shown = format!("< {}", head.status.as_u16());
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), text(v)))
        .collect();
    headers.sort();
    for (name, value) in headers {
        let value = if name == "ce-time" {
            time(&value)
        } else {
            value
        };
        write!(shown, "\n< {name}: {value}").unwrap();
    }
    if !body.is_empty() {
        write!(shown, "\n{}", body.replace('\n', "⏎")).unwrap();
    }
    let tracked = log.lock().unwrap().join(", ");
    (without_times(&without_uuids(&shown)), tracked)
}

fn time(text: &str) -> String {
    assert!(text.parse::<jiff::Timestamp>().is_ok(), "{text}");
    "<time>".to_owned()
}

fn without_times(text: &str) -> String {
    const MEMBER: &str = "\"time\":\"";
    let Some((before, after)) = text.split_once(MEMBER) else {
        return text.to_owned();
    };
    let (value, rest) = after.split_once('"').unwrap();
    format!("{before}{MEMBER}{}\"{rest}", time(value))
}

/// With each UUID of version 4 as `<uuid>`.
fn without_uuids(text: &str) -> String {
    let is_uuid = |candidate: &[u8]| {
        candidate.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'4',
            19 => b"89ab".contains(byte),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
    };
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match rest.split_at_checked(36) {
            Some((candidate, beyond)) if is_uuid(candidate) => {
                out.extend_from_slice(b"<uuid>");
                rest = beyond;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

/// Text of any length for people.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 2000 {
        return text.to_owned();
    }
    text.chars()
        .take(2000)
        .chain("… (and more)".chars())
        .collect()
}

async fn play(file: &str) {
    let mut wrong = String::new();
    for vector in vectors(file) {
        let (answer, tracked) = played(&vector).await;
        if answer != vector.answer || tracked != vector.tracked {
            let title = &vector.title;
            let (got, want) = (shortened(&answer), shortened(&vector.answer));
            write!(
                wrong,
                "\n=== {title}\ngot\n{got}\n! {}\nwanted\n{want}\n! {}\n",
                shortened(&tracked),
                shortened(&vector.tracked)
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{file}{wrong}");
}

#[tokio::test(start_paused = true)]
async fn every_row_of_the_endpoint_is_answered_as_it_says() {
    play("endpoint.txt").await;
}

#[tokio::test(start_paused = true)]
async fn an_envelope_is_read_by_the_schema() {
    play("envelope.txt").await;
}

#[tokio::test(start_paused = true)]
async fn without_the_schema_an_envelope_is_read_as_go_events_does() {
    play("off.txt").await;
}

#[tokio::test(start_paused = true)]
async fn typed_errors_have_a_name_that_says_what_they_are() {
    play("typed.txt").await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_a_result_for_each_item_and_its_limits_hold() {
    play("batch.txt").await;
}

#[tokio::test(start_paused = true)]
async fn on_the_bus_the_status_says_what_to_do_and_answers_are_not_answered() {
    play("bus.txt").await;
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_is_an_event_and_its_answer_is_one_in_the_same_mode() {
    play("cloud_events.txt").await;
}

#[test]
fn every_file_of_vectors_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let source = include_str!("wire.rs");
    for file in fs::read_dir(folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let played = source.contains(&format!("play(\"{name}\")"));
        assert!(played || name == "README.md", "{name} is not played");
    }
}
