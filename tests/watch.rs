//! What an API server answers when it is busy, and when a watch has expired: one of a few lines on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use busway_api::Channel;
use busway_monitor::source::{
    Source as _, Watch,
    kube::{KubeOptions, KubeSource, Scope},
    lease::LeaseOptions,
};
use busway_testkit::subscriber::{Answer, Got, Subscriber};
use futures::StreamExt as _;
use kube::{Client, Config, ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};
use serde_json::{Value, json};

/// The watcher's backoff begins below a second; a busy machine has its time.
const DEADLINE: Duration = Duration::from_secs(60);

fn status(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "as the test asked"})
}

fn answer(code: u16, body: &Value) -> Answer {
    Answer::status(code)
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn channels(version: u32, names: &[&str]) -> Answer {
    let item = |name: &&str| {
        json!({
            "apiVersion": "channels.busway.dev/v1alpha1", "kind": "Channel",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"},
            "spec": {"bus": "main"},
        })
    };
    let items: Vec<_> = names.iter().map(item).collect();
    answer(
        200,
        &json!({
            "apiVersion": "channels.busway.dev/v1alpha1", "kind": "ChannelList",
            "metadata": {"resourceVersion": version.to_string()}, "items": items,
        }),
    )
}

/// Each kind of request, and how often it came.
#[derive(Default)]
struct Asked {
    lists: AtomicUsize,
    watches: AtomicUsize,
    /// Those that end by themselves soon.
    short: AtomicUsize,
}

/// How long a watch may say nothing before nobody relies on it, in seconds.
const SHORT: u64 = 60;

fn is_short(target: &str) -> bool {
    let ends = target.split(['?', '&']).find_map(|part| {
        let seconds = part.strip_prefix("timeoutSeconds=")?;
        seconds.parse::<u64>().ok()
    });
    ends.is_some_and(|seconds| seconds <= SHORT)
}

fn serve(asked: &Asked, got: &Got) -> Answer {
    if !got.target.contains("/namespaces/shop/channels") {
        return answer(503, &status(503, "ServiceUnavailable"));
    }
    if got.target.contains("watch=true") {
        let short = usize::from(is_short(&got.target));
        asked.short.fetch_add(short, Ordering::Relaxed);
        return match asked.watches.fetch_add(1, Ordering::Relaxed) {
            0 => answer(429, &status(429, "TooManyRequests")).header("retry-after", "1"),
            1 => answer(
                200,
                &json!({"type": "ERROR", "object": status(410, "Expired")}),
            ),
            _ => answer(200, &json!({})).after(DEADLINE),
        };
    }
    match asked.lists.fetch_add(1, Ordering::Relaxed) {
        0 => answer(429, &status(429, "TooManyRequests")).header("retry-after", "1"),
        1 => channels(10, &["first", "gone"]),
        _ => channels(20, &["first", "later"]),
    }
}

/// The names of the next whole list; errors on the way are the server's.
async fn listed(watch: &mut Watch<DeserializeGuard<Channel>>) -> Vec<String> {
    let list = async {
        let mut names = Vec::new();
        loop {
            match watch.next().await.unwrap() {
                Ok(Event::Init) => names.clear(),
                Ok(Event::InitApply(channel)) => names.push(channel.name_any()),
                Ok(Event::InitDone) => return names,
                Ok(Event::Apply(_) | Event::Delete(_)) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, list).await.unwrap()
}

#[tokio::test]
async fn an_expired_watch_lists_again_and_a_busy_api_server_is_asked_again() {
    let asked = Arc::new(Asked::default());
    let counted = Arc::clone(&asked);
    let server = Subscriber::answering(move |_, got| serve(&counted, got))
        .await
        .unwrap();
    let client = Client::try_from(Config::new(server.url().parse().unwrap())).unwrap();
    let source = KubeSource::new(
        client,
        KubeOptions {
            component: "busway-dispatcher".to_owned(),
            scope: Scope::Namespace("shop".to_owned()),
            lease: LeaseOptions {
                namespace: "shop".to_owned(),
                name: "busway-main".to_owned(),
                identity: "one".to_owned(),
                create: true,
            },
        },
    );
    let mut channels = source.channels();
    assert_eq!(listed(&mut channels).await, ["first", "gone"]);
    assert_eq!(
        listed(&mut channels).await,
        ["first", "later"],
        "the watch expired, and everything was listed again"
    );
    assert_eq!(asked.lists.load(Ordering::Relaxed), 3);
    let watches = asked.watches.load(Ordering::Relaxed);
    assert!(watches >= 2);
    assert_eq!(
        asked.short.load(Ordering::Relaxed),
        watches,
        "a connection that died unnoticed is believed too long"
    );
    source.close().await;
}
