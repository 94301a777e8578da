use std::{fmt, net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::is_label;

/// The longest address of a subscriber that is accepted, in bytes.
const LONGEST: usize = 2048;

/// Why a text is not the address of a subscriber. Never holds the text: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDestination {
    /// Neither a URL nor `host[:port][/path]`.
    #[error("not an http(s) URL, a DNS name or `name:port/path`: {0}")]
    Malformed(String),
    /// A scheme other than http and https.
    #[error("scheme `{0}` is not supported; use http or https")]
    Scheme(String),
}

/// Where messages are POSTed to: a subscriber, a reply target or a dead-letter sink.
///
/// Its Display and Debug forms carry no user-info, query or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    inner: Arc<Inner>,
}

#[derive(PartialEq, Eq)]
struct Inner {
    shown: String,
    https: bool,
    host: String,
    port: u16,
    host_header: HeaderValue,
    target: Uri,
    authorization: Option<HeaderValue>,
}

impl Destination {
    /// Reads an address as a resource writes it: an http(s) URL as it is, else
    /// `host[:port][/path]`; a host of one label is a Service in `namespace`, but for `localhost`.
    ///
    /// # Errors
    /// [`InvalidDestination`], in words for the condition of the resource.
    pub fn parse(
        text: &str,
        namespace: &str,
        cluster_domain: &str,
    ) -> Result<Self, InvalidDestination> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(malformed(format!(
                "it has {} bytes, 1 to {LONGEST} are allowed",
                text.len()
            )));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed(
                "it has a character that is not visible ASCII".to_owned(),
            ));
        }
        let url = if let Some((scheme, _)) = text.split_once("://") {
            if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
                return Err(InvalidDestination::Scheme(
                    scheme.chars().take(20).collect(),
                ));
            }
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        }
        .map_err(|error| malformed(error.to_string()))?;
        Self::of(&url, namespace, cluster_domain)
    }

    fn of(url: &Url, namespace: &str, cluster_domain: &str) -> Result<Self, InvalidDestination> {
        let host = match url.host() {
            None => return Err(malformed("it has no host".to_owned())),
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                // What `url` lets through, and no name server would be asked for.
                if name.split('.').any(str::is_empty) {
                    return Err(malformed("its host has an empty label".to_owned()));
                }
                // No Service can be meant by it (RFC 6761), and every laptop has one.
                if is_label(name) && name != "localhost" {
                    format!("{name}.{namespace}.svc.{cluster_domain}")
                } else if name.ends_with(".svc") {
                    format!("{name}.{cluster_domain}")
                } else {
                    name.to_owned()
                }
            }
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => format!("[{ip}]"),
        };
        let https = url.scheme() == "https";
        let default_port = if https { 443 } else { 80 };
        let port = url.port().unwrap_or(default_port);
        let authority = if port == default_port {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let bad = |_| malformed("it cannot be sent in a request".to_owned());
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let pair = format!(
                "{}:{}",
                percent_decode(url.username()),
                percent_decode(url.password().unwrap_or_default())
            );
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        });
        let mut authorization = authorization.transpose().map_err(bad)?;
        if let Some(value) = authorization.as_mut() {
            value.set_sensitive(true);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                shown: format!("{}://{authority}{}", url.scheme(), url.path()),
                https,
                port,
                host_header: HeaderValue::try_from(authority).map_err(bad)?,
                target: target
                    .parse()
                    .map_err(|_| malformed("its path cannot be sent in a request".to_owned()))?,
                host,
                authorization,
            }),
        })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.inner.https
    }

    /// The host to look up; an IPv6 literal is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// The address, when the host is a literal one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        let host = &self.inner.host;
        host.strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host)
            .parse()
            .ok()
    }

    /// Whether a connection to one serves the other: scheme, host and port are the same.
    #[must_use]
    pub fn is_same_host(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
            || (self.inner.https == other.inner.https
                && self.inner.host_header == other.inner.host_header)
    }

    /// Where `location` of an answer leads to (RFC 9110 §10.2.2), when scheme, host and port stay
    /// the same; with the same authorization.
    #[must_use]
    pub fn on_same_host(&self, location: &str) -> Option<Self> {
        if location.len() > LONGEST {
            return None;
        }
        let scheme = if self.inner.https { "https" } else { "http" };
        let authority = self.inner.host_header.to_str().ok()?;
        let here = Url::parse(&format!("{scheme}://{authority}{}", self.inner.target)).ok()?;
        let there = here.join(location).ok()?;
        if there.origin() != here.origin() {
            return None;
        }
        let target = match there.query() {
            Some(query) => format!("{}?{query}", there.path()),
            None => there.path().to_owned(),
        };
        Some(Self {
            inner: Arc::new(Inner {
                shown: format!("{scheme}://{authority}{}", there.path()),
                https: self.inner.https,
                host: self.inner.host.clone(),
                port: self.inner.port,
                host_header: self.inner.host_header.clone(),
                target: target.parse().ok()?,
                authorization: self.inner.authorization.clone(),
            }),
        })
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The value of the Host header.
    #[must_use]
    pub fn host_header(&self) -> &HeaderValue {
        &self.inner.host_header
    }

    /// Path and query as the request line has them.
    #[must_use]
    pub fn target(&self) -> &Uri {
        &self.inner.target
    }

    /// `Authorization` made of the URL's user-info, marked sensitive.
    #[must_use]
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.inner.authorization.as_ref()
    }

    /// The URL without user-info, query and fragment: fit for logs, status and dead letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.inner.shown
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

fn malformed(why: String) -> InvalidDestination {
    InvalidDestination::Malformed(why)
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let (b'%', Some(byte)) = (first, hex) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "subscriber/tests.rs"]
mod tests;
