//! What each manner does with a connection.

use std::{io, sync::atomic::Ordering, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    Manner, Seen,
    request::{self, Begun},
};

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const ACCEPTED_AND_CLOSES: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
/// Between two bytes, or two reads, of one that is slow; no test waits for it.
const SLOWLY: Duration = Duration::from_millis(1);
/// What [`Manner::ReadsSlowly`] reads at a time.
const SIP: usize = 4 * 1024;
/// What is written at a time of what never ends.
const PIECE: usize = 4 * 1024;
/// The header of [`Manner::GiantHeader`].
const GIANT: usize = 1024 * 1024;

/// Answers every request with 202.
pub(super) async fn properly(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Seen,
) -> io::Result<()> {
    while let Some(begun) = request::begin(&mut stream, seen).await? {
        request::finish(&mut stream, &begun).await?;
        stream.write_all(ACCEPTED).await?;
    }
    Ok(())
}

/// Serves one connection in this manner.
pub(super) async fn badly(stream: TcpStream, manner: Manner, seen: &Seen) -> io::Result<()> {
    let mut cage = Cage { stream, seen };
    match manner {
        Manner::Deaf => return std::future::pending().await,
        Manner::ResetsAtAccept => return cage.reset(),
        _ => {}
    }
    let mut number = 0;
    while let Some(begun) = request::begin(&mut cage.stream, seen).await? {
        number += 1;
        if cage.answer(manner, number, &begun).await? == Next::Ends {
            return Ok(());
        }
    }
    Ok(())
}

/// What becomes of the connection.
#[derive(PartialEq, Eq)]
enum Next {
    Goes,
    Ends,
}

struct Cage<'a> {
    stream: TcpStream,
    seen: &'a Seen,
}

impl Cage<'_> {
    /// Answers the `number`th request of the connection, from 1.
    async fn answer(&mut self, manner: Manner, number: usize, begun: &Begun) -> io::Result<Next> {
        match manner {
            Manner::Closes => return Ok(Next::Ends),
            Manner::ClosesKeptConnections if number > 1 => return Ok(Next::Ends),
            Manner::ReadsSlowly => self.sip(begun).await?,
            Manner::AnswersEarly => {
                self.write(ACCEPTED).await?;
                request::finish(&mut self.stream, begun).await?;
                return Ok(Next::Goes);
            }
            _ => request::finish(&mut self.stream, begun).await?,
        }
        self.after_the_request(manner).await
    }

    async fn after_the_request(&mut self, manner: Manner) -> io::Result<Next> {
        match manner {
            Manner::Silent | Manner::Deaf => std::future::pending().await,
            Manner::ClosesUnannounced => {
                self.write(ACCEPTED).await?;
                return Ok(Next::Ends);
            }
            Manner::ClosesEachTime => {
                self.write(ACCEPTED_AND_CLOSES).await?;
                return Ok(Next::Ends);
            }
            Manner::AnswersTwice => self.write(&ACCEPTED.repeat(2)).await?,
            Manner::Drips => {
                for byte in ACCEPTED {
                    self.write(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
            }
            Manner::Trickles => {
                self.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
                    .await?;
                loop {
                    self.write(b"x").await?;
                    tokio::time::sleep(SLOWLY).await;
                }
            }
            Manner::BreaksOff => {
                self.write(HALF).await?;
                return Ok(Next::Ends);
            }
            Manner::ResetsHalfway => {
                self.write(HALF).await?;
                self.reset()?;
                return Ok(Next::Ends);
            }
            Manner::GiantHeader => {
                self.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nx: ")
                    .await?;
                self.write(&vec![b'x'; GIANT]).await?;
                self.write(b"\r\n\r\n").await?;
            }
            Manner::EndlessHeader => {
                self.endless(b"HTTP/1.1 200 OK\r\nx: ", &[b'x'; PIECE])
                    .await?;
            }
            Manner::EndlessHeaders => self.endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n").await?,
            Manner::Endless => {
                let chunk = [&b"1000\r\n"[..], &[b'x'; PIECE], b"\r\n"].concat();
                let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                self.endless(head, &chunk).await?;
            }
            Manner::ManyInterim => {
                self.write(&INTERIM.repeat(100)).await?;
                self.write(ACCEPTED).await?;
            }
            Manner::EndlessInterim => self.endless(b"", INTERIM).await?,
            _ => self.write(&whole(manner, self.seen)).await?,
        }
        Ok(Next::Goes)
    }

    async fn sip(&mut self, begun: &Begun) -> io::Result<()> {
        let mut buffer = [0; SIP];
        let mut left = begun.left;
        while left > 0 {
            tokio::time::sleep(SLOWLY).await;
            match self.stream.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }

    async fn endless(&mut self, head: &[u8], piece: &[u8]) -> io::Result<()> {
        self.write(head).await?;
        loop {
            self.write(piece).await?;
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.stream.write(bytes).await?;
            self.seen
                .written
                .fetch_add(written as u64, Ordering::Relaxed);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Closes so that the other side sees a reset.
    fn reset(&self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

/// An answer that is only its bytes.
fn whole(manner: Manner, seen: &Seen) -> Vec<u8> {
    let no_body = |status: &str, header: &str| {
        format!("HTTP/1.1 {status}\r\n{header}content-length: 0\r\n\r\n").into_bytes()
    };
    let busy = |after: &str| {
        no_body(
            "429 Too Many Requests",
            &format!("retry-after: {after}\r\n"),
        )
    };
    match manner {
        Manner::Garbage => b"220 mail.example.com ESMTP\r\n\r\n".to_vec(),
        Manner::GarbageChunks => {
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n".to_vec()
        }
        Manner::LengthTooShort => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more than that".to_vec()
        }
        Manner::LengthTooLong => HALF.to_vec(),
        Manner::TwoLengths => {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 4\r\n\r\nfour".to_vec()
        }
        Manner::Redirects => no_body("307 Temporary Redirect", "location: /\r\n"),
        Manner::Gone => no_body("410 Gone", ""),
        Manner::Html422 => {
            let page = "<!doctype html><p>No.</p>";
            let length = page.len();
            format!(
                "HTTP/1.1 422 Unprocessable Content\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{page}"
            )
            .into_bytes()
        }
        Manner::RetryAfterGarbage => busy("soon"),
        Manner::RetryAfterHuge => busy("99999999999999999999"),
        Manner::RetryAfterDate => busy("Fri, 31 Dec 9999 23:59:59 GMT"),
        Manner::Flaps if seen.requests.load(Ordering::Relaxed) % 2 == 1 => {
            no_body("503 Service Unavailable", "")
        }
        _ => ACCEPTED.to_vec(),
    }
}
