#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;

use busway_core::{address::Destination, world::SystemEntropy};
use busway_message::Message;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};

use super::*;
use crate::dispatcher::link::answer::{Answer, Wanted, read};

fn message(bytes: usize) -> Message {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-id", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "7"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("host", "other"),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Message::new(headers, vec![b'x'; bytes].into())
}

/// POSTs so many bytes, and reads the answer.
async fn post(http: &mut H1, bytes: usize) -> Option<Answer> {
    let to = Destination::parse("http://s.example/path?q=1", "n", "cluster.local").unwrap();
    let message = message(bytes);
    let post = Post::new(&message, &to, None, &SystemEntropy);
    let head = http.send(&post, |_| true).await?;
    let wanted = Wanted {
        reply: true,
        read: 1000,
        keep: 1000,
        budget: None,
    };
    read(head.status, head.headers, http, wanted).await
}

/// What comes is given in these pieces; then the connection breaks, or ends. What is sent goes nowhere.
struct Script {
    pieces: VecDeque<&'static [u8]>,
    breaks: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.pieces.pop_front() {
            // Nothing yet, at the first look; whoever asks again gets the next.
            Some(b"") => return Poll::Pending,
            Some(piece) => buf.put_slice(piece),
            None if self.breaks => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn script(pieces: &[&'static [u8]], breaks: bool) -> H1 {
    // Nothing is there before the request.
    let pieces = [&b""[..]].into_iter().chain(pieces.iter().copied());
    H1::new(Box::new(Script {
        pieces: pieces.collect(),
        breaks,
    }))
}

#[tokio::test]
async fn only_an_orderly_end_ends_a_body_without_a_length() {
    let begun: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\n\r\n{\"par"];
    let ended = post(&mut script(begun, false), 1).await.unwrap();
    assert_eq!((ended.status, &*ended.body), (200, &b"{\"par"[..]));
    assert!(post(&mut script(begun, true), 1).await.is_none());
    let short: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"par"];
    assert!(post(&mut script(short, false), 1).await.is_none());
    assert!(post(&mut script(&[], false), 1).await.is_none());
}

#[tokio::test]
async fn what_nobody_asked_for_is_no_answer_to_the_next_request() {
    let (ours, mut theirs) = duplex(100_000);
    let mut http = H1::new(Box::new(ours));
    let ok = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
    for _ in 0..2 {
        // It waits for its answer; what was there before would be none.
        let (answer, ()) = tokio::join!(post(&mut http, 10), async {
            theirs.read_exact(&mut [0; 1]).await.unwrap();
            theirs.write_all(ok).await.unwrap();
        });
        assert_eq!(answer.unwrap().status, 202);
        assert!(!http.is_closed());
    }
    theirs.write_all(ok).await.unwrap();
    let before = http.read();
    assert!(post(&mut http, 10).await.is_none());
    assert!(http.is_closed());
    assert_eq!(
        http.read(),
        before,
        "no answer had begun: it may be repeated"
    );
}

#[tokio::test]
async fn who_answers_early_and_took_it_may_read_on() {
    for (answer, reads_on) in [("202 Accepted", true), ("413 Too Large", false)] {
        // Less than the request.
        let (ours, mut theirs) = duplex(1000);
        let mut http = H1::new(Box::new(ours));
        let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        let (got, ()) = tokio::join!(post(&mut http, 5000), async {
            theirs.read_exact(&mut [0; 1]).await.unwrap();
            theirs.write_all(text.as_bytes()).await.unwrap();
        });
        assert!(answer.starts_with(&got.unwrap().status.to_string()));
        assert!(http.is_closed(), "of no use while it sends");
        let mut rest = vec![0; 5000];
        let reading = theirs.read_exact(&mut rest);
        let closed = poll_fn(|cx| http.poll_closed(cx));
        tokio::select! {
            biased;
            () = closed => assert!(!reads_on, "{answer}"),
            all = reading => assert!(reads_on && all.is_ok(), "{answer}"),
        }
        assert_eq!(http.closed, !reads_on);
    }
}

#[tokio::test]
async fn no_header_of_a_message_changes_the_framing() {
    let (ours, mut theirs) = duplex(100_000);
    let mut http = H1::new(Box::new(ours));
    let (_, ()) = tokio::join!(post(&mut http, 3), async {
        theirs.read_exact(&mut [0; 1]).await.unwrap();
        theirs
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
    });
    drop(http);
    let mut sent = String::new();
    theirs.read_to_string(&mut sent).await.unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "OST /path?q=1 HTTP/1.1");
    lines.retain(|line| !line.starts_with("traceparent: 00-"));
    assert_eq!(lines, ["host: s.example", "ce-id: 1", "content-length: 3"]);
    assert_eq!(body, "xxx");
}
