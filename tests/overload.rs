//! Ten times what fits, with `whenFull: reject`: senders hear it, memory stays in its bound, and
//! when the subscriber is back everything is as before. The real binary, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::HashSet, ffi::OsStr, fs, net::SocketAddr, path::Path, time::Duration};

use busway_testkit::{
    binary::Binary,
    client::{self, Answer},
    subscriber::{self, Subscriber},
    wait,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(60);
const SENDERS: usize = 10;
const EACH: usize = 100;
const BODY: usize = 8 * 1024;
/// Longer than the test.
const HANGS: Duration = Duration::from_secs(600);

struct Dev {
    process: Binary,
    messages: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Dev {
    /// A channel `default/orders` of a bus of these settings, and a subscription of it.
    async fn start(bus: &str, to: &Subscriber) -> Self {
        let root = TempDir::new().unwrap();
        let (dir, state) = (root.path().join("dir"), root.path().join("state"));
        fs::create_dir(&dir).unwrap();
        let kinds = [
            ("ClusterBus", "memory", bus.to_owned()),
            ("Channel", "orders", "clusterBus: memory".to_owned()),
            (
                "Subscription",
                "s",
                // What hangs is let go of soon when it no longer does.
                format!(
                    "channel: orders, subscriber: '{}', delivery: {{timeout: 2s, retry: 1000, backoffMax: 1s, maxUnsettled: 10}}",
                    to.url()
                ),
            ),
        ];
        let text: String = kinds.map(|(kind, name, spec)| {
            format!("apiVersion: channels.busway.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n")
        }).concat();
        fs::write(dir.join("all.yaml"), text).unwrap();
        let mut args: Vec<&OsStr> = vec!["dev".as_ref(), dir.as_ref()];
        for flag in ["--listen", "--admin", "--debug"] {
            args.extend([OsStr::new(flag), OsStr::new("127.0.0.1:0")]);
        }
        args.extend([OsStr::new("--state"), state.as_ref()]);
        let process = Binary::start(Path::new(env!("CARGO_BIN_EXE_busway")), args, &[]).unwrap();
        let messages = process.address("messages", DEADLINE).await.unwrap();
        let admin = process.address("admin", DEADLINE).await.unwrap();
        Self {
            process,
            messages,
            admin,
            _folder: root,
        }
    }

    async fn post(&self, number: usize) -> Answer {
        post(self.messages, number).await
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = client::get(self.admin, "/metrics").await.unwrap().text();
        let line = text
            .lines()
            .find(|line| line.split([' ', '{']).next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }
}

async fn post(to: SocketAddr, number: usize) -> Answer {
    let body = format!("{number:06}{}", "x".repeat(BODY - 6));
    client::post(to, "/default/orders", &[], body)
        .await
        .unwrap()
}

fn numbers(subscriber: &Subscriber) -> HashSet<usize> {
    let got = subscriber.got();
    let each = got.iter().map(|got| &got.body[..6]);
    each.map(|text| std::str::from_utf8(text).unwrap().parse().unwrap())
        .collect()
}

/// `most` is how many fit; `status` what the others are told.
async fn overload(bus: &str, most: usize, status: u16) {
    let hangs = |_: usize, _: &_| subscriber::Answer::status(202).after(HANGS);
    let subscriber = Subscriber::answering(hangs).await.unwrap();
    let dev = Dev::start(bus, &subscriber).await;
    wait::until("the first is taken", DEADLINE, || async {
        match dev.post(0).await {
            taken if taken.status == 202 => Ok(()),
            other => Err(format!("{other:?}\n{}", dev.process.output().join("\n"))),
        }
    })
    .await
    .unwrap();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let messages = dev.messages;
        senders.spawn(async move {
            let mut answers = Vec::new();
            for number in 1 + sender * EACH..=(sender + 1) * EACH {
                answers.push((number, post(messages, number).await));
            }
            answers
        });
    }
    let mut accepted = HashSet::from([0]);
    let mut refused = 0;
    while let Some(answers) = senders.join_next().await {
        for (number, answer) in answers.unwrap() {
            if answer.status == 202 {
                accepted.insert(number);
                continue;
            }
            assert_eq!(answer.status, status, "{answer:?}");
            let after: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&after), "{answer:?}");
            refused += 1;
        }
        let limit = dev.metric("busway_memory_limit_bytes").await;
        let held = dev.metric("busway_memory_bytes").await;
        assert!(held <= limit, "{held} of {limit}");
    }
    assert!(accepted.len() <= most, "{} of {most}", accepted.len());
    assert!(refused > SENDERS * EACH / 2, "{refused}");
    // It is back: what was accepted comes, and nothing else; then there is room again.
    subscriber.now_answers(|_, _| subscriber::Answer::status(202));
    wait::until("all that was accepted has come", DEADLINE, || async {
        match numbers(&subscriber) {
            all if all == accepted => Ok(()),
            some => Err(format!("{} of {}", some.len(), accepted.len())),
        }
    })
    .await
    .unwrap();
    wait::until("nothing is held", DEADLINE, || async {
        match dev.metric("busway_memory_bytes").await {
            0.0 => Ok(()),
            held => Err(held),
        }
    })
    .await
    .unwrap();
    for number in 900_000..900_020 {
        assert_eq!(dev.post(number).await.status, 202);
    }
    wait::until("what was sent afterwards has come", DEADLINE, || async {
        match numbers(&subscriber).len() - accepted.len() {
            20 => Ok(()),
            some => Err(some),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn over_a_queue_senders_are_answered_429_and_all_is_well_afterwards() {
    overload("memory: {whenFull: reject, maxMessages: 100}", 100, 429).await;
}

#[tokio::test]
async fn over_the_memory_of_the_process_senders_are_answered_503_and_all_is_well_afterwards() {
    let bus = "memory: {whenFull: reject, maxMessages: 10000}, limits: {memory: 1Mi}";
    overload(bus, 1024 * 1024 / BODY, 503).await;
}
