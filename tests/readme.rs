//! The commands of README.md are run as they stand there, but for the ports.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    env, fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use busway_testkit::control::{ControlPlane, tool};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(240);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shell blocks of the README.
fn blocks() -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    text.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn the_first_screen_has_exactly_two_commands_and_make_knows_them() {
    let blocks = blocks();
    let commands: Vec<_> = blocks[0]
        .lines()
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    assert_eq!(commands, ["make quickstart", "make test"]);
    for command in commands {
        let target = command.split_once(' ').unwrap().1;
        let made = Command::new("make")
            .args(["--dry-run", target])
            .current_dir(root())
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{command}: {made:?}");
    }
}

#[tokio::test]
async fn the_commands_of_the_readme_do_what_it_says() {
    let control = ControlPlane::shared().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for part in ["charts", "deploy", "examples"] {
        symlink(root().join(part), folder.path().join(part)).unwrap();
    }
    let (messages, admin, debug, sink) = (free_port(), free_port(), free_port(), free_port());
    let (messages2, admin2, debug2) = (free_port(), free_port(), free_port());

    let mut script = String::from(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n\
         curl() { command curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-all-errors \"$@\"; echo; }\n",
    );
    script.push_str(&blocks()[1..].join("\n"));
    script.push_str("\necho the end\n");
    let ports = [
        (
            "busway dev shop ",
            format!(
                "busway dev shop --listen 127.0.0.1:{messages} --admin 127.0.0.1:{admin} --debug 127.0.0.1:{debug} "
            ),
        ),
        ("127.0.0.1:8080", format!("127.0.0.1:{messages}")),
        ("127.0.0.1:9091", format!("127.0.0.1:{debug}")),
        ("127.0.0.1:9000", format!("127.0.0.1:{sink}")),
        ("127.0.0.1:8090", format!("127.0.0.1:{messages2}")),
        ("127.0.0.1:9190", format!("127.0.0.1:{admin2}")),
        ("127.0.0.1:9191", format!("127.0.0.1:{debug2}")),
    ];
    for (from, to) in ports {
        assert!(script.contains(from), "the README has no `{from}`");
        script = script.replace(from, &to);
    }

    let programs = [
        Path::new(env!("CARGO_BIN_EXE_busway"))
            .parent()
            .unwrap()
            .to_owned(),
        tool("kubectl").unwrap().parent().unwrap().to_owned(),
        tool("helm").unwrap().parent().unwrap().to_owned(),
    ];
    let path = env::var_os("PATH").unwrap();
    let path = env::join_paths(programs.into_iter().chain(env::split_paths(&path))).unwrap();
    let run = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("KUBECONFIG", control.kubeconfig())
        .env("XDG_STATE_HOME", PathBuf::from(folder.path()).join("state"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(DEADLINE, run).await.unwrap().unwrap();
    let output = format!(
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    assert!(run.status.success(), "{script}\n{output}");
    assert_eq!(
        output.matches("HTTP/1.1 202 Accepted").count(),
        3,
        "{output}"
    );
    for part in [
        "busway-id: ",
        "POST / · hello",
        "Next, a bus and a channel on it",
        "channel.channels.busway.dev/orders created",
        "subscription.channels.busway.dev/printer condition met",
        "channel.channels.busway.dev/orders",
        "FIELDS:",
        "the end",
    ] {
        assert!(output.contains(part), "no `{part}` in:\n{output}");
    }
}
