#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use busway_core::Uid;
use busway_testkit::wait;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::replicas::Replicas as _;

const SOON: Duration = Duration::from_secs(20);

/// A replica's admin port, with one page for each `since` it expects.
#[derive(Clone, Default)]
struct Page {
    ready: bool,
    page: LoadedPage,
    asked: Vec<String>,
}

struct Replica {
    url: String,
    now: Arc<Mutex<Page>>,
    serving: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Replica {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let now = Arc::new(Mutex::new(Page::default()));
        let page = Arc::clone(&now);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let page = Arc::clone(&page);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&page, request.uri().to_string());
                    async move { Ok::<_, Infallible>(answer) }
                });
                // A peer that hangs up is no failure of this one.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            }
        });
        Self { url, now, serving }
    }

    fn say(&self, replica: &str, sequence: u64, full: bool, set: &[(&str, i64)], removed: &[&str]) {
        let mut now = self.now.lock().unwrap();
        now.ready = true;
        now.page = LoadedPage {
            replica: replica.to_owned(),
            sequence,
            full,
            set: set
                .iter()
                .map(|(uid, generation)| ((*uid).to_owned(), *generation))
                .collect(),
            removed: removed.iter().map(|uid| (*uid).to_owned()).collect(),
        };
    }

    fn asked(&self) -> Vec<String> {
        self.now.lock().unwrap().asked.clone()
    }
}

fn answer(page: &Mutex<Page>, path: String) -> Response<Full<bytes::Bytes>> {
    let mut page = page.lock().unwrap();
    let (status, body) = match path.as_str() {
        "/readyz" => (if page.ready { 200 } else { 503 }, Vec::new()),
        _ => {
            page.asked.push(path);
            (200, serde_json::to_vec(&page.page).unwrap())
        }
    };
    Response::builder()
        .status(status)
        .body(Full::from(body))
        .unwrap()
}

fn follow(replicas: &[&Replica]) -> FollowedPeers {
    let peers = FixedPeers::new(replicas.iter().map(|replica| replica.url.as_str())).unwrap();
    FollowedPeers::start(Arc::new(peers))
}

async fn without(peers: &FollowedPeers, uid: &str, generation: i64, expected: usize) {
    wait::until("as many lack it", SOON, || {
        let lacking = peers.without(&Uid::new(uid), generation);
        std::future::ready(if lacking.len() == expected {
            Ok(())
        } else {
            Err(format!("{lacking:?}"))
        })
    })
    .await
    .unwrap();
}

async fn until_ready(peers: &FollowedPeers, expected: usize) {
    wait::until("as many are ready", SOON, || {
        let ready = peers.ready();
        std::future::ready(if ready == Some(expected) {
            Ok(())
        } else {
            Err(format!("{ready:?}"))
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn all_have_an_object_when_every_ready_replica_does() {
    let (one, two, away) = (
        Replica::start().await,
        Replica::start().await,
        Replica::start().await,
    );
    one.say("one", 1, true, &[("a", 2)], &[]);
    two.say("two", 1, true, &[("a", 1)], &[]);
    let peers = follow(&[&one, &two, &away]);
    assert_eq!(
        peers.without(&Uid::new("a"), 1).len(),
        1,
        "nobody was asked yet"
    );
    assert!(peers.any_serves(&Uid::new("z")), "nobody was asked yet");
    without(&peers, "a", 1, 0).await;
    let lacking = peers.without(&Uid::new("a"), 2);
    assert_eq!(lacking, [two.url.strip_prefix("http://").unwrap()]);

    let mut changed = peers.changed();
    changed.mark_unchanged();
    two.say("two", 2, false, &[("a", 2)], &[]);
    changed.changed().await.unwrap();
    without(&peers, "a", 2, 0).await;
    peers.close().await;
}

#[tokio::test]
async fn only_what_changed_is_asked_for_and_what_is_removed_is_served_no_more() {
    let one = Replica::start().await;
    one.say("one", 7, true, &[("a", 1), ("b", 1)], &[]);
    let peers = follow(&[&one]);
    without(&peers, "b", 1, 0).await;
    one.say("one", 8, false, &[], &["a"]);
    without(&peers, "a", 1, 1).await;
    assert!(!peers.any_serves(&Uid::new("a")));
    assert!(peers.any_serves(&Uid::new("b")));
    let asked = one.asked();
    assert_eq!(asked.first().unwrap(), "/replica/loaded?since=0");
    assert!(
        asked.contains(&"/replica/loaded?since=7".to_owned()),
        "{asked:?}"
    );
    peers.close().await;
}

#[tokio::test]
async fn a_replica_that_restarted_is_asked_from_the_start() {
    let one = Replica::start().await;
    one.say("first run", 9, true, &[("a", 1)], &[]);
    let peers = follow(&[&one]);
    without(&peers, "a", 1, 0).await;
    // Its sequence may have come as far: its name tells.
    one.say("second run", 9, false, &[("b", 1)], &[]);
    without(&peers, "a", 1, 1).await;
    one.say("second run", 9, true, &[("b", 1)], &[]);
    without(&peers, "b", 1, 0).await;
    assert_eq!(peers.without(&Uid::new("a"), 1).len(), 1);
    peers.close().await;
}

#[tokio::test]
async fn a_replica_that_goes_away_does_not_count_and_counts_again_when_it_is_back() {
    let (one, two) = (Replica::start().await, Replica::start().await);
    one.say("one", 1, true, &[("a", 1)], &[]);
    two.say("two", 1, true, &[], &[]);
    let peers = follow(&[&one, &two]);
    assert_eq!(peers.ready(), None, "nobody was asked yet");
    without(&peers, "a", 1, 1).await;
    until_ready(&peers, 2).await;
    // On one machine they have no address of their own.
    assert!(peers.addresses().is_empty());
    two.now.lock().unwrap().ready = false;
    without(&peers, "a", 1, 0).await;
    assert_eq!(peers.ready(), Some(1));
    two.now.lock().unwrap().ready = true;
    without(&peers, "a", 1, 1).await;
    drop(two);
    without(&peers, "a", 1, 0).await;
    peers.close().await;
}

/// As EndpointSlices list it.
struct Listed(String, Mutex<Readiness>);

#[async_trait]
impl Peers for Listed {
    async fn peers(&self) -> Result<Vec<Peer>, PeersError> {
        Ok(vec![Peer {
            name: "pod".to_owned(),
            url: Url::parse(&self.0).unwrap(),
            readiness: *self.1.lock().unwrap(),
        }])
    }
}

#[tokio::test]
async fn a_replica_that_is_listed_as_ready_and_does_not_answer_lacks_what_it_is_not_known_to_have()
{
    let one = Replica::start().await;
    one.say("one", 1, true, &[("a", 1)], &[]);
    let listed = Arc::new(Listed(one.url.clone(), Mutex::new(Readiness::Ready)));
    let peers = FollowedPeers::start(Arc::clone(&listed) as Arc<dyn Peers>);
    without(&peers, "a", 1, 0).await;
    // Away and silent, and then listed as ready all the same.
    drop(one);
    *listed.1.lock().unwrap() = Readiness::NotReady;
    without(&peers, "b", 1, 0).await;
    *listed.1.lock().unwrap() = Readiness::Ready;
    without(&peers, "b", 1, 1).await;
    assert!(peers.any_serves(&Uid::new("a")), "it may still");
    peers.close().await;
}

#[tokio::test]
async fn a_replica_that_falls_silent_still_has_what_it_had() {
    let one = Replica::start().await;
    one.say("one", 1, true, &[("a", 1)], &[]);
    let listed = Listed(one.url.clone(), Mutex::new(Readiness::Ready));
    let peers = FollowedPeers::start(Arc::new(listed));
    without(&peers, "a", 1, 0).await;
    drop(one);
    let mut changed = peers.changed();
    changed.mark_unchanged();
    // Several questions that nobody answers change nothing.
    let quiet = tokio::time::timeout(Duration::from_secs(2), changed.changed()).await;
    assert!(quiet.is_err(), "{peers:?}");
    assert!(peers.without(&Uid::new("a"), 1).is_empty());
    assert_eq!(peers.without(&Uid::new("a"), 2), ["pod"]);
    assert_eq!(peers.without(&Uid::new("b"), 1), ["pod"]);
    peers.close().await;
}

#[tokio::test]
async fn an_answer_that_is_no_page_makes_a_replica_not_count() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("no page")))
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        }
    });
    let peers = FollowedPeers::start(Arc::new(FixedPeers::new([url.as_str()]).unwrap()));
    without(&peers, "a", 1, 0).await;
    serving.abort();
    peers.close().await;
}

#[tokio::test]
async fn without_peers_nobody_lacks_anything() {
    let peers = follow(&[]);
    without(&peers, "a", 1, 0).await;
    assert!(!peers.any_serves(&Uid::new("a")));
    peers.close().await;
}

#[test]
fn a_peer_is_an_http_address_and_nothing_more() {
    for wrong in [
        "",
        "host:9090",
        "https://host:9090",
        "http://host:9090/path",
        "http://me@host:9090",
        "ftp://host",
    ] {
        assert!(FixedPeers::new([wrong]).is_err(), "{wrong}");
    }
    assert_eq!(
        FixedPeers::new(["http://[::1]:9090"]).unwrap().0[0].name,
        "[::1]:9090"
    );
}
