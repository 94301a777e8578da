//! As much of HTTP/1.1 as it takes to know where a request ends.

use std::{io, sync::atomic::Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::Seen;

/// The longest head that is read.
const MAX_HEAD: usize = 64 * 1024;

/// The beginning of a request: its head was read, and perhaps some of its body.
pub(super) struct Begun {
    /// Bytes of the body that are still to come.
    pub(super) left: usize,
}

/// Reads until the head of a request is there; nothing when the other side closes first.
pub(super) async fn begin(
    stream: &mut (impl AsyncRead + Unpin),
    seen: &Seen,
) -> io::Result<Option<Begun>> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end.map(|at| at + 4) {
            seen.requests.fetch_add(1, Ordering::Relaxed);
            let head = read.get(..end).unwrap_or_default();
            let here = read.len() - end;
            return Ok(Some(Begun {
                left: length(head).saturating_sub(here),
            }));
        }
        if read.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// Reads the rest of a request's body.
pub(super) async fn finish(stream: &mut (impl AsyncRead + Unpin), begun: &Begun) -> io::Result<()> {
    let mut buffer = [0; 8 * 1024];
    let mut left = begun.left;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// What a head says of its body's length; a dispatcher always says it.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}
