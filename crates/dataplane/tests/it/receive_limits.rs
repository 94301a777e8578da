//! Bounds of the receiver: sizes, times, memory, connections.

use std::time::Duration;

use busway_testkit::wait::until;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::harness::{DEADLINE, Harness, Response};

fn bounded(with: impl FnOnce(&mut busway_core::routes::ReceiverSettings)) -> Harness {
    let h = Harness::start();
    with(&mut h.settings.lock().unwrap());
    h.publish();
    h
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let h = bounded(|s| s.max_body = 10);
    assert_eq!(h.post("/shop/orders", &[], "0123456789").await.status, 202);
    // Announced: nothing of it has to be sent.
    let announced = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n";
    let response = h.raw(announced).await;
    assert_eq!((response.status, &*response.problem()), (413, "too-large"));
    assert!(response.body.contains("10 bytes"), "{}", response.body);
    assert_eq!(response.header("connection"), "close");
    // Not announced: it is counted.
    let chunked = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n";
    assert_eq!(h.raw(chunked).await.status, 413);
    assert_eq!(h.bus.published().len(), 1);
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_arrives_whole() {
    let h = Harness::start();
    let body: String = ('a'..='z').cycle().take(1024 * 1024).collect();
    assert_eq!(h.post("/shop/orders", &[], &body).await.status, 202);
    let (_, message) = h.bus.published().pop().unwrap();
    assert!(message.body() == body.as_bytes());
    let response = h.post("/shop/orders", &[], &format!("{body}a")).await;
    assert_eq!(response.status, 413);
    assert!(response.body.contains("1048576 bytes"), "{}", response.body);
}

#[tokio::test]
async fn a_sender_that_goes_on_sending_still_gets_its_413() {
    let h = bounded(|s| s.max_body = 1000);
    let mut stream = TcpStream::connect(h.address()).await.unwrap();
    let head = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let chunk = [&b"400\r\n"[..], &[b'x'; 1024], b"\r\n"].concat();
    for _ in 0..500 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    assert_eq!(Response::parse(&text).status, 413);
}

#[tokio::test]
async fn expect_100_continue_is_answered_only_when_the_body_is_wanted() {
    let h = bounded(|s| s.max_body = 10);
    for (length, status) in [(5, 202), (11, 413)] {
        let mut stream = TcpStream::connect(h.address()).await.unwrap();
        let head = format!(
            "POST /shop/orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = vec![0; 12];
        stream.read_exact(&mut first).await.unwrap();
        if status == 413 {
            assert_eq!(first, b"HTTP/1.1 413");
            continue;
        }
        assert_eq!(first, b"HTTP/1.1 100");
        stream.write_all(b"hello").await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("HTTP/1.1 202"), "{rest}");
    }
}

#[tokio::test]
async fn a_slow_header_is_answered_408_and_the_connection_closed() {
    let h = bounded(|s| s.header_timeout = Duration::from_millis(100));
    for beginning in [&b""[..], b"POST /shop/orders HTTP/1.1\r\nhost"] {
        let response = h.raw(beginning).await;
        assert_eq!(
            (response.status, &*response.problem()),
            (408, "slow-header")
        );
        assert_eq!(response.header("connection"), "close");
    }
    // Also on a connection that has carried a request.
    let mut stream = TcpStream::connect(h.address()).await.unwrap();
    let whole = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(whole).await.unwrap();
    let mut first = vec![0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(first, b"HTTP/1.1 202");
    stream.write_all(b"POST /sh").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("HTTP/1.1 408"), "{rest}");
    assert_eq!(h.metric("busway_receiver_header_timeouts", &[]), 3);
}

#[tokio::test]
async fn a_slow_body_is_answered_408_and_the_connection_closed() {
    let h = bounded(|s| s.body_timeout = Duration::from_millis(100));
    let response = h
        .raw(b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
        .await;
    assert_eq!((response.status, &*response.problem()), (408, "slow-body"));
    assert_eq!(response.header("connection"), "close");
    assert!(h.bus.published().is_empty());
}

#[tokio::test]
async fn over_the_memory_bound_the_answer_is_503() {
    let h = bounded(|s| s.max_memory = 100);
    let response = h.post("/shop/orders", &[], &"x".repeat(101)).await;
    assert_eq!((response.status, &*response.problem()), (503, "overloaded"));
    assert_eq!(response.header("retry-after"), "1");
    // What is given back can be taken again.
    for _ in 0..3 {
        assert_eq!(
            h.post("/shop/orders", &[], &"x".repeat(90)).await.status,
            202
        );
    }
}

#[tokio::test]
async fn connections_over_the_bound_are_refused() {
    let h = bounded(|s| s.max_connections = 2);
    let held = [
        TcpStream::connect(h.address()).await.unwrap(),
        TcpStream::connect(h.address()).await.unwrap(),
    ];
    h.wait_metric("busway_receiver_connections", &[], 2).await;
    let mut third = TcpStream::connect(h.address()).await.unwrap();
    let mut text = Vec::new();
    third.read_to_end(&mut text).await.unwrap();
    let response = Response::parse(&text);
    assert_eq!(
        (response.status, &*response.problem()),
        (503, "too-many-connections")
    );
    drop(held);
    h.wait_metric("busway_receiver_connections", &[], 0).await;
    h.send("again").await;
}

#[tokio::test]
async fn what_is_not_http_is_answered_400() {
    let h = Harness::start();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"POST /shop/orders HTTP/1.1\r\nho st: x\r\n\r\n",
        b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
        b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /shop/ord\xffers HTTP/9.9\r\nhost: x\r\n\r\n",
    ] {
        assert_eq!(h.raw(bytes).await.status, 400, "{}", bytes.escape_ascii());
    }
    assert!(h.bus.published().is_empty());
}

#[tokio::test]
async fn an_endless_header_is_answered_431() {
    let h = Harness::start();
    let mut stream = TcpStream::connect(h.address()).await.unwrap();
    stream
        .write_all(b"POST /shop/orders HTTP/1.1\r\nx: ")
        .await
        .unwrap();
    for _ in 0..100 {
        if stream.write_all(&[b'x'; 1024]).await.is_err() {
            break;
        }
    }
    let mut text = Vec::new();
    let _reset = stream.read_to_end(&mut text).await;
    assert_eq!(Response::parse(&text).status, 431);
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing_and_leaves_nothing() {
    let h = Harness::start();
    let mut stream = TcpStream::connect(h.address()).await.unwrap();
    let head = b"POST /shop/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc";
    stream.write_all(head).await.unwrap();
    drop(stream);
    until("the connection is gone", DEADLINE, || async {
        match h.metric("busway_receiver_connections", &[]) {
            0 if h.metric("busway_receiver_connections_opened", &[]) == 1 => Ok(()),
            open => Err(open),
        }
    })
    .await
    .unwrap();
    assert!(h.bus.published().is_empty());
    assert!(
        h.dataplane
            .metrics()
            .encode()
            .contains("busway_memory_bytes 0")
    );
}
