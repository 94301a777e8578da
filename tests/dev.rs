//! `busway dev` as a person uses it: the real binary, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use busway_testkit::{
    binary::Binary,
    client::{self, Answer},
    subscriber::{self, Subscriber},
    wait,
    zoo::Authority,
};
use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart")
}

/// A copy of the quickstart to break, and a state folder beside it.
struct Folder {
    root: TempDir,
}

impl Folder {
    fn empty() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("dir")).unwrap();
        Self { root }
    }

    fn quickstart() -> Self {
        let folder = Self::empty();
        for entry in fs::read_dir(quickstart()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.dir().join(entry.file_name())).unwrap();
        }
        folder
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("dir")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir().join(file), text).unwrap();
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.dir().join(file)).unwrap();
        assert!(text.contains(from), "{file} has no `{from}`");
        self.write(file, &text.replace(from, to));
    }

    fn serve(&self, more: &[&str]) -> Binary {
        let dir = self.dir();
        let state = self.root.path().join("state");
        let mut args: Vec<&OsStr> = vec!["dev".as_ref(), dir.as_ref()];
        for flag in ["--listen", "--admin", "--debug"] {
            args.extend([OsStr::new(flag), OsStr::new("127.0.0.1:0")]);
        }
        args.extend([OsStr::new("--state"), state.as_ref()]);
        args.extend(more.iter().map(OsStr::new));
        Binary::start(Path::new(env!("CARGO_BIN_EXE_busway")), args, &[]).unwrap()
    }
}

async fn objects(dev: &Binary) -> Value {
    shown(dev, "/objects").await
}

/// What the debug port shows.
async fn shown(dev: &Binary, path: &str) -> Value {
    let debug = dev.address("debug", DEADLINE).await.unwrap();
    serde_json::from_str(&client::get(debug, path).await.unwrap().text()).unwrap()
}

/// Waits until an object's Ready is this status and reason.
async fn ready(dev: &Binary, kind: &str, name: &str, status: &str, reason: &str) -> String {
    wait::until(
        &format!("{kind} {name} is {status} {reason}"),
        DEADLINE,
        || async {
            let all = objects(dev).await;
            let found = all["items"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
                .cloned()
                .unwrap_or_default();
            let conditions = found["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            match conditions.iter().find(|c| c["type"] == "Ready") {
                Some(c)
                    if c["status"] == status && (reason.is_empty() || c["reason"] == reason) =>
                {
                    Ok(c["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => Err(format!("{found:#}\nrefused: {}", all["refused"])),
            }
        },
    )
    .await
    .unwrap()
}

async fn post(dev: &Binary, path: &str) -> Answer {
    let messages = dev.address("messages", DEADLINE).await.unwrap();
    client::post(messages, path, &[], "hello").await.unwrap()
}

#[tokio::test]
async fn the_quickstart_ends_with_every_message_settled_as_expected() {
    let folder = Folder::quickstart();
    let mut dev = folder.serve(&["--once"]);
    let status = dev.ended(DEADLINE).await.unwrap();
    let output = dev.output().join("\n");
    assert!(status.success(), "{output}");
    for part in [
        "accepted",
        "default/recovers",
        "attempt 3",
        "retry in",
        "goes to the dead letter: RetriesExhausted",
        "settled: Delivered",
        "settled: DeadLettered (RetriesExhausted)",
        "3 messages, 9 times settled as expected",
    ] {
        assert!(output.contains(part), "no `{part}` in:\n{output}");
    }
}

#[tokio::test]
async fn the_quickstart_fails_by_name_when_a_sink_never_recovers() {
    let folder = Folder::quickstart();
    folder.edit("busway-dev.yaml", "failFirst: 2", "failFirst: 100");
    let mut dev = folder.serve(&["--once"]);
    assert_eq!(dev.ended(DEADLINE).await.unwrap().code(), Some(1));
    let output = dev.output().join("\n");
    assert!(
        output.contains("(com.example.order.created #1) for subscription default/recovers ended Dropped (RetriesExhausted), expected Delivered"),
        "{output}"
    );
}

#[tokio::test]
async fn the_quickstart_fails_by_name_when_the_dead_letter_sink_is_removed() {
    let folder = Folder::quickstart();
    folder.edit(
        "subscriptions.yaml",
        "    deadLetterSink: dead-letters\n",
        "",
    );
    let mut dev = folder.serve(&["--once"]);
    assert_eq!(dev.ended(DEADLINE).await.unwrap().code(), Some(1));
    let output = dev.output().join("\n");
    assert!(
        output.contains(
            "for subscription default/fails ended Dropped (RetriesExhausted), expected DeadLettered"
        ),
        "{output}"
    );
}

#[tokio::test]
async fn the_quickstart_fails_by_name_when_nobody_is_the_dead_letter_sink() {
    let folder = Folder::quickstart();
    folder.edit("busway-dev.yaml", "  - name: dead-letters\n", "");
    let mut dev = folder.serve(&["--once"]);
    assert_eq!(
        dev.ended(Duration::from_secs(120)).await.unwrap().code(),
        Some(1)
    );
    let output = dev.output().join("\n");
    assert!(
        output.contains(
            "(com.example.order.created #1) for subscription default/fails is not settled"
        ),
        "{output}"
    );
}

#[tokio::test]
async fn edits_and_deletions_are_followed_while_it_runs() {
    let folder = Folder::quickstart();
    let dev = folder.serve(&[]);
    ready(&dev, "Subscription", "works", "True", "AllGood").await;
    assert_eq!(post(&dev, "/default/orders").await.status, 202);
    assert_eq!(post(&dev, "/default/other").await.status, 404);

    folder.write(
        "more.yaml",
        "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {name: other}\nspec: {clusterBus: memory}\n",
    );
    ready(&dev, "Channel", "other", "True", "AllGood").await;
    assert_eq!(post(&dev, "/default/other").await.status, 202);

    fs::remove_file(folder.dir().join("more.yaml")).unwrap();
    wait::until("the deleted channel is unknown", DEADLINE, || async {
        match post(&dev, "/default/other").await.status.as_u16() {
            404 => Ok(()),
            status => Err(status),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_refused_edit_is_told_by_its_path_and_what_was_valid_goes_on() {
    let folder = Folder::quickstart();
    let dev = folder.serve(&[]);
    ready(&dev, "Subscription", "recovers", "True", "AllGood").await;
    folder.edit("subscriptions.yaml", "retry: 5", "retry: -1");
    wait::until("the refusal is told", DEADLINE, || async {
        let refused = objects(&dev).await["refused"].to_string();
        if refused.contains("spec.delivery.retry") {
            Ok(())
        } else {
            Err(refused)
        }
    })
    .await
    .unwrap();
    assert_eq!(post(&dev, "/default/orders").await.status, 202);
    ready(&dev, "Subscription", "recovers", "True", "AllGood").await;
}

#[tokio::test]
async fn objects_that_no_bus_owns_say_so_and_recover() {
    let folder = Folder::empty();
    folder.write("c.yaml", "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {name: orders}\nspec: {clusterBus: memory}\n---\napiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {name: lonely}\nspec: {channel: missing, subscriber: \"http://127.0.0.1:1/\"}\n");
    let dev = folder.serve(&[]);
    ready(&dev, "Channel", "orders", "False", "BusNotFound").await;
    ready(&dev, "Subscription", "lonely", "False", "ChannelNotFound").await;
    folder.write("b.yaml", "apiVersion: channels.busway.dev/v1alpha1\nkind: ClusterBus\nmetadata: {name: memory}\nspec: {memory: {}}\n");
    ready(&dev, "Channel", "orders", "True", "AllGood").await;
}

#[tokio::test]
async fn authorities_of_a_bus_are_a_config_map_of_the_folder_and_their_mistakes_are_told() {
    let folder = Folder::empty();
    folder.write(
        "bus.yaml",
        "apiVersion: channels.busway.dev/v1alpha1\nkind: ClusterBus\nmetadata: {name: b}\n\
         spec: {memory: {}, egress: {caBundle: {configMap: cas}}}\n",
    );
    let map = |pem: &str| {
        let lines: String = pem.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cas}}\ndata:\n  ca.crt: |\n{lines}"
        )
    };
    let dev = folder.serve(&["--quiet"]);
    let why = ready(&dev, "ClusterBus", "b", "False", "CaBundleInvalid").await;
    assert!(why.contains("ConfigMap cas"), "{why}");
    folder.write("cas.yaml", &map(&Authority::new().unwrap().pem()));
    ready(&dev, "ClusterBus", "b", "True", "AllGood").await;
    folder.write("cas.yaml", &map("no certificate"));
    let why = ready(&dev, "ClusterBus", "b", "False", "CaBundleInvalid").await;
    assert!(why.contains("key ca.crt"), "{why}");
}

#[tokio::test]
async fn a_third_partys_bus_is_not_in_dev_and_an_unmapped_name_is_not_resolved() {
    let folder = Folder::quickstart();
    folder.write("third.yaml", "apiVersion: channels.busway.dev/v1alpha1\nkind: Bus\nmetadata: {name: theirs}\nspec: {dispatcher: {name: d, image: example.com/d:1}}\n");
    folder.write("far.yaml", "apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {name: far}\nspec: {channel: orders, subscriber: web}\n");
    let dev = folder.serve(&[]);
    let message = ready(&dev, "Bus", "theirs", "False", "NotInDev").await;
    assert!(message.contains("--bus default/theirs --dir"), "{message}");
    let message = ready(&dev, "Subscription", "far", "False", "AddressUnmapped").await;
    assert!(message.contains("--host"), "{message}");
}

#[tokio::test]
async fn ctrl_c_ends_it_in_order_and_admin_answers_meanwhile() {
    let dev_folder = Folder::quickstart();
    let mut dev = dev_folder.serve(&[]);
    ready(&dev, "Channel", "orders", "True", "AllGood").await;
    let admin = dev.address("admin", DEADLINE).await.unwrap();
    assert_eq!(client::get(admin, "/livez").await.unwrap().status, 200);
    assert_eq!(client::get(admin, "/readyz").await.unwrap().status, 200);
    let metrics = client::get(admin, "/metrics").await.unwrap().text();
    assert!(metrics.contains("busway_ready 1"), "{metrics}");
    dev.signal("INT").await.unwrap();
    let status = dev.ended(DEADLINE).await.unwrap();
    assert!(status.success(), "{}", dev.output().join("\n"));
}

#[tokio::test]
async fn a_wrong_option_says_the_way_out() {
    let folder = Folder::quickstart();
    for (args, part) in [
        (vec!["--host", "web"], "web.default.svc=127.0.0.1:9000"),
        (vec!["--grace", "soon"], "not a duration"),
    ] {
        let mut dev = folder.serve(&args);
        assert!(!dev.ended(DEADLINE).await.unwrap().success());
        let output = dev.output().join("\n");
        assert!(output.contains(part), "{output}");
    }
}

#[tokio::test]
async fn what_a_subscription_is_doing_is_told_while_its_subscriber_is_down() {
    let folder = Folder::quickstart();
    let down = Subscriber::answering(|_, _| subscriber::Answer::status(503))
        .await
        .unwrap();
    folder.write(
        "down.yaml",
        &format!(
            "apiVersion: channels.busway.dev/v1alpha1\nkind: Channel\nmetadata: {{name: quiet}}\nspec: {{clusterBus: memory}}\n---\n\
             apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {{name: down}}\n\
             spec: {{channel: quiet, subscriber: '{}', delivery: {{retry: 1000, backoffDelay: 50ms, backoffMax: 50ms}}}}\n",
            down.url()
        ),
    );
    let dev = folder.serve(&[]);
    ready(&dev, "Subscription", "down", "True", "AllGood").await;
    ready(&dev, "Subscription", "works", "True", "AllGood").await;
    let path = "/subscriptions/default/down";
    let idle = shown(&dev, path).await;
    assert_eq!(idle["doing"]["breaker"]["state"], "Closed", "{idle:#}");
    assert_eq!(idle["doing"]["limit"], 64, "{idle:#}");
    assert_eq!(idle["counts"], serde_json::json!({}), "{idle:#}");
    for _ in 0..6 {
        assert_eq!(post(&dev, "/default/quiet").await.status, 202);
    }
    let open = wait::until("the breaker is open", DEADLINE, || async {
        let now = shown(&dev, path).await;
        if now["doing"]["breaker"]["state"] == "Open" {
            Ok(now)
        } else {
            Err(format!("{now:#}"))
        }
    })
    .await
    .unwrap();
    let doing = &open["doing"];
    assert!(
        doing["breaker"]["forSeconds"].as_f64().unwrap() <= 60.0,
        "{open:#}"
    );
    assert_eq!(doing["lastError"]["status"], 503, "{open:#}");
    assert_eq!(doing["lastError"]["stage"], "subscriber", "{open:#}");
    assert!(doing["next"]["attempt"].as_u64().unwrap() > 1, "{open:#}");
    assert_eq!(doing["unsettled"], 6, "{open:#}");
    assert_eq!(open["backlog"]["count"], 6, "{open:#}");
    let attempts = &open["counts"]["attempts"][0];
    assert_eq!(attempts["outcome"], "5xx", "{open:#}");
    assert!(attempts["count"].as_u64().unwrap() >= 10, "{open:#}");
    let admin = dev.address("admin", DEADLINE).await.unwrap();
    let metrics = client::get(admin, "/metrics").await.unwrap().text();
    let breaker = r#"busway_subscription_breaker{bus="memory",subscription_namespace="default",subscription="down"} "#;
    let level = metrics.lines().find_map(|line| line.strip_prefix(breaker));
    assert!(level.is_some_and(|level| level != "0"), "{level:?}");
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn subscriptions_are_listed_a_page_at_a_time_and_an_unknown_one_is_told_what_is_there() {
    let folder = Folder::quickstart();
    let dev = folder.serve(&[]);
    for name in ["works", "recovers", "fails"] {
        ready(&dev, "Subscription", name, "True", "AllGood").await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["subscription"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = shown(&dev, "/subscriptions?limit=2").await;
    assert_eq!(
        names(&first),
        ["default/fails", "default/recovers"],
        "{first:#}"
    );
    assert_eq!(first["total"], 3, "{first:#}");
    assert!(
        first["items"][0]["doing"]["breaker"].is_object(),
        "{first:#}"
    );
    let next = first["continue"].as_str().unwrap();
    let last = shown(&dev, &format!("/subscriptions?limit=2&continue={next}")).await;
    assert_eq!(names(&last), ["default/works"], "{last:#}");
    assert_eq!(last["continue"], Value::Null, "{last:#}");
    let debug = dev.address("debug", DEADLINE).await.unwrap();
    let unknown = client::get(debug, "/subscriptions/default/nobody")
        .await
        .unwrap();
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_str(&unknown.text()).unwrap();
    assert_eq!(problem["type"], "urn:busway:problem:unknown-subscription");
    let loaded = &problem["loaded"];
    assert_eq!(loaded["buses"][0]["bus"], "memory", "{problem:#}");
    assert_eq!(loaded["buses"][0]["subscriptions"], 3, "{problem:#}");
    let beside = ["default/fails", "default/recovers", "default/works"];
    assert_eq!(
        loaded["inThisNamespace"],
        serde_json::json!(beside),
        "{problem:#}"
    );
}
