//! `busway post`: sends one message to a channel, and can wait until it arrives.

mod arrivals;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http::{
    HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use arrivals::Arrivals;

/// How long one try may take, connecting included.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before the next try, after a refusal.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for an accepted message before another is sent: one that was accepted before its subscription was
/// there never arrives.
const RESEND: Duration = Duration::from_secs(5);
/// An answer is a line.
const MAX_ANSWER: usize = 64 * 1024;
/// The header of an answer and of a delivery that names the message.
const ID: &str = "busway-id";

/// `busway post`
#[derive(Clone, Debug, Args)]
pub struct PostArgs {
    /// The channel's address, such as `http://orders-channel.shop`.
    #[arg(value_name = "URL")]
    pub to: Uri,

    /// The message.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub data: String,

    /// A header of the message; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,

    /// Try again for so long, while nobody answers or the answer is 404, 429 or 5xx. Ends with 1 when it is over.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = busway_api::text::parse_duration)]
    pub within: Duration,

    /// Be the subscriber: listen here, and end only when the message has arrived, within --within. Another is sent
    /// every few seconds.
    #[arg(long, value_name = "ADDR", requires = "within")]
    pub arrives_at: Option<SocketAddr>,
}

/// A try that came to nothing.
enum Refused {
    /// Another try may do better.
    ForNow(anyhow::Error),
    /// It will not.
    ForGood(anyhow::Error),
}

/// Sends it, and says to standard output what came of it.
///
/// # Errors
/// When it is not accepted, or does not arrive, in time; the message says what was last seen.
pub async fn run(args: PostArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let deadline = started + args.within;
    let arrivals = match args.arrives_at {
        Some(at) => Some(Arrivals::listen(at).await?),
        None => None,
    };
    let mut posted = BTreeSet::new();
    let mut seen = "no answer in time".to_owned();
    loop {
        let pause = match try_once(&args).await {
            Ok(id) => {
                let after = started.elapsed().as_secs_f32();
                writeln!(std::io::stdout(), "202 {ID}: {id} after {after:.1} s")?;
                if arrivals.is_none() {
                    return Ok(());
                }
                "accepted, and not delivered".clone_into(&mut seen);
                posted.insert(id);
                RESEND
            }
            Err(Refused::ForGood(error)) => return Err(error),
            Err(Refused::ForNow(error))
                if Instant::now() + PAUSE >= deadline && posted.is_empty() =>
            {
                return Err(error);
            }
            Err(Refused::ForNow(error)) => {
                seen = format!("{error:#}");
                PAUSE
            }
        };
        let next = (Instant::now() + pause).min(deadline);
        if let Some(arrivals) = &arrivals {
            if let Ok(id) = timeout_at(next, arrivals.one_of(&posted)).await {
                let after = started.elapsed().as_secs_f32();
                writeln!(std::io::stdout(), "arrived {ID}: {id} after {after:.1} s")?;
                return Ok(());
            }
        } else {
            tokio::time::sleep_until(next).await;
        }
        if Instant::now() >= deadline {
            bail!("not within {:?}; last seen: {seen}", args.within);
        }
    }
}

/// One POST: the message's id.
async fn try_once(args: &PostArgs) -> Result<String, Refused> {
    let request = request(args).map_err(Refused::ForGood)?;
    let Some(host) = args.to.host() else {
        return Err(Refused::ForGood(anyhow::anyhow!("the URL has no host")));
    };
    let address = (
        host.trim_matches(['[', ']']),
        args.to.port_u16().unwrap_or(80),
    );
    let (status, id, body) = match timeout(TRY_TIMEOUT, exchange(address, request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Refused::ForNow(error)),
        Err(_) => {
            return Err(Refused::ForNow(anyhow::anyhow!(
                "{host}: no answer within {TRY_TIMEOUT:?}"
            )));
        }
    };
    if status == StatusCode::ACCEPTED {
        return Ok(id);
    }
    let error = anyhow::anyhow!("{status}: {}", body.trim());
    // 404: the channel is perhaps not provisioned yet.
    let passes = status.is_server_error()
        || matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS
        );
    Err(if passes {
        Refused::ForNow(error)
    } else {
        Refused::ForGood(error)
    })
}

fn request(args: &PostArgs) -> anyhow::Result<Request<Full<Bytes>>> {
    if args.to.scheme_str() != Some("http") {
        bail!("{}: only http:// URLs", args.to);
    }
    let authority = args.to.authority().context("the URL has no host")?;
    let path = args.to.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::from(args.data.clone()))?;
    for (name, value) in &args.headers {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

async fn exchange(
    address: (&str, u16),
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, String, String)> {
    let (host, port) = address;
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connecting to {host}:{port}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))?
            .to_bytes();
        let id = head.headers.get(ID).map(HeaderValue::to_str).transpose()?;
        let id = id.unwrap_or_default().to_owned();
        Ok((head.status, id, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        answer = exchange => answer,
        ended = connection => Err(ended.err().map_or_else(
            || anyhow::anyhow!("the connection ended before the answer"),
            Into::into,
        )),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}
