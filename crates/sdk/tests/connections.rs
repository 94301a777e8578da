//! How long the SDK's own server keeps a connection, on loopback and in virtual time.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use busway_sdk::events::{Answer, serve};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::yield_now,
    time::{Instant, advance, sleep},
};

/// Longer than any connection without a request is kept.
const LONG: Duration = Duration::from_secs(60);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Answers so many bytes.
#[derive(Clone)]
struct Bytewise(usize);

impl<B> tower::Service<Request<B>> for Bytewise {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from(vec![
            b'x';
            self.0
        ])))))
    }
}

async fn serving(size: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Bytewise(size), std::future::pending()));
    at
}

/// Does something while time stands still: a paused clock goes on whenever nobody has anything to do
/// but to wait for bytes.
async fn at_once<F: Future>(doing: F) -> F::Output {
    let busy = async {
        loop {
            yield_now().await;
        }
    };
    tokio::select! {
        done = doing => done,
        () = busy => unreachable!(),
    }
}

/// Lets time pass, with all that connections have to say meanwhile.
async fn pass(seconds: u64) {
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
        for _ in 0..500 {
            yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_next_request_is_closed() {
    let mut stream = TcpStream::connect(serving(1).await).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    let mut begin = [0; 15];
    at_once(stream.read_exact(&mut begin)).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    // Not before a dispatcher would close it.
    pass(31).await;
    stream.write_all(ASK).await.unwrap();
    pass(39).await;
    stream.write_all(ASK).await.unwrap();
    pass(1).await;
    let begun = Instant::now();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(told.matches("HTTP/1.1 200 OK").count(), 2, "{told}");
    let after = begun.elapsed().as_secs();
    assert!((31..=41).contains(&after), "{after} s");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_its_answer_is_closed() {
    // More than the buffers between.
    const SIZE: usize = 64 * 1024 * 1024;
    let mut stream = TcpStream::connect(serving(SIZE).await).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    sleep(LONG).await;
    let mut read = 0;
    let mut buffer = vec![0; 1024 * 1024];
    // It ends with an error or without.
    while let Ok(more @ 1..) = stream.read(&mut buffer).await {
        read += more;
    }
    assert!((1..SIZE).contains(&read), "{read} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_gets_its_answer() {
    const SIZE: usize = 64 * 1024 * 1024;
    let mut stream = TcpStream::connect(serving(SIZE).await).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    let mut answer = vec![0; SIZE];
    at_once(stream.read_exact(&mut answer)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http_2_that_only_answers_pings_is_closed() {
    let stream = TcpStream::connect(serving(1).await).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = at_once(handshake).await.unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        // A connection that is in use is kept.
        let request = Request::get("http://x/").body(Full::<Bytes>::default());
        let answer = at_once(sender.send_request(request.unwrap())).await;
        at_once(answer.unwrap().into_body().collect())
            .await
            .unwrap();
        pass(30).await;
    }
    let begun = Instant::now();
    while !connection.is_finished() && begun.elapsed() < LONG {
        pass(1).await;
    }
    // 40 s after its last request.
    let after = begun.elapsed().as_secs();
    assert!((9..=12).contains(&after), "{after} s");
    drop(sender);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_http_2_that_never_reads_is_closed() {
    let stream = TcpStream::connect(serving(1024 * 1024).await)
        .await
        .unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1);
    let (mut sender, connection) = at_once(builder.handshake(TokioIo::new(stream)))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://x/").body(Full::<Bytes>::default());
    let answer = at_once(sender.send_request(request.unwrap()))
        .await
        .unwrap();
    pass(30).await;
    assert!(!connection.is_finished());
    pass(15).await;
    assert!(connection.is_finished());
    assert!(answer.into_body().collect().await.is_err());
}
