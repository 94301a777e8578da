//! The client against real servers on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use busway_sdk::events::{
    Client, ClientSettings, Context, Event, HandlerError, Mux, NoAnswer, Outcome, Payload,
    SendError, Settings, new_response, serve,
};
use busway_testkit::subscriber::{Answer, Got, Subscriber};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::Instant,
};

fn event() -> Event {
    Event {
        id: "i".to_owned(),
        flow_id: "f".to_owned(),
        ..Event::new("order placed", 2, Payload::raw(&b"{\"a\": 1.0}"[..]))
    }
}

fn retrying() -> Client {
    Client::new(ClientSettings {
        retries: u32::MAX,
        ..ClientSettings::default()
    })
}

/// A channel that answers so, one answer after the other; the last stays.
async fn channel(statuses: &'static [u16]) -> Subscriber {
    let count = AtomicUsize::new(0);
    Subscriber::answering(move |_, _| {
        let at = count.fetch_add(1, Relaxed).min(statuses.len() - 1);
        Answer::status(statuses[at]).header("busway-id", "m")
    })
    .await
    .unwrap()
}

/// A port that nobody listens on.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[tokio::test]
async fn an_event_is_sent_as_a_cloud_event_in_binary_mode() {
    let channel = channel(&[202]).await;
    let accepted = Client::default().send(&channel.url(), &event()).await;
    assert_eq!(accepted.unwrap().message_id.as_deref(), Some("m"));
    let got = &channel.got()[0];
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "i"),
        ("ce-type", "order%20placed"),
        ("ce-source", "/busway/sdk"),
        ("ce-flowid", "f"),
        ("ce-eventversion", "2"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert!(got.header("ce-time").ends_with('Z'));
    assert_eq!(&got.body[..], b"{\"a\": 1.0}");
}

#[tokio::test]
async fn what_attributes_cannot_say_travels_in_an_envelope() {
    let channel = channel(&[202]).await;
    let event = Event {
        auth: Payload::raw(&br#"{"token":"t"}"#[..]),
        ..event()
    };
    Client::default()
        .send(&channel.url(), &event)
        .await
        .unwrap();
    // A payload that looks like an envelope would be taken for one.
    let like_one = Event {
        payload: Payload::raw(&br#"{"name":"order placed","version":1,"payload":0}"#[..]),
        auth: Payload::default(),
        ..event
    };
    Client::default()
        .send(&channel.url(), &like_one)
        .await
        .unwrap();
    let bodies: Vec<_> = channel.got().iter().map(|got| got.body.clone()).collect();
    assert_eq!(
        &bodies[0][..],
        br#"{"name":"order placed","version":2,"id":"i","flowId":"f","payload":{"a": 1.0},"metadata":{},"identity":{},"auth":{"token":"t"}}"#
    );
    assert!(bodies[1].starts_with(br#"{"name":"order placed","version":2,"id":"i","#));
}

#[tokio::test]
async fn a_flow_that_no_attribute_has_travels_in_an_envelope() {
    let channel = channel(&[202]).await;
    let event = Event {
        flow_id: "f".repeat(1025),
        ..event()
    };
    let sent = Client::default().send(&channel.url(), &event).await;
    sent.unwrap();
    let got = &channel.got()[0];
    assert_eq!(got.header("ce-flowid"), "");
    let body = String::from_utf8(got.body.to_vec()).unwrap();
    assert!(body.contains(&event.flow_id), "{body}");
}

#[tokio::test]
async fn a_202_is_a_202_whatever_becomes_of_its_body() {
    for body in [
        "content-length: 10\r\n\r\nbroken",
        "content-length: 9000000\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let answer = format!("HTTP/1.1 202 Accepted\r\nbusway-id: m\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let accepted = Client::default().send(&url, &event()).await.unwrap();
        assert_eq!(accepted.message_id.as_deref(), Some("m"));
    }
}

#[tokio::test]
async fn a_retry_after_of_more_than_ten_seconds_is_the_callers_to_keep() {
    let channel = Subscriber::answering(|_, _| Answer::status(503).header("retry-after", "11"))
        .await
        .unwrap();
    let failed = retrying().send(&channel.url(), &event()).await;
    assert!(
        matches!(failed, Err(SendError::Refused { retry_after: Some(after), .. }) if after.as_secs() == 11),
        "{failed:?}"
    );
    assert_eq!(channel.got().len(), 1);
}

#[tokio::test]
async fn without_retries_a_refusal_is_told_at_once() {
    let channel = Subscriber::answering(|_, _| Answer::status(503).header("retry-after", "7"))
        .await
        .unwrap();
    match Client::default().send(&channel.url(), &event()).await {
        Err(SendError::Refused {
            status,
            retry_after,
        }) => {
            assert_eq!(status, 503);
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(channel.got().len(), 1);
}

#[tokio::test]
async fn a_retry_after_that_is_a_date_is_told_as_a_time_from_now() {
    let at = std::time::SystemTime::now() + Duration::from_secs(100);
    let at = httpdate(at);
    let channel = Subscriber::answering(move |_, _| Answer::status(429).header("retry-after", &at))
        .await
        .unwrap();
    match Client::default().send(&channel.url(), &event()).await {
        Err(SendError::Refused {
            retry_after: Some(after),
            ..
        }) => assert!((80..=100).contains(&after.as_secs()), "{after:?}"),
        other => panic!("{other:?}"),
    }
}

fn httpdate(at: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .unwrap()
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

#[tokio::test]
async fn refusals_that_pass_are_repeated_with_the_same_id() {
    let channel = channel(&[429, 503, 202]).await;
    retrying().send(&channel.url(), &event()).await.unwrap();
    let ids: Vec<_> = channel
        .got()
        .iter()
        .map(|got| got.header("ce-id").to_owned())
        .collect();
    assert_eq!(ids, ["i", "i", "i"]);
}

#[tokio::test]
async fn an_event_is_repeated_five_times_at_most() {
    let channel = channel(&[503]).await;
    let failed = retrying().send(&channel.url(), &event()).await;
    assert!(
        matches!(failed, Err(SendError::Refused { .. })),
        "{failed:?}"
    );
    assert_eq!(channel.got().len(), 6);
}

#[tokio::test]
async fn refusals_that_stay_are_not_repeated() {
    for status in [400, 404, 413, 500] {
        let channel = Subscriber::answering(move |_, _| Answer::status(status))
            .await
            .unwrap();
        let failed = retrying().send(&channel.url(), &event()).await;
        assert!(
            matches!(failed, Err(SendError::Refused { .. })),
            "{failed:?}"
        );
        assert_eq!(channel.got().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_channel_that_comes_up_gets_the_event_and_a_closed_port_is_told() {
    let failed = Client::default().send(&nowhere().await, &event()).await;
    assert!(matches!(failed, Err(SendError::Connect(_))), "{failed:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/");
    let begun = Instant::now();
    let sending = tokio::spawn(async move { retrying().send(&url, &event()).await });
    // On loopback a connection is refused within the call that asks for it.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let count = Arc::new(AtomicUsize::new(0));
    let server = accepting(
        TcpListener::bind(address).await.unwrap(),
        Arc::clone(&count),
    );
    sending.await.unwrap().unwrap();
    assert_eq!(count.load(Relaxed), 1);
    assert!(
        begun.elapsed() >= Duration::from_millis(100),
        "it was refused at first"
    );
    server.abort();
}

#[tokio::test]
async fn a_call_is_repeated_when_no_connection_was_made() {
    async fn pong(_: Context, event: Event) -> Result<Event, HandlerError> {
        Ok(new_response(&event, "pong")?)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/events");
    let begun = Instant::now();
    let calling = tokio::spawn(async move { retrying().call(&url, &event()).await });
    // On loopback a connection is refused within the call that asks for it.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let mux = Mux::builder().add("order placed", 2, pong).build().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(serve(listener, mux.service(), std::future::pending()));
    let outcome = calling.await.unwrap();
    assert!(matches!(outcome, Outcome::Success(_)), "{outcome:?}");
    assert!(
        begun.elapsed() >= Duration::from_millis(100),
        "it was refused at first"
    );
}

/// Answers 202 to each connection.
fn accepting(listener: TcpListener, count: Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Relaxed);
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    })
}

/// Takes a request and then closes the connection: how many it has got so far.
async fn breaking() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            counted.fetch_add(1, Relaxed);
        }
    });
    (url, count)
}

#[tokio::test]
async fn what_may_have_done_something_is_never_repeated() {
    let (url, count) = breaking().await;
    let failed = retrying().send(&url, &event()).await;
    assert!(matches!(failed, Err(SendError::Broken(_))), "{failed:?}");
    assert_eq!(count.load(Relaxed), 1);
    let failed = retrying().call(&url, &event()).await;
    assert!(
        matches!(failed, Outcome::FailedDependency(NoAnswer::Broken(_))),
        "{failed:?}"
    );
    assert_eq!(count.load(Relaxed), 2);
    let slow = Subscriber::answering(|_, _| Answer::status(202).after(Duration::from_secs(60)))
        .await
        .unwrap();
    let quick = retrying().with_timeout(Duration::from_millis(200));
    let failed = quick.send(&slow.url(), &event()).await;
    assert!(matches!(failed, Err(SendError::Timeout)), "{failed:?}");
    let failed = quick.call(&slow.url(), &event()).await;
    assert!(matches!(failed, Outcome::Timeout), "{failed:?}");
    assert_eq!(slow.got().len(), 2);
    let refusing = channel(&[503]).await;
    let failed = retrying().call(&refusing.url(), &event()).await;
    assert!(
        matches!(failed, Outcome::FailedDependency(NoAnswer::Status(_))),
        "{failed:?}"
    );
    assert_eq!(refusing.got().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_and_not_sent() {
    let channel = channel(&[202]).await;
    let not_json = Event {
        payload: Payload::raw(&b"{"[..]),
        ..event()
    };
    let nameless = Event {
        name: String::new(),
        ..event()
    };
    // What a receiver refuses by the schema.
    let versionless = Event {
        version: 0,
        ..event()
    };
    let null_beside_auth = Event {
        payload: Payload::default(),
        auth: Payload::raw("{}"),
        ..event()
    };
    let auth_of_text = Event {
        auth: Payload::raw("\"t\""),
        ..event()
    };
    let deep = Event {
        payload: Payload::raw(["["; 128].concat() + &["]"; 128].concat()),
        ..event()
    };
    for event in [
        &not_json,
        &nameless,
        &versionless,
        &null_beside_auth,
        &auth_of_text,
        &deep,
    ] {
        let failed = Client::default().send(&channel.url(), event).await;
        assert!(matches!(failed, Err(SendError::Event(_))), "{failed:?}");
    }
    let of_nowhere = Client::new(ClientSettings {
        source: "a b".to_owned(),
        ..ClientSettings::default()
    });
    let failed = of_nowhere.send(&channel.url(), &event()).await;
    assert!(matches!(failed, Err(SendError::Event(_))), "{failed:?}");
    let failed = Client::default().call(&channel.url(), &not_json).await;
    assert!(
        matches!(failed, Outcome::FailedDependency(NoAnswer::Event(_))),
        "{failed:?}"
    );
    for url in [
        "",
        "orders",
        "/a",
        "https://user:secret@x/?key=secret",
        "http://",
    ] {
        match Client::default().send(url, &event()).await {
            Err(SendError::Url(why)) => assert!(!why.contains("secret"), "{why}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    assert!(channel.got().is_empty());
}

#[tokio::test]
async fn an_answer_larger_than_allowed_is_a_failed_dependency() {
    let large = Subscriber::answering(|_, _| Answer::status(200).body(vec![b' '; 2000]))
        .await
        .unwrap();
    let client = Client::new(ClientSettings {
        max_answer: 1999,
        ..ClientSettings::default()
    });
    let failed = client.call(&large.url(), &event()).await;
    assert!(
        matches!(failed, Outcome::FailedDependency(NoAnswer::TooLarge)),
        "{failed:?}"
    );
}

/// A server of these handlers.
async fn served(mux: Mux) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, mux.service(), std::future::pending()));
    url
}

#[tokio::test]
async fn a_service_of_the_sdk_is_called_and_its_answer_told_by_its_name() {
    async fn double(_: Context, event: Event) -> Result<Event, HandlerError> {
        let number: i64 = event.payload.get()?;
        Ok(new_response(&event, &(number * 2))?)
    }
    let url = served(Mux::builder().add("double", 1, double).build().unwrap()).await;
    let client = Client::default();
    let ask = |payload: Payload| Event::new("double", 1, payload);
    match client.call(&url, &ask(Payload::of(&21).unwrap())).await {
        Outcome::Success(answer) => assert_eq!(answer.payload.get::<i64>().unwrap(), 42),
        other => panic!("{other:?}"),
    }
    match client.call(&url, &ask(Payload::of("no").unwrap())).await {
        Outcome::Error { event, .. } => {
            let payload: serde_json::Value = event.payload.get().unwrap();
            let told = payload["message"].as_str().unwrap();
            assert!(told.starts_with("the payload cannot be read: "), "{told}");
        }
        other => panic!("{other:?}"),
    }
}

/// A handler that calls another service, in itself or in a task of its own.
fn forwarding(to: String, client: Client, is_spawned: bool) -> Mux {
    let forward = move |context: Context, event: Event| {
        let (to, client) = (to.clone(), client.clone());
        async move {
            let question = Event::new("question", 1, Payload::of(&1)?);
            let outcome = if is_spawned {
                let client = client.within(context);
                let call = tokio::spawn(async move { client.call(&to, &question).await });
                call.await?
            } else {
                client.call(&to, &question).await
            };
            let told = match outcome {
                Outcome::Timeout => "timeout",
                _ => "answer",
            };
            Ok::<_, HandlerError>(new_response(&event, told)?)
        }
    };
    Mux::builder()
        .settings(Settings {
            handler_timeout: Duration::from_secs(5),
            ..Settings::default()
        })
        .add("forward", 1, forward)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_call_in_a_handler_belongs_to_its_flow_and_ends_with_its_time() {
    for is_spawned in [false, true] {
        let other = Subscriber::answering(|_, _| {
            Answer::status(200).body(r#"{"name":"question:response","version":1}"#)
        })
        .await
        .unwrap();
        let mux = forwarding(other.url(), Client::default(), is_spawned);
        let mut headers = http::HeaderMap::new();
        headers.insert("x-request-id", http::HeaderValue::from_static("r"));
        let event = Event {
            flow_id: "the flow".to_owned(),
            ..Event::new("forward", 1, Payload::default())
        };
        let context = Context::new().with_headers(headers);
        let answer = mux.call(context, event.clone()).await;
        assert_eq!(answer.payload.get::<String>().unwrap(), "answer");
        let got: Got = other.got().remove(0);
        assert_eq!(got.header("x-request-id"), "r");
        let sent: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(sent["flowId"], "the flow");

        let slow = Subscriber::answering(|_, _| Answer::status(200).after(Duration::from_secs(60)))
            .await
            .unwrap();
        let mux = forwarding(slow.url(), Client::default(), is_spawned);
        let soon = Context::new().until(Instant::now() + Duration::from_millis(300));
        let begun = Instant::now();
        mux.call(soon, event).await;
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
    }
}
