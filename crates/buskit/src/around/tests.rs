#![allow(clippy::unwrap_used, reason = "tests")]

use std::{io, sync::Mutex};

use async_trait::async_trait;
use busway_core::egress::{Egress, Forbidden};
use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: DispatcherArgs,
}

/// Names with one address each; the others are not there.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, IpAddr>>);

impl Names {
    fn set(&self, name: &str, ip: Option<[u8; 4]>) {
        let mut names = self.0.lock().unwrap();
        match ip {
            Some(ip) => names.insert(name.to_owned(), ip.into()),
            None => names.remove(name),
        };
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let names = self.0.lock().unwrap();
        let found = names.get(host).map(|ip| vec![*ip]);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn look(args: &[&str], names: &Arc<Names>) -> Look {
    let args = Cli::parse_from(["x", "--bus", "shop/fast"].iter().chain(args)).args;
    Look {
        resolver: Arc::clone(names) as Arc<dyn Resolve>,
        ..Look::new(&args, &args.bus_ref().unwrap())
    }
}

const SERVICE: &str = "fast-bus.shop.svc.cluster.local";

#[tokio::test(start_paused = true)]
async fn what_a_pod_is_told_and_what_names_say_is_guarded_also_when_it_changes() {
    let names = Arc::new(Names::default());
    names.set("api.example", Some([10, 9, 9, 9]));
    names.set(SERVICE, Some([10, 96, 0, 20]));
    let around = look(
        &[
            "--pod-ips",
            "10.1.2.3,fd00::3",
            "--api-server",
            "api.example",
            "--bus-service",
            "fast-bus",
            "--pod-namespace",
            "shop",
        ],
        &names,
    )
    .start()
    .await;
    let mut seen = around.seen.clone();
    let refused = |seen: &watch::Receiver<Arc<Surroundings>>, address: &str| {
        let egress = Egress {
            around: Arc::clone(&seen.borrow()),
            ..Egress::default()
        };
        egress.check(address.parse().unwrap()).err()
    };
    for (address, why) in [
        ("10.1.2.3:80", Some(Forbidden::Own)),
        ("[fd00::3]:80", Some(Forbidden::Own)),
        ("10.9.9.9:443", Some(Forbidden::ApiServer)),
        ("10.96.0.20:9090", Some(Forbidden::BusPort)),
        ("10.96.0.20:80", None),
        ("10.96.0.21:9090", None),
    ] {
        assert_eq!(refused(&seen, address), why, "{address}");
    }
    // The Service is made anew; the API server's name is not found for a while.
    names.set(SERVICE, Some([10, 96, 0, 21]));
    names.set("api.example", None);
    seen.changed().await.unwrap();
    assert_eq!(refused(&seen, "10.96.0.21:9090"), Some(Forbidden::BusPort));
    assert_eq!(refused(&seen, "10.96.0.20:9090"), None);
    assert_eq!(refused(&seen, "10.9.9.9:443"), Some(Forbidden::ApiServer));
}

#[tokio::test]
async fn an_address_of_the_api_server_needs_no_look_up() {
    for (host, ip) in [
        ("10.96.0.1", Some("10.96.0.1")),
        ("[fd00::1]", Some("fd00::1")),
        // The rule for loopback decides.
        ("127.0.0.1", None),
    ] {
        let look = look(&["--api-server", host], &Arc::default());
        let around = look.start().await;
        let known = around.seen.borrow().api_server.clone();
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        assert_eq!(known, Vec::from_iter(ip.map(str::to_owned)), "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn authorities_are_read_anew_while_it_runs() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().to_str().unwrap();
    let around = look(&["--ca-bundle", path], &Arc::default()).start().await;
    let mut seen = around.seen.clone();
    let bundle = |seen: &watch::Receiver<Arc<Surroundings>>| seen.borrow().bundle.clone().unwrap();
    assert!(bundle(&seen).problem.is_some());
    let one = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    std::fs::write(dir.path().join("ca.crt"), one.cert.pem()).unwrap();
    seen.changed().await.unwrap();
    assert_eq!(bundle(&seen).problem, None);
    assert_eq!(*bundle(&seen).authorities, [one.cert.der().to_vec()]);
    drop(around);
    assert!(seen.changed().await.is_err(), "nobody looks any more");
}
