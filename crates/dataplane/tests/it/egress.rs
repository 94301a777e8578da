//! What subscriptions may dial, and whom they believe there.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use busway_core::{Uid, egress::Egress, serving::DataPlane as _};
use busway_testkit::{subscriber::Subscriber, wait::until, zoo::Authority};
use http_body_util::Empty;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::harness::{DEADLINE, Harness};

fn guarded() -> Harness {
    let harness = Harness::start();
    harness.guard(Egress::default());
    harness
}

/// A guard that opens loopback and trusts these authorities beside the built-in ones.
fn trusting(authorities: &[&Authority]) -> Egress {
    let der = authorities.iter().map(|one| one.certificate().to_vec());
    Egress {
        loopback: true,
        authorities: Arc::new(der.collect()),
        ..Egress::default()
    }
}

async fn until_told(harness: &Harness, name: &str, words: &str) {
    let uid = Uid::new(&format!("uid-{name}"));
    until("the last error is told", DEADLINE, || async {
        let health = harness.plane.health(&uid).unwrap_or_default();
        match health.last_error.unwrap_or_default() {
            error if error.contains(words) => Ok(()),
            error => Err(error),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_guard_holds_on_every_connection_and_says_by_which_rule() {
    let harness = guarded();
    let subscriber = Subscriber::start().await.unwrap();
    let mut route = harness.route("mail", &subscriber.url());
    route.policy.retry = 1_000_000;
    harness.serve(route).await;
    harness.send("one").await;
    until_told(
        &harness,
        "mail",
        "EgressRefused: not dialled: it is a loopback address",
    )
    .await;
    until_told(&harness, "mail", "spec.egress.allow").await;
    assert_eq!(subscriber.connections(), 0);
    assert!(
        harness.metric(
            "busway_dispatcher_attempts",
            &["subscriber", "EgressRefused"]
        ) > 0
    );
    // The bus's admin opens it.
    let opened = Egress {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..Egress::default()
    };
    harness.guard(opened);
    subscriber.wait_for(1).await.unwrap();
    harness.wait_settled("mail").await;
    // And closes it: what is open already is not used any more either.
    harness.guard(Egress::default());
    harness.send("two").await;
    until_told(&harness, "mail", "EgressRefused").await;
    assert_eq!(subscriber.got().len(), 1);
}

#[tokio::test]
async fn replies_and_dead_letters_are_guarded_as_subscribers_are() {
    let harness = guarded();
    let sink = Subscriber::start().await.unwrap();
    let mut route = harness.route("mail", "http://169.254.169.254/");
    route.policy.retry = 0;
    route.dead_letter_sink = Some(super::harness::destination(&sink.url()));
    harness.serve(route).await;
    harness.send("one").await;
    let attempts = |stage| harness.metric("busway_dispatcher_attempts", &[stage, "EgressRefused"]);
    until("the dead letter is refused too", DEADLINE, || async {
        match (attempts("subscriber"), attempts("dead-letter")) {
            (1, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(sink.connections(), 0);
}

/// A subscriber on https, with a certificate of that authority.
async fn secure(authority: &Authority) -> (SocketAddr, Arc<AtomicUsize>) {
    let tls = authority.good(&["127.0.0.1"], &[]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, seen) = (tls.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                // Who does not trust it hangs up.
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                let answer = service_fn(|_| {
                    seen.fetch_add(1, Ordering::Relaxed);
                    async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
                });
                let _ended = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_subscriber_of_a_private_authority_is_reached_while_the_bus_trusts_that() {
    let harness = guarded();
    let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    harness.guard(trusting(&[]));
    let (address, requests) = secure(&ours).await;
    let mut route = harness.route("mail", &format!("https://{address}/"));
    route.policy.retry = 1_000_000;
    harness.serve(route).await;
    harness.send("one").await;
    until_told(&harness, "mail", "TlsError").await;
    assert_eq!(requests.load(Ordering::Relaxed), 0);
    // The ConfigMap is made, and changes; connections follow.
    harness.guard(trusting(&[&other, &ours]));
    harness.wait_settled("mail").await;
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    harness.guard(trusting(&[&other]));
    harness.send("two").await;
    until_told(&harness, "mail", "TlsError").await;
    assert_eq!(requests.load(Ordering::Relaxed), 1);
    harness.guard(trusting(&[&ours]));
    harness.wait_settled("mail").await;
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}
