//! One keep-alive HTTP/1.1 connection, as cheap as can be: the generator shares the cores with what it measures.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Headers of an answer beyond this are not expected of any system under test.
const MOST_HEADERS: usize = 32;
/// An answer's head is far smaller.
const BUFFER_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    target: SocketAddr,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            target,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Writes `request`, reads the whole answer and returns its status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await.context("sending")?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("the connection was closed before the answer was whole");
            }
            filled += read;
            if let Some(Answer { status, length }) = parse(&self.buffer[..filled])? {
                self.skip(length.saturating_sub(filled)).await?;
                return Ok(status);
            }
        }
    }

    async fn skip(&mut self, mut left: usize) -> Result<()> {
        while left > 0 {
            let room = left.min(self.buffer.len());
            match self.stream.read(&mut self.buffer[..room]).await? {
                0 => bail!("the connection was closed within an answer's body"),
                read => left -= read,
            }
        }
        Ok(())
    }
}

/// The head of an answer, and how many bytes head and body have.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    length: usize,
}

/// `None` until the head is whole.
fn parse(bytes: &[u8]) -> Result<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        if bytes.len() == BUFFER_BYTES {
            bail!("an answer's head of more than {BUFFER_BYTES} bytes");
        }
        return Ok(None);
    };
    let header = |name: &str| {
        let found = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value))
    };
    if header("transfer-encoding").is_some() {
        bail!("an answer in chunks, which the generator does not read");
    }
    let body: usize = match header("content-length") {
        Some(text) => text.parse().context("content-length")?,
        None => 0,
    };
    Ok(Some(Answer {
        status: response.code.unwrap_or_default(),
        length: head + body,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_head_is() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nbusway-id: x\r\n\r\nhel";
        for end in 0..text.len() - 3 {
            assert_eq!(parse(&text[..end]).unwrap(), None, "{end}");
        }
        let length = text.len() + 2;
        let expected = Answer {
            status: 202,
            length,
        };
        assert_eq!(parse(text).unwrap(), Some(expected));
    }

    #[test]
    fn what_the_generator_cannot_count_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse(&vec![b'H'; BUFFER_BYTES]).is_err());
    }
}
