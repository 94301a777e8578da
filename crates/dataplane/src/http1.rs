//! How an answer of HTTP/1.1 is read (RFC 9112). Pure: bytes come in as they arrive.
//!
//! Lines are read by httparse, as hyper does it. What is here is which answer it is, how long its body is
//! and whether the connection is good for another request; `docs/adr/0007-answers-of-http1.md` tells why.

mod body;
mod head;

pub use body::{Body, Step};
pub use head::{Answer, Head, MAX_HEAD};

/// Why an answer cannot be read. The connection is of no use after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The status line or a header is none, or there are too many headers.
    #[error("the head is not one of HTTP/1.1")]
    Head,
    /// The head is larger than [`MAX_HEAD`].
    #[error("the head is larger than {MAX_HEAD} bytes")]
    HeadTooLarge,
    /// Two lengths, or one that is no number.
    #[error("the length of the body is not clear")]
    Length,
    /// A chunk without a size, or without its end.
    #[error("a chunk is malformed")]
    Chunk,
    /// Chunk extensions or trailers beyond what is read of them.
    #[error("there is more beside the chunks than is read")]
    ChunkTooLarge,
    /// The connection ended before the body did.
    #[error("the body was cut off")]
    CutOff,
}

#[cfg(test)]
mod tests;
