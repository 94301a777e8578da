//! What an API server does to those who follow it and write to it: a watch that expired, and others' writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use busway_testkit::{client, control::ControlPlane, wait};

use crate::support::{
    DEADLINE, channel, cluster_bus, dispatcher, got, one_of_each, ready, sink, subscription,
    with_crds,
};

/// Each of three others writes so often: a conflict for about every second of our writes.
const OTHERS_EVERY: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_watch_that_expired_is_listed_anew_and_what_went_meanwhile_is_noticed() {
    // Of its own: it is restarted.
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let namespace = control.namespace("expired").await.unwrap();
    let (subscriber, at) = sink(&[]).await;
    let serving = dispatcher(&control, "expired", &[]);
    let messages = serving.address("messages", DEADLINE).await.unwrap();
    namespace.apply_yaml(&cluster_bus("expired")).await.unwrap();
    for name in ["stays", "goes"] {
        namespace
            .apply_yaml(&channel(name, "expired"))
            .await
            .unwrap();
        ready(&namespace, &format!("channel/{name}"), "True").await;
    }

    // It stands still while things change, and the server forgets what it told whom: a new one keeps no
    // history from before its start.
    serving.signal("STOP").await.unwrap();
    let deleted = ["delete", "channel/goes", "--timeout=60s"];
    namespace.kubectl_ok(&deleted).await.unwrap();
    let added = subscription("s", "stays", at);
    namespace.apply_yaml(&added).await.unwrap();
    control.stop_apiserver();
    control.start_apiserver().await.unwrap();
    serving.signal("CONT").await.unwrap();

    ready(&namespace, "subscription/s", "True").await;
    let post = async |channel: &str| {
        let path = format!("/{}/{channel}", namespace.name());
        let answer = client::post(messages, &path, &[], "x").await.unwrap();
        answer.status.as_u16()
    };
    assert_eq!(post("stays").await, 202);
    assert_eq!(post("goes").await, 404);
    got(&subscriber, 1).await;
    let log = serving.output().join("\n");
    assert!(
        log.contains("too old resource version") || log.contains("Expired"),
        "no watch expired:\n{log}"
    );
}

#[tokio::test]
async fn a_status_is_written_though_others_write_to_the_object_all_the_time() {
    let control = ControlPlane::start().await.unwrap();
    with_crds(&control).await;
    let namespace = control.namespace("conflict").await.unwrap();
    let (_subscriber, at) = sink(&[]).await;
    let serving = dispatcher(&control, "conflict", &[]);
    let admin = serving.address("admin", DEADLINE).await.unwrap();
    one_of_each(&namespace, "conflict", at).await;

    // Each of them makes the version that the dispatcher looked at an old one.
    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut others = tokio::task::JoinSet::new();
    for other in 0..3 {
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        let api = api(&control, namespace.name()).await;
        others.spawn(async move {
            let mut pace = tokio::time::interval(OTHERS_EVERY);
            for n in 0_u32.. {
                pace.tick().await;
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let annotation = format!("example.com/other-{other}");
                let patch =
                    serde_json::json!({"metadata": {"annotations": {annotation: n.to_string()}}});
                let patch = kube::api::Patch::Merge(patch);
                let params = kube::api::PatchParams::default();
                api.patch_metadata("s", &params, &patch).await.unwrap();
                written.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    wait::until("the others write", DEADLINE, || async {
        match written.load(Ordering::Relaxed) {
            many if many > 50 => Ok(()),
            few => Err(few),
        }
    })
    .await
    .unwrap();

    for edit in 1..=5 {
        let patch = format!(r#"{{"spec":{{"delivery":{{"timeout":"{edit}s"}}}}}}"#);
        let patch = ["patch", "subscription/s", "--type=merge", "--patch", &patch];
        namespace.kubectl_ok(&patch).await.unwrap();
        ready(&namespace, "subscription/s", "True").await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = others.join_next().await {
        ended.unwrap();
    }
    let metrics = client::get(admin, "/metrics").await.unwrap().text();
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("busway_status_writes_refused_total"));
    assert_eq!(refused, Some("busway_status_writes_refused_total 0"));
    // What the others wrote is there still.
    let annotations = [
        "get",
        "subscription/s",
        "--output",
        "jsonpath={.metadata.annotations}",
    ];
    let annotations = namespace.kubectl_ok(&annotations).await.unwrap();
    for other in 0..3 {
        assert!(
            annotations.contains(&format!("other-{other}")),
            "{annotations}"
        );
    }
}

async fn api(control: &ControlPlane, namespace: &str) -> kube::Api<busway_api::Subscription> {
    let config = kube::config::Kubeconfig::read_from(control.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(config, &options)
        .await
        .unwrap();
    config.read_timeout = Some(Duration::from_secs(30));
    kube::Api::namespaced(kube::Client::try_from(config).unwrap(), namespace)
}
