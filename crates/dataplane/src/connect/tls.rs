use std::{fmt, io, sync::Arc};

use busway_core::address::Destination;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{BoxIo, Stream, Wish};

/// RFC 9113 §3.1.
const HTTP_2: &[u8] = b"h2";
/// RFC 7301 §6.
const HTTP_1: &[u8] = b"http/1.1";

/// Whom https trusts. Cloning shares it.
#[derive(Clone)]
pub struct Trust {
    /// Both offered.
    config: Option<Arc<ClientConfig>>,
    /// Only HTTP/1.1 offered.
    http1: Option<Arc<ClientConfig>>,
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
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
            .ok();
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone()?;
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Some(Arc::new(config))
        };
        Self {
            config: offering(&[HTTP_2, HTTP_1]),
            http1: offering(&[HTTP_1]),
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
