use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use busway_core::address::Destination;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;

use super::{BoxIo, Stream, Wish};

/// RFC 9113 §3.1.
const HTTP_2: &[u8] = b"h2";
/// RFC 7301 §6.
const HTTP_1: &[u8] = b"http/1.1";

/// Certificates of one bundle that are taken; more are told and left out. Whole distributions trust
/// about 150.
const MAX_AUTHORITIES: usize = 2_000;

/// Whom https trusts. Cloning shares it.
#[derive(Clone)]
pub struct Trust {
    /// Both offered.
    config: Option<Arc<ClientConfig>>,
    /// Only HTTP/1.1 offered.
    http1: Option<Arc<ClientConfig>>,
    roots: Arc<RootCertStore>,
}

/// A trust for each bundle of a bus, made once.
#[derive(Default)]
pub(super) struct Trusts(Mutex<Vec<(Weak<Certificates>, Trust)>>);

/// In DER form.
type Certificates = Vec<Vec<u8>>;

/// What a text in PEM form has of certificate authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    /// Those that can be trusted, in DER form, each once, sorted.
    pub good: Vec<Vec<u8>>,
    /// What is wrong with the others, or that there are none.
    pub problem: Option<String>,
}

/// Reads certificate authorities in PEM form. What is no certificate (a comment, a key) is not looked at.
#[must_use]
pub fn authorities(pem: &[u8]) -> Authorities {
    let (mut good, mut problem) = (BTreeSet::new(), None);
    let mut wrong = |what: String| {
        problem.get_or_insert(what);
    };
    for (place, read) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
        if good.len() >= MAX_AUTHORITIES {
            wrong(format!(
                "certificates past the first {MAX_AUTHORITIES} are left out"
            ));
            break;
        }
        match read {
            Ok(certificate) => match RootCertStore::empty().add(certificate.clone()) {
                Ok(()) => drop(good.insert(certificate.as_ref().to_vec())),
                Err(_) => wrong(format!(
                    "certificate {place} is not one that can be trusted"
                )),
            },
            // What exactly is wrong would repeat what is in it.
            Err(_) => wrong(format!("certificate {place} is not in PEM form")),
        }
    }
    if good.is_empty() {
        wrong("there is no certificate in PEM form".to_owned());
    }
    Authorities {
        good: good.into_iter().collect(),
        problem,
    }
}

impl Trusts {
    /// `base`, and these authorities.
    pub(super) fn with(&self, base: &Trust, authorities: &Arc<Certificates>) -> Trust {
        if authorities.is_empty() {
            return base.clone();
        }
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::downgrade(authorities);
        if let Some((_, trust)) = made.iter().find(|(of, _)| of.ptr_eq(&known)) {
            return trust.clone();
        }
        made.retain(|(of, _)| of.strong_count() > 0);
        let mut roots = RootCertStore::clone(&base.roots);
        let certificates = authorities.iter();
        roots.add_parsable_certificates(
            certificates.map(|der| CertificateDer::from_slice(der).into_owned()),
        );
        let trust = Trust::roots(roots);
        made.push((known, trust.clone()));
        trust
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

impl Trust {
    /// The Mozilla roots, as they were when this was built.
    #[must_use]
    pub fn mozilla() -> Self {
        Self::roots(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        })
    }

    /// Exactly these roots.
    #[must_use]
    pub fn roots(roots: RootCertStore) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| {
                let builder = builder.with_root_certificates(Arc::clone(&roots));
                builder.with_no_client_auth()
            })
            .ok();
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone()?;
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Some(Arc::new(config))
        };
        Self {
            config: offering(&[HTTP_2, HTTP_1]),
            http1: offering(&[HTTP_1]),
            roots,
        }
    }

    pub(super) async fn handshake(
        &self,
        to: &Destination,
        wish: Wish,
        tcp: BoxIo,
    ) -> io::Result<Stream> {
        let config = match wish {
            Wish::Http1 => self.http1.clone(),
            Wish::Negotiated | Wish::Http2 => self.config.clone(),
        };
        let config = config.ok_or_else(|| io::Error::other("no TLS in this build"))?;
        let name = match to.ip() {
            Some(ip) => ServerName::from(ip),
            None => ServerName::try_from(to.host().to_owned()).map_err(io::Error::other)?,
        };
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Stream {
            io: Box::new(tls),
            http2,
        })
    }
}
