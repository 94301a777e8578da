//! Authorities that a bus trusts beside the built-in ones.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// As `openssl` writes it, if not in lines.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn certificate(authority: &Authority) -> String {
    pem("CERTIFICATE", &authority.certificate())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_bus_says_so_and_nowhere_else() {
    let authority = Authority::new().unwrap();
    let address = tls_server(authority.good(&["web.example"], &[]).unwrap()).await;
    let network = network(&[address.ip()], Trust::mozilla());
    let url = format!("https://web.example:{}/", address.port());
    let open = async |guard: &Egress| {
        let to = to(&url);
        let opened = network.open(&to, Wish::Negotiated, WITHIN, guard).await;
        opened.err()
    };
    let of = |authority: &Authority| Egress {
        authorities: Arc::new(authorities(certificate(authority).as_bytes()).good),
        ..Egress::open()
    };
    let (plain, trusting) = (Egress::open(), of(&authority));
    assert_eq!(open(&plain).await, Some(Failure::Tls));
    assert_eq!(open(&trusting).await, None);
    assert_eq!(open(&trusting.clone()).await, None);
    assert_eq!(network.trusts(), 1, "of one bundle one is made");
    assert_eq!(open(&plain).await, Some(Failure::Tls));
    // The bundle changes: what is no longer in it is no longer trusted, and not kept.
    drop(trusting);
    let other = of(&Authority::new().unwrap());
    assert_eq!(open(&other).await, Some(Failure::Tls));
    assert_eq!(network.trusts(), 1);
}

#[test]
fn of_a_bundle_the_good_certificates_are_taken_and_the_others_told() {
    let der = Authority::new().unwrap().certificate();
    let one = pem("CERTIFICATE", &der);
    let two = certificate(&Authority::new().unwrap());
    let cut = pem("CERTIFICATE", &der[..der.len() / 2]);
    let key = pem("PRIVATE KEY", b"what must not be repeated");
    for (text, good, told) in [
        (one.clone(), 1, None),
        (format!("# of the team\n{one}\n{two}"), 2, None),
        (format!("{one}{one}"), 1, None),
        (format!("{key}{one}"), 1, None),
        (
            format!("{one}{cut}"),
            1,
            Some("certificate 2 is not one that can be trusted"),
        ),
        (
            format!("{one}{}", &two[..100]),
            1,
            Some("certificate 2 is not in PEM form"),
        ),
        (
            String::new(),
            0,
            Some("there is no certificate in PEM form"),
        ),
        (
            "no PEM at all".to_owned(),
            0,
            Some("there is no certificate in PEM form"),
        ),
        (key, 0, Some("there is no certificate in PEM form")),
    ] {
        let read = authorities(text.as_bytes());
        assert_eq!(
            (read.good.len(), read.problem.as_deref()),
            (good, told),
            "{text}"
        );
    }
}
