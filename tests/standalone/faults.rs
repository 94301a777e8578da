use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use busway_testkit::{client, control::ControlPlane, wait};
use tokio::time::Instant;

use crate::support::{
    DEADLINE, channel, dispatcher, got, one_of_each, ready, shared, sink, with_crds,
};

/// As the issue has it: long enough for every watch, lease and connection to notice.
const OUTAGE: Duration = Duration::from_secs(30);

/// Posts until told to stop; counts what was accepted and what was not.
struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(to: std::net::SocketAddr, path: String) -> Self {
        let (stop, accepted, refused) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, ok, not) = (
            Arc::clone(&stop),
            Arc::clone(&accepted),
            Arc::clone(&refused),
        );
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                match client::post(to, &path, &[], "load").await {
                    Ok(answer) if answer.status == 202 => ok.fetch_add(1, Ordering::Relaxed),
                    Ok(_) | Err(_) => not.fetch_add(1, Ordering::Relaxed),
                };
            }
        });
        Self {
            stop,
            accepted,
            refused,
            task,
        }
    }

    async fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        (
            self.accepted.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }
}

#[tokio::test]
async fn messages_go_on_while_the_api_server_is_away_and_changes_come_through_when_it_is_back() {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let namespace = control.namespace("outage").await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().to_string_lossy().into_owned();
    let (subscriber, at) = sink(&[]).await;
    let serving = dispatcher(&control, "outage", &["--cache-dir", &cache]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    one_of_each(&namespace, "outage", at).await;
    ready(&namespace, "subscription/s", "True").await;
    let path = format!("/{}/c", namespace.name());

    // The file is written every few seconds; whoever starts in the outage reads what is in it then.
    wait::until("the subscription is in the file", DEADLINE, || async {
        let files = std::fs::read_dir(&cache).unwrap();
        let mut texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()));
        match texts.any(|text| text.is_ok_and(|text| text.contains("\"subscriber\":"))) {
            true => Ok(()),
            false => Err("it is not"),
        }
    })
    .await
    .unwrap();

    let load = Load::start(messages, path.clone());
    control.stop_apiserver();
    let back = Instant::now() + OUTAGE;

    // A dispatcher that starts meanwhile serves from the file.
    let second = dispatcher(&control, "outage", &["--cache-dir", &cache]);
    let second_at = second.address("messages", DEADLINE).await.unwrap();
    wait::until("the second one serves from its file", DEADLINE, || async {
        match client::post(second_at, &path, &[], "second").await {
            Ok(answer) if answer.status == 202 => Ok(()),
            other => Err(format!("{other:?}\n{:?}", second.output())),
        }
    })
    .await
    .unwrap();
    let admin = second.address("admin", DEADLINE).await.unwrap();
    let metrics = client::get(admin, "/metrics").await.unwrap().text();
    assert!(metrics.contains("busway_routes_age_seconds"), "{metrics}");

    tokio::time::sleep_until(back).await;
    control.start_apiserver().await.unwrap();
    let (accepted, refused) = load.end().await;
    assert_eq!(refused, 0, "{accepted} were accepted");
    got(&subscriber, accepted + 1).await;

    // And changes are followed again.
    namespace
        .apply_yaml(&channel("later", "outage"))
        .await
        .unwrap();
    ready(&namespace, "channel/later", "True").await;
    assert_eq!(
        client::post(messages, &format!("/{}/later", namespace.name()), &[], "x")
            .await
            .unwrap()
            .status,
        202
    );
}

#[tokio::test]
async fn sigterm_under_load_loses_nothing_in_flight() {
    let control = shared().await;
    let namespace = control.namespace("sigterm").await.unwrap();
    let (subscriber, at) = sink(&["--delay", "200ms"]).await;
    let mut serving = dispatcher(control, "sigterm", &["--lame-duck", "500ms"]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    one_of_each(&namespace, "sigterm", at).await;
    ready(&namespace, "subscription/s", "True").await;

    let load = Load::start(messages, format!("/{}/c", namespace.name()));
    got(&subscriber, 20).await;
    serving.signal("TERM").await.unwrap();
    let status = serving.ended(DEADLINE).await.unwrap();
    assert!(status.success(), "{:?}", serving.output());
    let (accepted, _) = load.end().await;
    got(&subscriber, accepted).await;
}
