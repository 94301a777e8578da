//! The SDK's own server, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use busway_sdk::events::{
    Context, Event, EventError, HandlerError, MockTracker, Mux, Settings, new_response, serve,
};
use busway_testkit::{client, wait};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
const ECHO: &str = r#"{"name":"echo","version":1,"id":"i","flowId":"f","payload":1}"#;
const HANGS: &str = r#"{"name":"hangs","version":1,"id":"i","flowId":"f","payload":1}"#;

async fn echo(_: Context, event: Event) -> Result<Event, HandlerError> {
    Ok(new_response(&event, "echo")?)
}

async fn panics(_: Context, _: Event) -> Result<Event, HandlerError> {
    panic!("as it should")
}

/// A service that listens, and how to end it.
struct Served {
    at: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    /// What `end` of the tracker was told.
    ends: Arc<Mutex<Vec<&'static str>>>,
    /// Handlers of `hangs` that have begun.
    begun: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

impl Served {
    async fn start() -> Self {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&ends);
        let tracker = MockTracker {
            end: Some(Box::new(move |context, _, error| {
                let told = match error {
                    None => "done",
                    Some(EventError::Cancelled) => "cancelled",
                    Some(_) => "failed",
                };
                log.lock().unwrap().push(told);
                context
            })),
            ..MockTracker::default()
        };
        let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, waited) = (Arc::clone(&begun), Arc::clone(&go_on));
        let hangs = move |_: Context, event: Event| {
            let (counted, waited) = (Arc::clone(&counted), Arc::clone(&waited));
            async move {
                counted.fetch_add(1, Relaxed);
                waited.notified().await;
                Ok::<_, HandlerError>(new_response(&event, "went on")?)
            }
        };
        let mux = Mux::builder()
            .settings(Settings {
                max_body: 1000,
                handler_timeout: Duration::from_secs(2),
                ..Settings::default()
            })
            .tracker(tracker)
            .add("echo", 1, echo)
            .add("panics", 1, panics)
            .add("hangs", 1, hangs)
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, mux.service(), async {
            let _ = ended.await;
        }));
        Self {
            at,
            end: Some(end),
            serving,
            ends,
            begun,
            go_on,
        }
    }

    async fn post(&self, body: impl Into<Bytes>) -> client::Answer {
        client::post(self.at, "/events", &[], body).await.unwrap()
    }

    async fn has_begun(&self) {
        wait::until("the handler has begun", DEADLINE, || async {
            match self.begun.load(Relaxed) {
                0 => Err(0),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
    }

    async fn has_ended(&self, how: &'static str) {
        wait::until("the tracker was told", DEADLINE, || async {
            let ends = self.ends.lock().unwrap().clone();
            if ends == [how] {
                Ok(())
            } else {
                Err(format!("{ends:?}"))
            }
        })
        .await
        .unwrap();
    }
}

/// Everything that comes until the connection is closed.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_panic_costs_neither_the_connection_nor_the_next_request() {
    let served = Served::start().await;
    let stream = TcpStream::connect(served.at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for (name, part) in [("panics", "failed"), ("echo", "echo:response")] {
        let body = ECHO.replace("echo", name);
        let request = Request::post("/events").header("host", "x");
        let request = request.body(Full::<Bytes>::from(body)).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(part), "{body}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_handler() {
    let served = Served::start().await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        HANGS.len()
    );
    stream
        .write_all(format!("{head}{HANGS}").as_bytes())
        .await
        .unwrap();
    served.has_begun().await;
    drop(stream);
    served.has_ended("cancelled").await;
    assert_eq!(served.post(ECHO).await.status, 200);
}

#[tokio::test]
async fn a_handler_that_hangs_is_answered_in_its_time() {
    let served = Served::start().await;
    let answer = served.post(HANGS).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("EVENT_TIMEOUT"), "{}", answer.text());
    served.has_ended("failed").await;
}

#[tokio::test]
async fn the_end_waits_for_what_has_begun_and_takes_nothing_new() {
    let mut served = Served::start().await;
    let at = served.at;
    let begun = tokio::spawn(client::post(at, "/events", &[], HANGS));
    served.has_begun().await;
    served.end.take().unwrap().send(()).unwrap();
    wait::until("nobody listens any more", DEADLINE, || async {
        match TcpStream::connect(at).await {
            Err(_) => Ok(()),
            Ok(_) => Err("connected"),
        }
    })
    .await
    .unwrap();
    assert!(!served.serving.is_finished());
    served.go_on.notify_one();
    let answer = begun.await.unwrap().unwrap();
    assert!(answer.text().contains("went on"), "{}", answer.text());
    timeout(DEADLINE, served.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_sender_that_goes_on_sending_gets_its_413() {
    let served = Served::start().await;
    let answer = served.post(vec![b'x'; 1_000_000]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (413, ""));
    // One that asks first is told before it sends.
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head =
        "POST /events HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let told = answer_line(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    // Without a length it is found out.
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = "POST /events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024));
    stream
        .write_all(format!("{head}{chunk}").as_bytes())
        .await
        .unwrap();
    let told = all_of(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
}

async fn answer_line(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let read = timeout(DEADLINE, stream.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let served = Served::start().await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = "POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let told = answer_line(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_to_those_who_know() {
    let served = Served::start().await;
    let stream = TcpStream::connect(served.at).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/events", served.at);
    let request = Request::post(uri).body(Full::<Bytes>::from(ECHO)).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed() {
    let served = Served::start().await;
    for begin in ["", "PRI * HTTP", "POST /events HTTP/1.1\r\nhost"] {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let told = all_of(&mut stream).await;
        assert!(!told.contains("200"), "{told}");
    }
}
