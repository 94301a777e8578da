use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use async_trait::async_trait;
use hickory_resolver::TokioResolver;

use super::Resolve;

/// How long a found address is used without asking again: a Service's does not change, a headless
/// one's pods do.
const KEEP_FOUND: Duration = Duration::from_secs(10);
/// How long a name that does not exist is not asked for again: it may be created any moment.
const KEEP_MISSING: Duration = Duration::from_secs(1);
/// How long one name server may take; connecting has 5 s in all by default.
const ASK_FOR: Duration = Duration::from_secs(2);
/// Names remembered.
const CACHED_NAMES: u64 = 4096;

/// The machine's name servers, asked without blocking a thread (getaddrinfo would, and one dead
/// name server would then stall everyone).
pub struct DnsResolver {
    resolver: Result<TokioResolver, String>,
}

impl std::fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsResolver").finish_non_exhaustive()
    }
}

impl DnsResolver {
    /// Reads the machine's configuration. Where there is none, or it cannot be read, every look-up
    /// fails with the reason.
    #[must_use]
    pub fn system() -> Self {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.positive_max_ttl = Some(KEEP_FOUND);
            options.negative_max_ttl = Some(KEEP_MISSING);
            options.timeout = ASK_FOR;
            options.cache_size = CACHED_NAMES;
            builder.build()
        });
        let resolver = built.map_err(|error| error.to_string());
        if let Err(error) = &resolver {
            tracing::warn!(
                error,
                "no name server: subscribers can only be reached by address"
            );
        }
        Self { resolver }
    }
}

#[async_trait]
impl Resolve for DnsResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if is_localhost(host) {
            return Ok(vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]);
        }
        let resolver = self
            .resolver
            .as_ref()
            .map_err(|error| io::Error::other(error.clone()))?;
        // With a dot at the end no search list is asked.
        let absolute = format!("{}.", host.trim_end_matches('.'));
        let found = resolver
            .lookup_ip(absolute)
            .await
            .map_err(io::Error::other)?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(addresses)
    }
}

/// RFC 6761 §6.3: never asked of a name server.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host
            .rsplit_once('.')
            .is_some_and(|(_, last)| last.eq_ignore_ascii_case("localhost"))
}
