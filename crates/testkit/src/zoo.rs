//! The subscriber zoo: each way in which a subscriber misbehaves, as one that does so on a real
//! loopback socket.
//!
//! A test of a dispatcher, or of a bus beneath one, puts one beside healthy
//! [`Subscriber`](crate::subscriber::Subscriber)s and asks three things: what became of its
//! messages, how much of an endless answer was read ([`Misbehaving::written`]), and whether the
//! healthy ones noticed. A `match` over [`Manner`] without a wildcard is a table that misses none.

mod answers;
mod request;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub use tls::Authority;

/// Send and receive buffers of a misbehaving subscriber's sockets, in bytes: small, so that what it
/// could write is nearly what was read.
const SOCKET_BUFFER: usize = 16 * 1024;

/// How a [`Misbehaving`] subscriber misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// It accepts, and neither reads nor answers.
    Deaf,
    /// It reads the request and never answers.
    Silent,
    /// It resets each connection as soon as it is there.
    ResetsAtAccept,
    /// It closes without an answer.
    Closes,
    /// It answers 202 on each connection once, and closes at the beginning of the next request.
    ClosesKeptConnections,
    /// It answers 202 and closes, and has not said that it would.
    ClosesUnannounced,
    /// It answers 202 with `connection: close`, each time.
    ClosesEachTime,
    /// It reads the request a little at a time, and answers 202.
    ReadsSlowly,
    /// It answers 202 before it reads the body.
    AnswersEarly,
    /// It answers 202 twice.
    AnswersTwice,
    /// It answers 202, one byte at a time.
    Drips,
    /// It answers 200 with a body that comes so slowly that it never ends.
    Trickles,
    /// It sends the head of an answer and half its body, and closes.
    BreaksOff,
    /// It sends the head of an answer and half its body, and resets the connection.
    ResetsHalfway,
    /// It answers 202 with a header of a mebibyte.
    GiantHeader,
    /// It answers with a header that never ends.
    EndlessHeader,
    /// It answers with one header after the other, without end.
    EndlessHeaders,
    /// It answers 200 with a body that never ends.
    Endless,
    /// It sends a hundred answers 1xx before its 202.
    ManyInterim,
    /// It sends answers 1xx without end.
    EndlessInterim,
    /// It sends what is not HTTP.
    Garbage,
    /// It answers 200 with chunks whose sizes are none.
    GarbageChunks,
    /// Its `content-length` is shorter than its body.
    LengthTooShort,
    /// Its `content-length` is longer than its body, and it waits.
    LengthTooLong,
    /// It says two lengths.
    TwoLengths,
    /// It redirects to itself.
    Redirects,
    /// It says that it is gone, 410.
    Gone,
    /// It answers 422 with an HTML page.
    Html422,
    /// It answers 429 with a `Retry-After` that is neither seconds nor a date.
    RetryAfterGarbage,
    /// It answers 429 and wants to be left alone for longer than there are seconds.
    RetryAfterHuge,
    /// It answers 429 and wants to be left alone until a date far away.
    RetryAfterDate,
    /// It answers 503 and 202 by turns.
    Flaps,
    /// https, with a certificate of the [`Authority`] that ended years ago.
    ExpiredCertificate,
    /// https, with a certificate that it signed itself.
    SelfSignedCertificate,
    /// https, with a certificate of the [`Authority`] for another host.
    WrongHostCertificate,
}

impl Manner {
    /// Every one.
    pub const ALL: [Self; 35] = [
        Self::Deaf,
        Self::Silent,
        Self::ResetsAtAccept,
        Self::Closes,
        Self::ClosesKeptConnections,
        Self::ClosesUnannounced,
        Self::ClosesEachTime,
        Self::ReadsSlowly,
        Self::AnswersEarly,
        Self::AnswersTwice,
        Self::Drips,
        Self::Trickles,
        Self::BreaksOff,
        Self::ResetsHalfway,
        Self::GiantHeader,
        Self::EndlessHeader,
        Self::EndlessHeaders,
        Self::Endless,
        Self::ManyInterim,
        Self::EndlessInterim,
        Self::Garbage,
        Self::GarbageChunks,
        Self::LengthTooShort,
        Self::LengthTooLong,
        Self::TwoLengths,
        Self::Redirects,
        Self::Gone,
        Self::Html422,
        Self::RetryAfterGarbage,
        Self::RetryAfterHuge,
        Self::RetryAfterDate,
        Self::Flaps,
        Self::ExpiredCertificate,
        Self::SelfSignedCertificate,
        Self::WrongHostCertificate,
    ];

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub const fn is_https(self) -> bool {
        matches!(
            self,
            Self::ExpiredCertificate | Self::SelfSignedCertificate | Self::WrongHostCertificate
        )
    }
}

/// A subscriber that misbehaves. It ends when it is dropped.
pub struct Misbehaving {
    manner: Manner,
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What one has seen and done.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    written: AtomicU64,
}

impl Misbehaving {
    /// One of this manner; nobody trusts the authority of its certificate, if it has one.
    ///
    /// # Errors
    /// When no loopback port can be bound, or no certificate made.
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        Self::start_under(manner, &Authority::new()?).await
    }

    /// One of this manner, whose certificate, if it has one and has not signed it itself, is this
    /// authority's.
    ///
    /// # Errors
    /// When no loopback port can be bound, or no certificate made.
    pub async fn start_under(manner: Manner, authority: &Authority) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sockets = SockRef::from(&listener);
        sockets.set_recv_buffer_size(SOCKET_BUFFER)?;
        sockets.set_send_buffer_size(SOCKET_BUFFER)?;
        let tls = authority.acceptor(manner)?;
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, manner, tls, Arc::clone(&seen)));
        Ok(Self {
            manner,
            address,
            seen,
            _tasks: tasks,
        })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.manner.is_https() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}/", self.address)
    }

    /// Connections that it accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Requests whose beginning it has read.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// Bytes of answers that it got rid of: no less than what was read of them, and more only by what
    /// the sockets hold.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.seen.written.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, manner: Manner, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(misbehave(stream, manner, tls.clone(), Arc::clone(&seen)));
        while connections.try_join_next().is_some() {}
    }
}

async fn misbehave(stream: TcpStream, manner: Manner, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    match tls {
        // Whoever trusts it gets a proper answer, so that only the certificate is at fault.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                let _ended = answers::properly(stream, &seen).await;
            }
        }
        None => {
            let _ended = answers::badly(stream, manner, &seen).await;
        }
    }
}

#[cfg(test)]
mod tests;
