//! The hosts beside the dispatcher: subscribers, the sink, the target of replies, the sender.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use busway_dataplane::Stage;
use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::{Either, select},
    stream,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};
use turmoil::net;

use super::{
    habit::How,
    ledger::{Ledger, Letter, Note},
    plan::{Plan, Planned},
    shape::{self, TYPES},
};

pub(crate) const PORT: u16 = 80;

/// A message may be sent again when it was not answered; each time it has another number.
pub(crate) const TRIES: u32 = 1000;

pub(crate) async fn listen() -> io::Result<net::TcpListener> {
    net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), PORT)).await
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The number of a message, of its reply or of its dead letter.
pub(crate) fn number(headers: &HeaderMap) -> u32 {
    let id = text(headers, "ce-id").unwrap();
    id.trim_start_matches('r').parse().unwrap()
}

/// What a dead letter says, where it is one.
pub(crate) fn letter(headers: &HeaderMap) -> Option<Letter> {
    Some(Letter {
        code: text(headers, "ce-knativeerrorcode")?.parse().ok()?,
        data: text(headers, "ce-knativeerrordata")?.to_owned(),
        attempts: text(headers, "ce-buswayattempts")?.parse().ok()?,
    })
}

fn event(headers: &mut HeaderMap, id: &str, kind: &str, subject: &str) {
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/sim"),
        ("ce-type", kind),
        ("ce-subject", subject),
    ] {
        headers.insert(name, value.try_into().unwrap());
    }
}

/// Whom a host is for.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Subscriber(usize),
    Sink,
    Replies,
}

/// Serves until the host crashes.
pub(crate) async fn serve(place: Place, plan: Arc<Plan>, ledger: Ledger) -> turmoil::Result {
    let listener = listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (plan, ledger) = (Arc::clone(&plan), ledger.clone());
        tokio::task::spawn_local(async move {
            let service =
                service_fn(move |request| take(place, Arc::clone(&plan), ledger.clone(), request));
            let io = TokioIo::new(stream);
            let _closed = server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        });
    }
}

/// A request that a host has to do with.
struct Busy(Ledger, u64);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note_untimed(Note::Left { request: self.1 });
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

async fn take(
    place: Place,
    plan: Arc<Plan>,
    ledger: Ledger,
    request: Request<Incoming>,
) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    body.collect().await.map_err(io::Error::other)?;
    let of_path = || parts.uri.path()[2..].parse().unwrap();
    let (stage, sub) = match place {
        Place::Subscriber(sub) => (Stage::Subscriber, sub),
        Place::Sink => (Stage::DeadLetter, of_path()),
        Place::Replies => (Stage::Reply, of_path()),
    };
    let number = number(&parts.headers);
    let attempt = text(&parts.headers, "busway-attempt")
        .unwrap()
        .parse()
        .unwrap();
    let named = text(&parts.headers, "busway-subscription").unwrap();
    assert_eq!(named, shape::name(sub), "of another subscription");
    let request = ledger.request();
    ledger.note(Note::Seen {
        request,
        stage,
        sub,
        number,
        attempt,
        letter: letter(&parts.headers),
    });
    let _busy = Busy(ledger.clone(), request);
    let answer = plan.answer(turmoil::sim_elapsed().unwrap(), sub, stage, number, attempt);
    if let Some(kind) = answer.how.fault() {
        ledger.fault(kind, Some(sub));
    }
    if answer.after >= Duration::from_millis(50) {
        ledger.fault("slow answer", Some(sub));
    }
    sleep(answer.after).await;
    let mut response = Response::new(
        Empty::new()
            .map_err(|never: Infallible| match never {})
            .boxed_unsync(),
    );
    let mut status = 200;
    match answer.how {
        How::Status(said) => status = said,
        How::Asking(said, seconds) => {
            status = said;
            response.headers_mut().insert("retry-after", seconds.into());
        }
        How::Never => std::future::pending().await,
        How::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
        How::Cut => {
            let whole = stream::iter([Ok(Frame::data(Bytes::from_static(b"half of i")))]);
            let broken = stream::once(async {
                sleep(Duration::from_millis(20)).await;
                Err(io::ErrorKind::ConnectionReset.into())
            });
            *response.body_mut() = StreamBody::new(whole.chain(broken)).boxed_unsync();
            return Ok(response);
        }
    }
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if stage == Stage::Subscriber && matches!(status, 200 | 201) {
        event(response.headers_mut(), &format!("r{number}"), "reply", "r");
    }
    ledger.note(Note::Answered {
        request,
        stage,
        sub,
        number,
        attempt,
        status,
    });
    Ok(response)
}

/// Sends each message when its time has come, again until it is accepted.
pub(crate) async fn send(plan: Arc<Plan>, ledger: Ledger) -> turmoil::Result {
    for (index, planned) in (0..).zip(&plan.messages) {
        let now = turmoil::sim_elapsed().unwrap();
        sleep(planned.at.saturating_sub(now)).await;
        for number in index * TRIES.. {
            let posted = timeout(Duration::from_secs(1), post(number, planned)).await;
            if matches!(posted, Ok(Ok(StatusCode::ACCEPTED))) {
                ledger.note(Note::Accepted { number });
                break;
            }
            ledger.fault("not accepted", None);
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn post(number: u32, planned: &Planned) -> io::Result<StatusCode> {
    let to = SocketAddr::new(turmoil::lookup("dispatcher"), PORT);
    let stream = net::TcpStream::connect(to).await?;
    let handshake = client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let mut request = Request::new(Full::new(Bytes::from(vec![b'x'; planned.bytes])));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/shop/orders".parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("host", "dispatcher".try_into().unwrap());
    event(
        headers,
        &number.to_string(),
        TYPES[planned.kind],
        &format!("k{}", planned.key),
    );
    // Not a task of its own: what is given up leaves nothing behind.
    let answer = pin!(sender.send_request(request));
    let answer = match select(answer, connection).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_closed, answer)) => answer.await,
    };
    Ok(answer.map_err(io::Error::other)?.status())
}
