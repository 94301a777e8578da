//! One HTTP request over a connection of its own.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long an exchange may take: on loopback only a server that hangs takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// POSTs to a path.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn post(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(to, request.body(Full::new(body.into()))?).await
}

/// GETs a path.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn get(from: SocketAddr, path: &str) -> Result<Answer> {
    send(from, Request::get(path).body(Full::default())?).await
}

/// Sends a request; the address is its Host, where it has none.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn send(to: SocketAddr, mut request: Request<Full<Bytes>>) -> Result<Answer> {
    if !request.headers().contains_key("host") {
        request
            .headers_mut()
            .insert("host", to.to_string().parse()?);
    }
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        driver.abort();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("no answer from {to} within {DEADLINE:?}"))?
}
