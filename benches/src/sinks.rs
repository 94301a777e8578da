//! The sinks: one process, one hyper server a sink, that counts and times each delivery and answers 200.
//!
//! Commands come as lines on standard input (`run N`, `count`, `tally`), each is answered by one line; it ends with
//! its input. Where the deliveries of a message must be told apart by more than the port, the path is `/s/<sink>`.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    clock,
    message::{self, Ticket},
    tally::{Arrivals, Tally},
};

/// How often the generator hears how much was delivered, when it paces itself by that: a few messages at the
/// fastest rates.
const FEEDBACK_EVERY: Duration = Duration::from_millis(1);

/// What the process says first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listening {
    /// The port of each sink.
    pub(crate) sinks: Vec<u16>,
    /// Whoever connects here is sent the number of deliveries, as 8 bytes little-endian, whenever it grew.
    pub(crate) feedback: u16,
}

type Shared = Rc<RefCell<Arrivals>>;

/// Runs `ports` sinks until standard input ends.
pub(crate) async fn serve(ports: usize) -> Result<()> {
    let arrivals = Shared::default();
    let mut sinks = Vec::with_capacity(ports);
    for sink in 0..ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        sinks.push(listener.local_addr()?.port());
        tokio::task::spawn_local(accept(listener, sink, Rc::clone(&arrivals)));
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let feedback = listener.local_addr()?.port();
    tokio::task::spawn_local(feed_back(listener, Rc::clone(&arrivals)));

    let listening = serde_json::to_string(&Listening { sinks, feedback })?;
    let mut stdout = tokio::io::stdout();
    stdout
        .write_all(format!("{listening}\n").as_bytes())
        .await?;
    stdout.flush().await?;
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        let answer = obey(&command, &arrivals)?;
        stdout.write_all(format!("{answer}\n").as_bytes()).await?;
        stdout.flush().await?;
    }
    Ok(())
}

fn obey(command: &str, arrivals: &Shared) -> Result<String> {
    let mut arrivals = arrivals.borrow_mut();
    match command.split_once(' ').unwrap_or((command, "")) {
        ("run", number) => {
            *arrivals = Arrivals::of_run(number.parse().context("run N")?);
            Ok("ok".to_owned())
        }
        ("count", "") => Ok(arrivals.unique().to_string()),
        ("tally", "") => Ok(serde_json::to_string::<Tally>(&arrivals.tally())?),
        _ => bail!("unknown command {command:?}"),
    }
}

async fn accept(listener: TcpListener, port: usize, arrivals: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let arrivals = Rc::clone(&arrivals);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| take(request, port, &arrivals));
            let served = stream.set_nodelay(true).map(|()| {
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(None)
                    .serve_connection(TokioIo::new(stream), service)
            });
            // A connection that breaks shows as deliveries that are missing.
            if let Ok(connection) = served {
                drop(connection.await);
            }
        });
    }
}

async fn take(
    request: Request<Incoming>,
    port: usize,
    arrivals: &Shared,
) -> hyper::Result<Response<Empty<Bytes>>> {
    let at = clock::now();
    let ticket: Option<Ticket> = request
        .headers()
        .get(message::TICKET_HEADER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let sink = request
        .uri()
        .path()
        .strip_prefix("/s/")
        .map_or(Some(port), |number| number.parse().ok());
    let data = request.into_body().collect().await?.to_bytes();
    let mut arrivals = arrivals.borrow_mut();
    match (ticket, sink) {
        (Some(ticket), Some(sink)) if data.len() == message::DATA_BYTES => {
            arrivals.add(ticket, sink, at);
        }
        _ => arrivals.add_altered(),
    }
    Ok(Response::new(Empty::new()))
}

async fn feed_back(listener: TcpListener, arrivals: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(tell(stream, Rc::clone(&arrivals)));
    }
}

async fn tell(mut stream: TcpStream, arrivals: Shared) {
    let mut told = 0;
    let mut ticks = tokio::time::interval(FEEDBACK_EVERY);
    loop {
        ticks.tick().await;
        let count = arrivals.borrow().unique();
        if count != told {
            told = count;
            if stream.write_all(&count.to_le_bytes()).await.is_err() {
                return;
            }
        }
    }
}
