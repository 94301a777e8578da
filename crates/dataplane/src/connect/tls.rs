use std::{fmt, io, sync::Arc};

use busway_core::address::Destination;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::BoxIo;

/// Whom https trusts. Cloning shares it.
#[derive(Clone)]
pub struct Trust {
    config: Option<Arc<ClientConfig>>,
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
            .map(|builder| {
                let mut config = builder.with_root_certificates(roots).with_no_client_auth();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Arc::new(config)
            });
        Self {
            config: config.ok(),
        }
    }

    pub(super) async fn handshake(&self, to: &Destination, tcp: BoxIo) -> io::Result<BoxIo> {
        let config = self
            .config
            .clone()
            .ok_or_else(|| io::Error::other("no TLS in this build"))?;
        let name = match to.ip() {
            Some(ip) => ServerName::from(ip),
            None => ServerName::try_from(to.host().to_owned()).map_err(io::Error::other)?,
        };
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(Box::new(tls))
    }
}
