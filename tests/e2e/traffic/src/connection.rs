//! One kept-alive connection, opened when there is none.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// How long a name, a connection and an answer may take together: longer than a pod takes to start.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connection to one URL.
pub(crate) struct Connection {
    url: Uri,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(crate) const fn to(url: Uri) -> Self {
        Self { url, open: None }
    }

    /// Posts one body; anything but a 2xx is an error. A connection that broke is not used again.
    pub(crate) async fn post(&mut self, body: &str) -> anyhow::Result<()> {
        let mut kept = self.open.take();
        if let Some(sender) = &mut kept
            && sender.ready().await.is_err()
        {
            // A server that said it leaves has closed it: that is no failure.
            kept = None;
        }
        let mut sender = match kept {
            Some(sender) => sender,
            None => timeout(ANSWER_WITHIN, self.connect())
                .await
                .context("no connection in time")??,
        };
        let request = Request::post(self.url.path())
            .header(
                header::HOST,
                self.url.authority().map_or("", |host| host.as_str()),
            )
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let answer = timeout(ANSWER_WITHIN, sender.send_request(request))
            .await
            .context("no answer in time")??;
        let status = answer.status();
        let said = timeout(ANSWER_WITHIN, answer.into_body().collect())
            .await
            .context("half an answer in time")??
            .to_bytes();
        self.open = Some(sender);
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let host = self.url.host().context("a URL with a host")?;
        let port = self.url.port_u16().unwrap_or(80);
        let address = lookup_host((host, port))
            .await
            .with_context(|| format!("looking up {host}"))?
            .next()
            .context("a name with an address")?;
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What broke is told to whoever sends on it.
            let _ended = connection.await;
        });
        Ok(sender)
    }
}
