#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use clap::Parser;
use http::Response;
use hyper::{body::Incoming, server::conn::http1 as server, service::service_fn};
use tokio::net::TcpListener;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: PostArgs,
}

fn args(list: &[&str]) -> PostArgs {
    Cli::parse_from(["post"].iter().chain(list)).args
}

/// Answers requests with these statuses in turn, the last one for ever, and ids 0, 1, 2…
async fn channel(statuses: &'static [u16]) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            let service = service_fn(move |request: Request<Incoming>| {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let status = statuses[statuses.len().min(number as usize + 1) - 1];
                assert_eq!(request.headers()[HOST], at.to_string());
                let answer = Response::builder()
                    .status(status)
                    .header(ID, number.to_string())
                    .body(Full::<Bytes>::from(
                        request.headers()[CONTENT_TYPE].as_bytes().to_vec(),
                    ));
                async move { answer }
            });
            tokio::spawn(server::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (at, count)
}

#[tokio::test]
async fn one_try_is_all_there_is_unless_asked_for() {
    let (at, count) = channel(&[503, 202]).await;
    let to = format!("http://{at}/shop/orders");
    let said = run(args(&[&to])).await.unwrap_err().to_string();
    assert!(said.contains("503"), "{said}");
    run(args(&[&to, "--data", "x"])).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let (at, count) = channel(&[503, 404, 429, 202]).await;
    run(args(&[&format!("http://{at}"), "--within", "30s"]))
        .await
        .unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 4);

    let (at, count) = channel(&[413]).await;
    let refused = run(args(&[
        &format!("http://{at}"),
        "--within",
        "30s",
        "--header",
        "content-type: a/b",
    ]));
    let said = refused.await.unwrap_err().to_string();
    assert_eq!(said, "413 Payload Too Large: a/b");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_that_does_not_arrive_is_an_error() {
    let (at, _) = channel(&[202]).await;
    let to = format!("http://{at}");
    let said = run(args(&[
        &to,
        "--within",
        "200ms",
        "--arrives-at",
        "127.0.0.1:0",
    ]))
    .await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("accepted, and not delivered"), "{said}");
}

#[tokio::test]
async fn an_arrival_counts_when_it_is_one_of_ours() {
    let arrivals = Arrivals::listen("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let ours = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
    let send = |id: &'static str| {
        let to = format!("http://{}", arrivals.at);
        let header = format!("{ID}: {id}");
        async move { run(args(&[&to, "--header", &header])).await }
    };
    // It answers 200, and not 202 as a channel does.
    assert!(send("a").await.unwrap_err().to_string().contains("200"));
    let early = timeout(Duration::from_millis(50), arrivals.one_of(&ours)).await;
    assert!(early.is_err());
    let (found, _) = tokio::join!(arrivals.one_of(&ours), send("c"));
    assert_eq!(found, "c");
}

#[test]
fn what_cannot_be_sent_is_refused_before() {
    let parse = |list: &[&str]| Cli::try_parse_from(["post"].iter().chain(list)).is_ok();
    assert!(parse(&["http://a.b", "--header", "a: b"]));
    assert!(!parse(&["http://a.b", "--header", "ab"]));
    assert!(!parse(&["not a url"]));
    assert!(!parse(&["http://a.b", "--within=-1s"]));
    assert!(request(&args(&["https://a.b"])).is_err());
    assert!(request(&args(&["/only/a/path"])).is_err());
}
