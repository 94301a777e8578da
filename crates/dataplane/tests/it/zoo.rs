//! Each subscriber of the zoo, beside two healthy ones.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use busway_core::{outcome::Cause, policy::Redirects};
use busway_dataplane::{
    Network, World,
    connect::{Resolve, TcpConnector, Trust},
};
use busway_testkit::{
    fakes::FakeBus,
    subscriber::Subscriber,
    zoo::{Authority, Manner, Misbehaving},
};
use tokio_rustls::rustls::RootCertStore;

use super::harness::{Harness, subscription};

/// Fewer than open a breaker, which has a test of its own.
const MESSAGES: usize = 4;
/// More than sockets hold, so that who does not read is noticed.
const BODY: usize = 200_000;
/// Of an endless answer at most this is read, with what the sockets hold: once for each attempt.
const MOST_READ: u64 = 1024 * 1024;
/// For those that would take for ever; all others end long before [`LONG`].
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// What becomes of the messages of one that misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// All are delivered.
    Delivered,
    /// All are dead letters: why, after the answer's status (0 without one), and one of these is
    /// what their data says; where there was no answer, the reason's name.
    Dead(Cause, u16, &'static [&'static str]),
}

/// The row of a manner.
fn expected(manner: Manner) -> Ends {
    let failed = |reason| Ends::Dead(Cause::Exhausted, 0, reason);
    match manner {
        Manner::Deaf | Manner::Silent | Manner::Trickles | Manner::LengthTooLong => {
            failed(&["Timeout"])
        }
        // It depends on who is quicker.
        Manner::ResetsAtAccept => failed(&["ConnectError", "ConnectionReset"]),
        Manner::Closes
        | Manner::BreaksOff
        | Manner::ResetsHalfway
        | Manner::GiantHeader
        | Manner::EndlessInterim
        | Manner::EndlessHeader
        | Manner::EndlessHeaders
        | Manner::Garbage
        | Manner::GarbageChunks
        | Manner::TwoLengths => failed(&["ConnectionReset"]),
        Manner::ClosesKeptConnections
        | Manner::ClosesUnannounced
        | Manner::ClosesEachTime
        | Manner::ReadsSlowly
        | Manner::AnswersEarly
        | Manner::AnswersTwice
        | Manner::Drips
        | Manner::Endless
        | Manner::ManyInterim
        | Manner::LengthTooShort
        | Manner::Flaps => Ends::Delivered,
        Manner::Redirects => Ends::Dead(Cause::Rejected, 307, &[""]),
        Manner::Gone => Ends::Dead(Cause::Gone, 410, &[""]),
        Manner::Html422 => Ends::Dead(Cause::Rejected, 422, &["<!doctype html><p>No.</p>"]),
        Manner::RetryAfterGarbage | Manner::RetryAfterHuge | Manner::RetryAfterDate => {
            Ends::Dead(Cause::Exhausted, 429, &[""])
        }
        Manner::ExpiredCertificate
        | Manner::SelfSignedCertificate
        | Manner::WrongHostCertificate => failed(&["TlsError"]),
    }
}

/// How often each message is tried: what is not retried is tried once.
fn attempts(ends: Ends) -> Option<u32> {
    match ends {
        Ends::Delivered => None,
        Ends::Dead(Cause::Exhausted, ..) => Some(2),
        Ends::Dead(..) => Some(1),
    }
}

/// Names of which some are missing a few times.
#[derive(Default)]
struct Names {
    missing: Mutex<HashMap<String, usize>>,
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut missing = self.missing.lock().unwrap();
        match missing.get_mut(host) {
            Some(times) if *times > 0 => {
                *times -= 1;
                Err(io::ErrorKind::NotFound.into())
            }
            _ => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        }
    }
}

/// A data plane that trusts an authority, with two healthy subscriptions.
struct Yard {
    h: Harness,
    healthy: [Subscriber; 2],
}

impl Yard {
    async fn open(names: Names, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate()).unwrap();
        let trust = Trust::roots(roots);
        let network = Network::new(Arc::new(names), Arc::new(TcpConnector), trust);
        // It has a store of dead letters.
        let h = Harness::unloaded(FakeBus::durable(), World::new(network));
        h.publish();
        let healthy = [
            Subscriber::start().await.unwrap(),
            Subscriber::start().await.unwrap(),
        ];
        for (name, subscriber) in ["one", "two"].iter().zip(&healthy) {
            h.serve(h.route(name, &subscriber.url())).await;
        }
        Self { h, healthy }
    }

    async fn send(&self) {
        for number in 0..MESSAGES {
            self.h.send(&format!("{number} {}", "x".repeat(BODY))).await;
        }
    }

    /// The healthy have each message once, whatever the other one does.
    async fn healthy_have_all(&self, beside: &str) {
        for subscriber in &self.healthy {
            let got = subscriber.wait_for(MESSAGES).await.expect(beside);
            let mut numbers: Vec<u8> = got.iter().map(|got| got.body[0]).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, b"0123", "beside {beside}");
            assert!(got.iter().all(|got| got.header("busway-attempt") == "1"));
        }
    }

    /// Everything has ended.
    async fn all_settled(&self, name: &str) {
        for name in ["one", "two", name] {
            self.h.wait_settled(name).await;
        }
        let h = &self.h;
        h.wait_metric("busway_dispatcher_unsettled", &[], 0).await;
        h.wait_metric("busway_dispatcher_in_flight", &["subscriber"], 0)
            .await;
    }
}

async fn row(manner: Manner, authority: &Authority) {
    let beside = format!("{manner:?}");
    let ends = expected(manner);
    let yard = Yard::open(Names::default(), authority).await;
    let h = &yard.h;
    let odd = Misbehaving::start_under(manner, authority).await.unwrap();
    let mut route = h.route("odd", &odd.url());
    // Of two answers in a row at most one is a failure: five are not all.
    route.policy.retry = if ends == Ends::Delivered { 5 } else { 1 };
    route.policy.retry_after_max = Duration::from_millis(50);
    route.policy.timeout = match ends {
        Ends::Dead(_, _, ["Timeout"]) => SHORT,
        _ => LONG,
    };
    h.serve(route).await;
    yard.send().await;
    yard.healthy_have_all(&beside).await;
    yard.all_settled("odd").await;
    let letters = h.bus.stored();
    match ends {
        Ends::Delivered => {
            assert!(letters.is_empty(), "{beside}: {letters:?}");
            let settled = u64::try_from(MESSAGES * 3).unwrap();
            h.wait_metric("busway_dispatcher_settled", &["Delivered"], settled)
                .await;
        }
        Ends::Dead(cause, code, says) => {
            assert_eq!(letters.len(), MESSAGES, "{beside}");
            for (name, letter, why) in &letters {
                assert_eq!((name, *why), (&subscription("odd"), cause), "{beside}");
                let header = |name| letter.header(name).unwrap_or_default().to_owned();
                assert_eq!(header("busway-error-code"), code.to_string(), "{beside}");
                let attempts = attempts(ends).unwrap_or_default();
                assert_eq!(header("busway-error-attempts"), attempts.to_string());
                let data = match code {
                    0 => header("busway-error-data"),
                    _ => decoded(&header("busway-error-data")),
                };
                assert!(says.contains(&&*data), "{beside}: {data}");
            }
        }
    }
    let connections = u64::try_from(odd.connections()).unwrap();
    let most = connections.max(1) * MOST_READ;
    assert!(odd.written() <= most, "{beside}: {} bytes", odd.written());
}

fn decoded(data: &str) -> String {
    let bytes = STANDARD.decode(data).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn each_manner_of_the_zoo_ends_as_its_row_says_and_the_healthy_do_not_notice() {
    let authority = Authority::new().unwrap();
    for manner in Manner::ALL {
        row(manner, &authority).await;
    }
}

#[tokio::test]
async fn a_redirect_to_itself_is_followed_a_few_times_where_the_policy_says_so() {
    let authority = Authority::new().unwrap();
    let yard = Yard::open(Names::default(), &authority).await;
    let h = &yard.h;
    let odd = Misbehaving::start(Manner::Redirects).await.unwrap();
    let mut route = h.route("odd", &odd.url());
    route.policy.redirects = Redirects::SameHost;
    h.serve(route).await;
    yard.send().await;
    yard.healthy_have_all("Redirects, followed").await;
    yard.all_settled("odd").await;
    // The first, and five more.
    assert_eq!(odd.requests(), MESSAGES * 6);
    assert!(
        h.bus
            .stored()
            .iter()
            .all(|letter| letter.2 == Cause::Rejected)
    );
}

#[tokio::test]
async fn a_name_that_is_gone_and_back_costs_attempts_and_no_message() {
    let authority = Authority::new().unwrap();
    let names = Names::default();
    let times = MESSAGES * 2;
    names
        .missing
        .lock()
        .unwrap()
        .insert("flaky.example".to_owned(), times);
    let yard = Yard::open(names, &authority).await;
    let h = &yard.h;
    let back = Subscriber::start().await.unwrap();
    let url = format!("http://flaky.example:{}/", back.address().port());
    let mut route = h.route("odd", &url);
    route.policy.retry = 20;
    h.serve(route).await;
    yard.send().await;
    yard.healthy_have_all("NXDOMAIN").await;
    yard.all_settled("odd").await;
    assert_eq!(back.got().len(), MESSAGES);
    let failed = h.metric("busway_dispatcher_attempts", &["subscriber", "DnsError"]);
    assert_eq!(failed, u64::try_from(times).unwrap());
    assert!(h.bus.stored().is_empty());
}
