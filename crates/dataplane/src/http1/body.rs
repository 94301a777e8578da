use bytes::{Buf as _, Bytes, BytesMut};

use super::Malformed;

/// The longest line of a chunk's size, with its extensions.
const MAX_LINE: usize = 4 * 1024;
/// What all sizes together may have beside their digits, and trailers all together: nothing reads either.
const MAX_BESIDE: usize = 16 * 1024;
/// A size of sixteen digits and its line's end.
const PLAIN_LINE: usize = 18;
/// The most trailers.
const MAX_TRAILERS: usize = 100;

/// What is still to come of a body.
#[derive(Clone, Debug)]
pub struct Body(Framing);

#[derive(Clone, Debug)]
enum Framing {
    Length(u64),
    Chunked { next: Chunk, beside: usize },
    UntilClose,
}

#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    End,
}

/// What [`Body::take`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next piece; not empty.
    Piece(Bytes),
    /// More bytes have to come.
    More,
    /// The body is whole.
    End,
}

impl Body {
    /// None at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::of(0)
    }

    pub(super) const fn of(length: u64) -> Self {
        Self(Framing::Length(length))
    }

    pub(super) const fn chunked() -> Self {
        let next = Chunk::Size;
        Self(Framing::Chunked { next, beside: 0 })
    }

    pub(super) const fn until_close() -> Self {
        Self(Framing::UntilClose)
    }

    pub(super) const fn is_until_close(&self) -> bool {
        matches!(self.0, Framing::UntilClose)
    }

    /// Takes what comes next off the front of `bytes`.
    ///
    /// # Errors
    /// When the framing of chunks is broken.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Step, Malformed> {
        match &mut self.0 {
            Framing::Length(0) => Ok(Step::End),
            Framing::Length(left) => Ok(piece(left, bytes)),
            Framing::UntilClose if bytes.is_empty() => Ok(Step::More),
            Framing::UntilClose => Ok(Step::Piece(bytes.split().freeze())),
            Framing::Chunked { next, beside } => chunks(next, beside, bytes),
        }
    }

    /// The connection has ended: whether the body is whole without more.
    ///
    /// # Errors
    /// When it is not.
    pub const fn end(&self) -> Result<(), Malformed> {
        match self.0 {
            Framing::UntilClose | Framing::Length(0) => Ok(()),
            Framing::Chunked {
                next: Chunk::End, ..
            } => Ok(()),
            Framing::Length(_) | Framing::Chunked { .. } => Err(Malformed::CutOff),
        }
    }
}

fn piece(left: &mut u64, bytes: &mut BytesMut) -> Step {
    if bytes.is_empty() {
        return Step::More;
    }
    let there = bytes
        .len()
        .min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= there as u64;
    Step::Piece(bytes.split_to(there).freeze())
}

fn chunks(next: &mut Chunk, beside: &mut usize, bytes: &mut BytesMut) -> Result<Step, Malformed> {
    loop {
        match next {
            Chunk::Size => {
                let size = httparse::parse_chunk_size(bytes).map_err(|_| Malformed::Chunk)?;
                let httparse::Status::Complete((line, size)) = size else {
                    return match bytes.len() {
                        ..=MAX_LINE => Ok(Step::More),
                        _ => Err(Malformed::ChunkTooLarge),
                    };
                };
                *beside += line.saturating_sub(PLAIN_LINE);
                // httparse takes no digits for none, and a bare LF for an extension.
                let told = bytes.get(..line.saturating_sub(1)).unwrap_or_default();
                let has_digits = told.first().is_some_and(u8::is_ascii_hexdigit);
                if !has_digits || told.contains(&b'\n') {
                    return Err(Malformed::Chunk);
                }
                if line > MAX_LINE || *beside > MAX_BESIDE {
                    return Err(Malformed::ChunkTooLarge);
                }
                bytes.advance(line);
                *next = match size {
                    0 => Chunk::Trailers,
                    size => Chunk::Data(size),
                };
            }
            Chunk::Data(0) => *next = Chunk::DataEnd,
            Chunk::Data(left) => return Ok(piece(left, bytes)),
            Chunk::DataEnd => {
                if bytes.len() < 2 {
                    return Ok(Step::More);
                }
                if !bytes.starts_with(b"\r\n") {
                    return Err(Malformed::Chunk);
                }
                bytes.advance(2);
                *next = Chunk::Size;
            }
            Chunk::End => return Ok(Step::End),
            Chunk::Trailers => {
                let mut trailers = [httparse::EMPTY_HEADER; MAX_TRAILERS];
                return match httparse::parse_headers(bytes, &mut trailers) {
                    Ok(httparse::Status::Complete((taken, _))) if taken <= MAX_BESIDE => {
                        bytes.advance(taken);
                        *next = Chunk::End;
                        Ok(Step::End)
                    }
                    Ok(httparse::Status::Partial) if bytes.len() <= MAX_BESIDE => Ok(Step::More),
                    Ok(_) => Err(Malformed::ChunkTooLarge),
                    Err(_) => Err(Malformed::Chunk),
                };
            }
        }
    }
}
