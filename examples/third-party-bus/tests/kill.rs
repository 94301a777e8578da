//! A process that publishes and settles is killed; what it was told to be safe is safe.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use busway_buskit::{
    Bus, ChannelRef, Message, SubscriptionRef, Uid,
    core::bus::{ChannelSpec, Credit, Retention, SubscriptionSpec},
};
use futures::StreamExt as _;
use third_party_bus::SqliteBus;

const FILE: &str = "KILLED_CHILD_FILE";
/// How long the next process waits for what the dead one held.
const LEASE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(60);

fn channel() -> ChannelRef {
    ChannelRef::new("shop", "orders")
}

fn subscription() -> SubscriptionRef {
    SubscriptionRef::new("shop", "s")
}

async fn open(file: &Path) -> Arc<SqliteBus> {
    let bus = SqliteBus::open(file, LEASE).unwrap();
    let channel_uid = Uid::new("channel");
    let spec = ChannelSpec {
        channel: channel(),
        uid: channel_uid.clone(),
        parameters: BTreeMap::new(),
        retention: Retention::Delete,
    };
    bus.provision(&spec).await.unwrap();
    let spec = SubscriptionSpec {
        subscription: subscription(),
        uid: Uid::new("subscription"),
        channel: channel(),
        channel_uid,
        parameters: BTreeMap::new(),
        timeout: Duration::from_secs(30),
    };
    bus.subscribe(&spec).await.unwrap();
    Arc::new(bus)
}

fn credit(messages: usize) -> Credit {
    Credit { messages, bytes: 1 << 20 }
}

/// Says each thing before and after it is done, one line each, until it is killed.
async fn child(file: &Path) {
    let bus = open(file).await;
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let publisher = Arc::clone(&bus);
    let publishing = async {
        for n in 0_u64.. {
            let message = Message::default().with_body(n.to_string().into());
            publisher.publish(&channel(), message).await.unwrap();
            say(format!("accepted {n}\n"));
        }
    };
    let consuming = async {
        let mut consumer = bus.consume(&subscription(), credit(8)).await.unwrap();
        for turn in 0_u64.. {
            let delivery = consumer.next().await.unwrap().unwrap();
            let body = String::from_utf8(delivery.message.body().to_vec()).unwrap();
            if turn % 5 == 0 {
                delivery.settle.extend(delivery.attempts + 1).await.unwrap();
                say(format!("tried {body}\n"));
                drop(delivery);
            } else {
                say(format!("settling {body}\n"));
                delivery.settle.done().await.unwrap();
                say(format!("settled {body}\n"));
            }
        }
    };
    futures::join!(publishing, consuming);
}

/// A child that is killed when the test ends early.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn nothing_accepted_is_lost_by_kill() {
    // The process that is killed is this test again.
    if let Some(file) = env::var_os(FILE) {
        return child(Path::new(&file)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bus.sqlite");
    let mut said = BTreeMap::<String, BTreeSet<u64>>::new();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "nothing_accepted_is_lost_by_kill", "--nocapture"])
        .env(FILE, &file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Killed)
        .unwrap();
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    for line in lines {
        if let Some((what, n)) = line.unwrap().split_once(' ')
            && let Ok(n) = n.parse()
        {
            said.entry(what.to_owned()).or_default().insert(n);
        }
        // SIGKILL, in the middle of whatever it does; what it said until then is read to the end.
        if said.get("settled").is_some_and(|settled| settled.len() == 60) {
            child.0.kill().unwrap();
        }
    }
    drop(child);
    let heard = |what: &str| said.get(what).cloned().unwrap_or_default();
    assert!(heard("settled").len() >= 60, "the child said {said:?}");

    let bus = open(&file).await;
    let left = bus.backlog(&subscription()).await.unwrap().unwrap().count;
    let mut consumer = bus.consume(&subscription(), credit(1000)).await.unwrap();
    let mut found = BTreeMap::new();
    while (found.len() as u64) < left {
        let next = tokio::time::timeout(DEADLINE, consumer.next()).await;
        let delivery = next.unwrap().unwrap().unwrap();
        let body = String::from_utf8(delivery.message.body().to_vec()).unwrap();
        found.insert(body.parse::<u64>().unwrap(), delivery.attempts);
        delivery.settle.done().await.unwrap();
    }
    for n in heard("accepted") {
        let ended = heard("settled").contains(&n);
        let ending = heard("settling").contains(&n);
        assert!(
            ended || ending || found.contains_key(&n),
            "{n} was accepted, is not settled, and is not in the backlog"
        );
        assert!(!(ended && found.contains_key(&n)), "{n} was settled and is in the backlog");
        if let Some(attempts) = found.get(&n) {
            let tried = u32::from(heard("tried").contains(&n));
            assert!(*attempts >= tried, "{n} was tried {tried} times, and has {attempts}");
        }
    }
}
