//! One question to one replica: a connection, two requests, bounds on time and size.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{LoadedPage, Peer, Readiness};

/// How long a replica may take for all of it: it answers from memory.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an answer: 100,000 objects of 50 bytes, three times over.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What a replica said.
#[derive(Debug)]
pub(super) enum Said {
    /// Its `/readyz` is not 200.
    NotReady,
    /// What it has loaded.
    Loaded(LoadedPage),
}

/// Why it did not say.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("its address has no host")]
    Address,
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("the connection failed")]
    Connection(#[source] hyper::Error),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the answer is cut off or longer than {MAX_BODY} bytes")]
    Body,
    #[error("the answer cannot be read")]
    Answer(#[source] serde_json::Error),
}

pub(super) async fn ask(peer: &Peer, since: u64) -> Result<Said, AskError> {
    match tokio::time::timeout(TIMEOUT, asked(peer, since)).await {
        Ok(said) => said,
        Err(_) => Err(AskError::Timeout),
    }
}

async fn asked(peer: &Peer, since: u64) -> Result<Said, AskError> {
    let host = peer.url.host_str().ok_or(AskError::Address)?;
    let port = peer.url.port_or_known_default().ok_or(AskError::Address)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(AskError::Connect)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(AskError::Connection)?;
    let authority = format!("{host}:{port}");
    let questions = questions(peer, sender, &authority, since);
    let mut questions = std::pin::pin!(questions);
    // Driven here and not in a task: it ends with the question.
    tokio::select! {
        said = &mut questions => said,
        ended = connection => match ended {
            // The last answer may be in already.
            Ok(()) => questions.await,
            Err(error) => Err(AskError::Connection(error)),
        },
    }
}

async fn questions(
    peer: &Peer,
    mut sender: SendRequest<Empty<Bytes>>,
    authority: &str,
    since: u64,
) -> Result<Said, AskError> {
    if peer.readiness == Readiness::Unknown {
        let (status, _) = get(&mut sender, authority, "/readyz").await?;
        if status != StatusCode::OK {
            return Ok(Said::NotReady);
        }
        sender.ready().await.map_err(AskError::Connection)?;
    }
    let (status, body) = get(
        &mut sender,
        authority,
        &format!("/replica/loaded?since={since}"),
    )
    .await?;
    if status != StatusCode::OK {
        return Err(AskError::Status(status));
    }
    serde_json::from_slice(&body)
        .map(Said::Loaded)
        .map_err(AskError::Answer)
}

async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    authority: &str,
    path: &str,
) -> Result<(StatusCode, Bytes), AskError> {
    let request = Request::get(path)
        .header(header::HOST, authority)
        .body(Empty::new())
        .map_err(AskError::Request)?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(AskError::Connection)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|_| AskError::Body)?.to_bytes();
    Ok((status, body))
}
