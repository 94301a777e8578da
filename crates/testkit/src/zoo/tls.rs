//! Certificates that are not to be trusted.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::Manner;

/// An authority that signs certificates for a test; whoever is to trust it gets its
/// [`certificate`](Self::certificate).
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When there is no randomness for a key.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// Its own certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.as_ref().der().clone()
    }

    /// The same, in PEM form.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// What answers TLS with a certificate for these hosts, valid until the year 2100, and
    /// negotiates one of these protocols, if any.
    ///
    /// # Errors
    /// When a host is no name.
    pub fn good(&self, hosts: &[&str], protocols: &[&[u8]]) -> anyhow::Result<TlsAcceptor> {
        self.signed(hosts, 2100, protocols)
    }

    /// The same, with a certificate that ended years ago.
    ///
    /// # Errors
    /// When a host is no name.
    pub fn expired(&self, hosts: &[&str]) -> anyhow::Result<TlsAcceptor> {
        self.signed(hosts, 2020, &[])
    }

    /// What answers TLS in this manner, where that is spoken.
    pub(super) fn acceptor(&self, manner: Manner) -> anyhow::Result<Option<TlsAcceptor>> {
        Ok(match manner {
            Manner::ExpiredCertificate => Some(self.expired(&["127.0.0.1"])?),
            Manner::WrongHostCertificate => Some(self.good(&["other.example"], &[])?),
            Manner::SelfSignedCertificate => {
                let params = CertificateParams::new(["127.0.0.1".to_owned()])?;
                let key = KeyPair::generate()?;
                let certificate = params.self_signed(&key)?;
                Some(acceptor(certificate.der().clone(), &key, &[])?)
            }
            _ => None,
        })
    }

    fn signed(
        &self,
        hosts: &[&str],
        until: i32,
        protocols: &[&[u8]],
    ) -> anyhow::Result<TlsAcceptor> {
        let hosts: Vec<String> = hosts.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        acceptor(certificate.der().clone(), &key, protocols)
    }
}

fn acceptor(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    protocols: &[&[u8]],
) -> anyhow::Result<TlsAcceptor> {
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], secret)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
