//! `examples/handlers` under `busway dev`: the service's own binary, its manifests, a message and its answer.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use busway_testkit::{
    binary::Binary,
    client::{self, Answer},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, sync::OnceCell};

const DEADLINE: Duration = Duration::from_secs(60);

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handlers")
}

/// The example's binary, as `cargo run -p handlers` builds it; another package's is not built for this test.
async fn built() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_init(build).await
}

async fn build() -> PathBuf {
    let build = Command::new(env!("CARGO"))
        .args([
            "build",
            "--offline",
            "--package",
            "handlers",
            "--message-format=json",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{told}");
    String::from_utf8_lossy(&build.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|line| Some(PathBuf::from(line["executable"].as_str()?)))
        .unwrap_or_else(|| panic!("no executable: {told}"))
}

/// The service and `busway dev` beside it.
struct Running {
    service: Binary,
    handlers: SocketAddr,
    dev: Binary,
    messages: SocketAddr,
    _folder: TempDir,
}

impl Running {
    async fn start() -> Self {
        let service = Binary::start(built().await, ["127.0.0.1:0"], &[]).unwrap();
        let handlers = service.address("handlers", DEADLINE).await.unwrap();
        let folder = TempDir::new().unwrap();
        for entry in fs::read_dir(example().join("manifests")).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.replace("127.0.0.1:9100", &handlers.to_string());
            fs::write(folder.path().join(entry.file_name()), text).unwrap();
        }
        let state = folder.path().join("state");
        let mut args: Vec<&OsStr> = vec!["dev".as_ref(), folder.path().as_ref()];
        for flag in ["--listen", "--admin", "--debug"] {
            args.extend([OsStr::new(flag), OsStr::new("127.0.0.1:0")]);
        }
        args.extend([OsStr::new("--state"), state.as_ref()]);
        let dev = Binary::start(Path::new(env!("CARGO_BIN_EXE_busway")), args, &[]).unwrap();
        let messages = dev.address("messages", DEADLINE).await.unwrap();
        let running = Self {
            service,
            handlers,
            dev,
            messages,
            _folder: folder,
        };
        running.ready().await;
        running
    }

    async fn ready(&self) {
        let debug = self.dev.address("debug", DEADLINE).await.unwrap();
        wait::until("both subscriptions are ready", DEADLINE, || async {
            let objects = client::get(debug, "/objects").await.unwrap().text();
            let objects: Value = serde_json::from_str(&objects).unwrap();
            let is_ready = |object: &&Value| {
                let conditions = object["status"]["conditions"].as_array();
                object["kind"] == "Subscription"
                    && conditions.into_iter().flatten().any(|condition| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    })
            };
            let items = objects["items"].as_array().unwrap();
            match items.iter().filter(is_ready).count() {
                2 => Ok(()),
                _ => Err(format!("{objects:#}")),
            }
        })
        .await
        .unwrap();
    }

    async fn post(&self, id: &str, kind: &str, data: &'static str) -> Answer {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/shop"),
            ("ce-type", kind),
            ("content-type", "application/json"),
        ];
        client::post(self.messages, "/default/orders", &headers, data)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_message_for_each_handler_is_answered_through_the_bus() {
    let running = Running::start().await;
    for (id, kind, data, answer) in [
        (
            "1",
            "order:price",
            r#"{"item":"book","amount":2}"#,
            r#"{"cents":2500}"#,
        ),
        (
            "2",
            "order:place",
            r#"{"item":"lamp","amount":1}"#,
            r#"{"order":1,"cents":3900}"#,
        ),
        ("3", "order:cancel", "1", r#""cancelled":1"#),
    ] {
        assert_eq!(running.post(id, kind, data).await.status, 202);
        let line = running.dev.line_with(answer, DEADLINE).await.unwrap();
        assert!(line.contains("answers"), "{line}");
        let line = running
            .service
            .line_with(&format!("{kind}:V1"), DEADLINE)
            .await
            .unwrap();
        assert!(line.contains("event done"), "{line}");
    }
}

#[tokio::test]
async fn what_a_handler_refuses_is_dead_lettered_at_once_and_what_it_does_not_know_after_retries() {
    let running = Running::start().await;
    assert_eq!(
        running
            .post("1", "order:price", r#"{"item":"cow","amount":2}"#)
            .await
            .status,
        202
    );
    running
        .dev
        .line_with("settled: DeadLettered (Rejected)", DEADLINE)
        .await
        .unwrap();
    running
        .service
        .line_with("no price for cow", DEADLINE)
        .await
        .unwrap();
    let output = running.dev.output().join("\n");
    assert!(!output.contains("retry in"), "{output}");
    assert_eq!(running.post("2", "order:unknown", "1").await.status, 202);
    running
        .dev
        .line_with("DeadLettered (RetriesExhausted)", DEADLINE)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_page_of_the_example_shows_its_events_and_a_plain_envelope_is_answered() {
    let running = Running::start().await;
    let page = client::get(running.handlers, "/doc").await.unwrap().text();
    for name in ["order:price", "order:place", "order:cancel", "batch"] {
        assert!(page.contains(&format!("{name} (Version: 1)")), "{page}");
    }
    let envelope = r#"{"name":"order:price","version":1,"id":"i","flowId":"f","payload":{"item":"lamp","amount":1}}"#;
    let answer = client::post(running.handlers, "/events", &[], envelope)
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(answer["name"], "order:price:response");
    assert_eq!(answer["payload"]["cents"], 3900);
}

#[tokio::test]
async fn the_example_ends_in_order_when_it_is_asked_to() {
    for name in ["TERM", "INT"] {
        let mut service = Binary::start(built().await, ["127.0.0.1:0"], &[]).unwrap();
        let at = service.address("handlers", DEADLINE).await.unwrap();
        // The page is there: it serves, and has its signals.
        assert_eq!(client::get(at, "/doc").await.unwrap().status, 200);
        service.signal(name).await.unwrap();
        let ended = service.ended(DEADLINE).await.unwrap();
        assert!(ended.success(), "SIG{name}: {ended}");
    }
}
