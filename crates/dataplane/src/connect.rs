//! How subscribers are reached: names, TCP, TLS; each part can be replaced.

mod dns;
mod tcp;
mod tls;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use busway_core::{
    address::{Destination, HostMap},
    egress::Egress,
    outcome::Failure,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};

pub use dns::DnsResolver;
pub use tcp::TcpConnector;
use tls::Trusts;
pub use tls::{Authorities, Trust, authorities};

/// A stream of bytes, in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// A boxed stream.
pub type BoxIo = Box<dyn Io>;

/// Which HTTP is to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// HTTP/1.1.
    Http1,
    /// What TLS negotiates; HTTP/1.1 without it.
    Negotiated,
    /// HTTP/2; the other side is known to speak it.
    Http2,
}

/// A connection to a destination.
pub(crate) struct Stream {
    pub(crate) io: BoxIo,
    pub(crate) http2: bool,
}

/// Opens connections.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// A connection to this address. May be dropped at any await.
    async fn connect(&self, address: SocketAddr) -> io::Result<BoxIo>;
}

/// Looks names up, absolutely: never through a search list.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, at least one. May be dropped at any await.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Name look-up, local names, TCP and TLS. Cloning shares it.
#[derive(Clone)]
pub struct Network {
    resolver: Arc<dyn Resolve>,
    connector: Arc<dyn Connect>,
    hosts: Arc<HostMap>,
    trust: Trust,
    trusts: Arc<Trusts>,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl Network {
    /// A network of these parts, with no names of its own.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, connector: Arc<dyn Connect>, trust: Trust) -> Self {
        Self {
            resolver,
            connector,
            hosts: Arc::default(),
            trust,
            trusts: Arc::default(),
        }
    }

    /// The machine's: its name servers, TCP, and the Mozilla roots.
    #[must_use]
    pub fn system() -> Self {
        Self::new(
            Arc::new(DnsResolver::system()),
            Arc::new(TcpConnector),
            Trust::mozilla(),
        )
    }

    /// The same, where these names have these addresses (`--host`).
    #[must_use]
    pub fn with_hosts(mut self, hosts: HostMap) -> Self {
        self.hosts = Arc::new(hosts);
        self
    }

    /// A connection to a destination, within `within`, and whether TLS failed, the name or TCP.
    pub(crate) async fn open(
        &self,
        destination: &Destination,
        wish: Wish,
        within: Duration,
        egress: &Egress,
    ) -> Result<Stream, Failure> {
        let deadline = Instant::now() + within;
        if self.hosts.get(destination.host()).is_none()
            && let Err(rule) = egress.check_name(destination.host(), destination.port())
        {
            tracing::debug!(host = destination.host(), %rule, "not dialled");
            return Err(Failure::Forbidden(rule));
        }
        let addresses = timeout_at(deadline, self.addresses(destination))
            .await
            .map_err(|_| Failure::Dns)?
            .map_err(|error| {
                tracing::debug!(host = destination.host(), %error, "name look-up failed");
                Failure::Dns
            })?;
        let addresses = self.allowed(destination, addresses, egress)?;
        let tcp = self.first_of(&addresses, deadline).await?;
        if !destination.is_https() {
            return Ok(Stream {
                io: tcp,
                http2: wish == Wish::Http2,
            });
        }
        let trust = self.trusts.with(&self.trust, &egress.authorities);
        timeout_at(deadline, trust.handshake(destination, wish, tcp))
            .await
            .map_err(|_| Failure::Tls)?
            .map_err(|error| {
                tracing::debug!(host = destination.host(), %error, "TLS handshake failed");
                Failure::Tls
            })
    }

    async fn addresses(&self, destination: &Destination) -> io::Result<Vec<SocketAddr>> {
        if let Some(mapped) = self.hosts.get(destination.host()) {
            return Ok(vec![mapped]);
        }
        let port = destination.port();
        if let Some(ip) = destination.ip() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let ips = self.resolver.resolve(destination.host()).await?;
        Ok(ips
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }

    /// Those of a destination's addresses that may be dialled. A local name of this process's own is
    /// not a matter of the cluster's.
    fn allowed(
        &self,
        destination: &Destination,
        mut addresses: Vec<SocketAddr>,
        egress: &Egress,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if self.hosts.get(destination.host()).is_some() {
            return Ok(addresses);
        }
        let mut refused = None;
        addresses.retain(|address| match egress.check(*address) {
            Ok(()) => true,
            Err(rule) => {
                tracing::debug!(host = destination.host(), %address, %rule, "not dialled");
                refused.get_or_insert(rule);
                false
            }
        });
        if let (true, Some(rule)) = (addresses.is_empty(), refused) {
            return Err(Failure::Forbidden(rule));
        }
        Ok(addresses)
    }

    /// Tries one address after the other; each may use its share of what time is left.
    async fn first_of(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<BoxIo, Failure> {
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left.max(1);
            left = left.saturating_sub(1);
            match timeout_at(now + share, self.connector.connect(*address)).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(error)) => tracing::debug!(%address, %error, "connecting failed"),
                Err(_) => tracing::debug!(%address, "connecting took too long"),
            }
        }
        Err(Failure::Connect)
    }
}

#[cfg(test)]
impl Network {
    fn trusts(&self) -> usize {
        self.trusts.len()
    }
}

#[cfg(test)]
mod tests;
