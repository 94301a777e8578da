//! The control-plane harness against itself.

#![cfg(target_os = "linux")] // looks processes up in /proc
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use busway_testkit::{
    control::{self, ControlPlane},
    wait,
};

/// For what a healthy control plane does at once.
const SOON: Duration = Duration::from_secs(30);
/// Set in the process that [`nothing_outlives_a_test_process_that_is_killed`] starts and kills.
const VICTIM: &str = "BUSWAY_TEST_VICTIM";

/// Ids of the processes whose command line names `folder`.
fn processes_of(folder: &str) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap();
    ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| {
            fs::read(format!("/proc/{id}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(folder))
        })
        .collect()
}

async fn all_gone(folder: &str) {
    wait::until("all processes are gone", SOON, || async {
        let left = processes_of(folder);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_applied_in_a_namespace_is_there_and_nowhere_else() {
    let plane = ControlPlane::shared().await.unwrap();
    let mine = plane.namespace("mine").await.unwrap();
    let other = plane.namespace("mine").await.unwrap();
    assert_ne!(mine.name(), other.name());

    mine.apply_yaml(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: greeting}, data: {say: hello}}",
    )
    .await
    .unwrap();

    let get = [
        "get",
        "configmap",
        "greeting",
        "--output=jsonpath={.data.say}",
    ];
    assert_eq!(mine.kubectl_ok(&get).await.unwrap(), "hello");
    let refused = other.kubectl_ok(&get).await.unwrap_err().to_string();
    assert!(refused.contains("NotFound"), "{refused}");
}

#[tokio::test]
async fn the_controllers_run_so_a_namespace_really_goes() {
    let plane = ControlPlane::shared().await.unwrap();
    let space = plane.namespace("going").await.unwrap();
    plane
        .kubectl_ok(&["delete", "namespace", space.name(), "--timeout=30s"])
        .await
        .unwrap();
    let gone = plane
        .kubectl(&["get", "namespace", space.name()])
        .await
        .unwrap();
    assert!(!gone.status.success());
}

#[tokio::test]
async fn a_service_account_may_do_what_rbac_gave_it_and_no_more() {
    let plane = ControlPlane::shared().await.unwrap();
    let space = plane.namespace("rbac").await.unwrap();
    space
        .kubectl_ok(&["create", "serviceaccount", "reader"])
        .await
        .unwrap();
    let reader = plane
        .as_service_account(space.name(), "reader")
        .await
        .unwrap();
    let read = ["get", "configmaps", "--namespace", space.name()];
    let refused = reader.ok(read).await.unwrap_err().to_string();
    assert!(refused.contains("Forbidden"), "{refused}");

    let subject = format!("--serviceaccount={space}:reader");
    space
        .kubectl_ok(&[
            "create",
            "rolebinding",
            "reader",
            "--clusterrole=view",
            &subject,
        ])
        .await
        .unwrap();
    wait::until("the account may read", SOON, || reader.ok(read))
        .await
        .unwrap();
    let secrets = ["get", "secrets", "--namespace", space.name()];
    assert!(reader.ok(secrets).await.is_err());
}

#[tokio::test]
async fn an_api_server_that_was_killed_comes_back_where_it_was_with_its_data() {
    let plane = ControlPlane::start().await.unwrap();
    let folder = plane.folder().display().to_string();
    plane
        .kubectl_ok(&["create", "configmap", "kept", "--from-literal=a=b"])
        .await
        .unwrap();
    let address: SocketAddr = plane
        .url()
        .strip_prefix("https://")
        .unwrap()
        .parse()
        .unwrap();

    plane.stop_apiserver();
    assert!(
        TcpStream::connect(address).is_err(),
        "it was killed, and nobody else got its port"
    );
    plane.start_apiserver().await.unwrap();

    let kept = ["get", "configmap", "kept", "--output=jsonpath={.data.a}"];
    assert_eq!(plane.kubectl_ok(&kept).await.unwrap(), "b");
    assert!(!processes_of(&folder).is_empty());
    drop(plane);
    all_gone(&folder).await;
}

#[tokio::test]
async fn nothing_outlives_a_test_process_that_is_killed() {
    if std::env::var_os(VICTIM).is_some() {
        let plane = ControlPlane::start().await.unwrap();
        println!("\nfolder {}", plane.folder().display());
        return std::future::pending().await;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "nothing_outlives_a_test_process_that_is_killed",
            "--nocapture",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("folder ").map(str::to_owned))
        .unwrap();
    let alive = processes_of(&folder).len();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(alive >= 3, "etcd, API server, controllers: {alive}");
    all_gone(&folder).await;
}

#[test]
fn a_missing_tool_says_how_to_get_it() {
    let said = control::tool("no-such-tool").unwrap_err().to_string();
    assert!(said.contains("make tools"), "{said}");
}
