//! Posts what `demo:` says, and with `--once` checks how it ended.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{
    devconfig::{Demo, DemoMessage},
    ledger::Ledger,
    table::Objects,
    terminal::{ended, short},
};

/// How long one POST may take: the receiver is in this process.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer to a POST is a line.
const MAX_ANSWER: usize = 64 * 1024;
/// How long messages may take to be settled: a demo's retries are short.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);

/// A message that was accepted.
pub(crate) struct Posted {
    id: String,
    what: String,
}

/// Posts every message, in order.
pub(crate) async fn post(demo: &Demo, receiver: SocketAddr) -> anyhow::Result<Vec<Posted>> {
    let mut posted = Vec::with_capacity(demo.post.len());
    for (n, message) in demo.post.iter().enumerate() {
        let what = format!("{} #{}", message.kind, n + 1);
        let id = tokio::time::timeout(POST_TIMEOUT, post_one(message, n, receiver))
            .await
            .with_context(|| format!("posting {what}: no answer within {POST_TIMEOUT:?}"))?
            .with_context(|| format!("posting {what} to {}", message.channel))?;
        posted.push(Posted { id, what });
    }
    Ok(posted)
}

async fn post_one(message: &DemoMessage, n: usize, receiver: SocketAddr) -> anyhow::Result<String> {
    let request = Request::post(format!("/{}", message.channel))
        .header("host", receiver.to_string())
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", format!("demo-{}", n + 1))
        .header("ce-source", "/busway/dev/demo")
        .header("ce-type", &message.kind)
        .body(Full::<Bytes>::from(serde_json::to_vec(&message.data)?))?;
    let stream = TcpStream::connect(receiver).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!(error))?
            .to_bytes();
        if head.status != StatusCode::ACCEPTED {
            bail!("{}: {}", head.status, String::from_utf8_lossy(&body));
        }
        let id = head
            .headers
            .get("busway-id")
            .context("no busway-id in the answer")?;
        Ok(id.to_str()?.to_owned())
    };
    tokio::pin!(connection);
    tokio::select! {
        id = exchange => id,
        ended = &mut connection => Err(ended.err().map_or_else(
            || anyhow::anyhow!("the connection ended before the answer"),
            Into::into,
        )),
    }
}

/// Waits until every message has ended for every subscription that is expected to end it.
///
/// # Errors
/// When one ended otherwise, or not in time: each is named.
pub(crate) async fn check(
    demo: &Demo,
    posted: &[Posted],
    ledger: &Ledger,
    objects: &Objects,
) -> anyhow::Result<usize> {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    loop {
        let next = ledger.changed();
        let open = posted.iter().any(|message| {
            demo.expect
                .keys()
                .any(|subscription| ledger.ending(&message.id, subscription).is_none())
        });
        if !open || tokio::time::timeout_at(deadline, next).await.is_err() {
            break;
        }
    }
    let mut wrong = Vec::new();
    let mut right = 0;
    for message in posted {
        for (subscription, expected) in &demo.expect {
            let expected = expected.reason();
            let found = match ledger.ending(&message.id, subscription) {
                Some(how) if how.reason() == expected => {
                    right += 1;
                    continue;
                }
                Some(how) => format!("ended {}", ended(how)),
                None => match objects.not_ready("Subscription", subscription) {
                    Some(why) => format!("is not settled ({why})"),
                    None => format!("is not settled after {} s", SETTLE_DEADLINE.as_secs()),
                },
            };
            wrong.push(format!(
                "message {} ({}) for subscription {subscription} {found}, expected {expected}",
                short(&message.id),
                message.what,
            ));
        }
    }
    if wrong.is_empty() {
        Ok(right)
    } else {
        bail!(
            "not every message was settled as expected:\n  {}",
            wrong.join("\n  ")
        )
    }
}
