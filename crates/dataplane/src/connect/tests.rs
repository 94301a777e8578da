#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;

use busway_core::address::DEFAULT_CLUSTER_DOMAIN;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use super::*;

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

/// A TLS server for `web.example`, whose certificate is valid until then.
async fn tls_server(until: (i32, u8, u8)) -> (SocketAddr, RootCertStore) {
    let mut params = rcgen::CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
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
    (address, roots)
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted_valid_and_of_that_name() {
    let (good, roots) = tls_server((2100, 1, 1)).await;
    let (expired, expired_roots) = tls_server((2020, 1, 1)).await;
    for (address, roots, name, result) in [
        (good, &roots, "web.example", None),
        (good, &roots, "other.example", Some(Failure::Tls)),
        (good, &expired_roots, "web.example", Some(Failure::Tls)),
        (expired, &expired_roots, "web.example", Some(Failure::Tls)),
    ] {
        let network = network(&[address.ip()], Trust::roots(roots.clone()));
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
        assert_eq!(opened.err(), Some(Failure::Forbidden), "{url}");
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
