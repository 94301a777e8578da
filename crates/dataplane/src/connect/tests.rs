#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use busway_core::{
    address::DEFAULT_CLUSTER_DOMAIN,
    egress::{Forbidden, Surroundings},
};
use busway_testkit::zoo::Authority;
use rustls::RootCertStore;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::*;

mod bundle;

struct Names(Vec<IpAddr>);

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host.ends_with(".example") {
            return Ok(self.0.clone());
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

fn network(ips: &[IpAddr], trust: Trust) -> Network {
    Network::new(Arc::new(Names(ips.to_vec())), Arc::new(TcpConnector), trust)
}

fn to(url: &str) -> Destination {
    Destination::parse(url, "shop", DEFAULT_CLUSTER_DOMAIN).unwrap()
}

const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_next_address_is_tried_and_a_mapped_name_is_not_looked_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody listens on the first.
    let ips = [Ipv4Addr::new(127, 0, 0, 99).into(), address.ip()];
    let network = network(&ips, Trust::mozilla());
    let url = format!("http://web.example:{}", address.port());
    assert!(
        network
            .open(&to(&url), Wish::Negotiated, WITHIN, &Egress::open())
            .await
            .is_ok()
    );
    let mut hosts = HostMap::new(DEFAULT_CLUSTER_DOMAIN);
    hosts.insert("web.shop.svc", address);
    let network = network.with_hosts(hosts);
    assert!(
        network
            .open(&to("web"), Wish::Negotiated, WITHIN, &Egress::open())
            .await
            .is_ok()
    );
    assert_eq!(
        network
            .open(&to("other"), Wish::Negotiated, WITHIN, &Egress::open())
            .await
            .err(),
        Some(Failure::Dns)
    );
    let nobody = to("http://127.0.0.99:1/");
    assert_eq!(
        network
            .open(&nobody, Wish::Negotiated, WITHIN, &Egress::open())
            .await
            .err(),
        Some(Failure::Connect)
    );
}

/// A TLS server with such a certificate.
async fn tls_server(acceptor: tokio_rustls::TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut tls) = acceptor.accept(stream).await {
                    let _end = tls.read(&mut [0]).await;
                }
            });
        }
    });
    address
}

fn trusting(authority: &Authority) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    Trust::roots(roots)
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted_valid_and_of_that_name() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let good = tls_server(authority.good(&["web.example"], &[]).unwrap()).await;
    let expired = tls_server(authority.expired(&["web.example"]).unwrap()).await;
    for (address, trusted, name, result) in [
        (good, &authority, "web.example", None),
        (good, &authority, "other.example", Some(Failure::Tls)),
        (good, &other, "web.example", Some(Failure::Tls)),
        (expired, &authority, "web.example", Some(Failure::Tls)),
    ] {
        let network = network(&[address.ip()], trusting(trusted));
        let url = format!("https://{name}:{}/", address.port());
        let opened = network
            .open(&to(&url), Wish::Negotiated, WITHIN, &Egress::open())
            .await;
        assert_eq!(opened.err(), result, "{url}");
    }
    // Not TLS at all, and one that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let network = network(&[], Trust::mozilla());
    let opened = network
        .open(
            &to(&url),
            Wish::Negotiated,
            Duration::from_millis(200),
            &Egress::open(),
        )
        .await;
    assert_eq!(opened.err(), Some(Failure::Tls));
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_not_dialled_whatever_name_leads_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let network = network(
        &[Ipv4Addr::LOCALHOST.into(), mapped.into()],
        Trust::mozilla(),
    );
    let guard = Egress::default();
    for url in [
        "http://web.example",
        "http://127.0.0.1",
        "http://[::ffff:127.0.0.1]",
        "http://localhost.example",
    ] {
        let to = to(&format!("{url}:{}", address.port()));
        let opened = network.open(&to, Wish::Negotiated, WITHIN, &guard).await;
        let refused = Failure::Forbidden(Forbidden::Loopback);
        assert_eq!(opened.err(), Some(refused), "{url}");
    }
    let allowed = Egress {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..Egress::default()
    };
    let web = to(&format!("http://web.example:{}", address.port()));
    assert!(
        network
            .open(&web, Wish::Negotiated, WITHIN, &allowed)
            .await
            .is_ok()
    );
    // A name that this process was given an address for.
    let mut hosts = HostMap::new(DEFAULT_CLUSTER_DOMAIN);
    hosts.insert("web.shop.svc", address);
    let network = network.with_hosts(hosts);
    assert!(
        network
            .open(&to("web"), Wish::Negotiated, WITHIN, &guard)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_bus_takes_messages_by_its_name_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let network = network(&[address.ip()], Trust::mozilla());
    let guard = Egress {
        around: Arc::new(Surroundings {
            service_names: vec!["bus.example".to_owned()],
            ..Surroundings::default()
        }),
        loopback: true,
        ..Egress::default()
    };
    for (name, refused) in [
        ("bus.example", Some(Failure::Forbidden(Forbidden::BusPort))),
        ("web.example", None),
    ] {
        let to = to(&format!("http://{name}:{}", address.port()));
        let opened = network.open(&to, Wish::Negotiated, WITHIN, &guard).await;
        assert_eq!(opened.err(), refused, "{name}");
    }
}
