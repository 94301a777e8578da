//! What Busway is measured against: hyper doing the same with nothing in between.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

type Pooled = Client<HttpConnector, Full<Bytes>>;

/// A server without a purpose of its own.
#[derive(Debug, Clone)]
pub(crate) struct Bare {
    /// Where each message is POSTed to. None: messages are read and dropped.
    pub(crate) sinks: Vec<Uri>,
    /// Lose every so many deliveries: to show that the loss is noticed.
    pub(crate) lose_every: Option<u64>,
}

impl Bare {
    /// Reads each POST, answers 202, and POSTs the message to all sinks: a task for each delivery, connections from
    /// the pool of hyper-util. Prints `listening messages=ADDRESS` and ends with standard input.
    pub(crate) async fn serve(self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut stdout = tokio::io::stdout();
        let line = format!("listening messages={}\n", listener.local_addr()?);
        stdout.write_all(line.as_bytes()).await?;
        stdout.flush().await?;
        let serving = tokio::spawn(self.accept(listener));
        tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        serving.abort();
        Ok(())
    }

    async fn accept(self, listener: TcpListener) {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Pooled = Client::builder(TokioExecutor::new()).build(connector);
        while let Ok((stream, _)) = listener.accept().await {
            if stream.set_nodelay(true).is_err() {
                continue;
            }
            let (bare, client) = (self.clone(), client.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| bare.take(request, &client));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service);
                // A connection that breaks shows at the generator.
                drop(connection.await);
            });
        }
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        client: &Pooled,
    ) -> Result<Response<Empty<Bytes>>, hyper::Error> {
        let (mut head, body) = request.into_parts();
        let data = body.collect().await?.to_bytes();
        head.headers.remove(header::HOST);
        let number = self.lose_every.map(|every| (every, number_of(&head)));
        for (sink, uri) in (0..).zip(&self.sinks) {
            if let Some((every, number)) = number
                && (number + sink) % every == every - 1
            {
                continue;
            }
            let mut delivery = Request::post(uri.clone()).body(Full::new(data.clone()));
            if let Ok(delivery) = &mut delivery {
                delivery.headers_mut().clone_from(&head.headers);
            }
            let client = client.clone();
            tokio::spawn(async move {
                // A delivery that fails is missing at the sinks, where it is noticed.
                if let Ok(delivery) = delivery
                    && let Ok(answer) = client.request(delivery).await
                {
                    drop(answer.into_body().collect().await);
                }
            });
        }
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = StatusCode::ACCEPTED;
        Ok(answer)
    }
}

fn number_of(head: &http::request::Parts) -> u64 {
    let id = head.headers.get("ce-id").and_then(|id| id.to_str().ok());
    id.and_then(|id| id.rsplit('-').next()?.parse().ok())
        .unwrap_or_default()
}

/// The address of sink `port`.
pub(crate) fn sink_uri(port: u16) -> Result<Uri, http::uri::InvalidUri> {
    Uri::try_from(format!(
        "http://{}/",
        SocketAddr::from(([127, 0, 0, 1], port))
    ))
}
