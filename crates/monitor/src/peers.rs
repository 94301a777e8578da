//! The other replicas of a bus, and what each of them has loaded: so that Ready means every ready replica.

mod ask;
pub mod endpoints;
mod follow;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::follow::FollowedPeers;

/// What a replica answers to `GET /replica/loaded?since=SEQUENCE` on its admin port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedPage {
    /// Names this run of the replica: another one begins its sequence anew.
    pub replica: String,
    /// Where it is; asked with next time.
    pub sequence: u64,
    /// Whether `set` is all there is, and not what changed since.
    pub full: bool,
    /// UID and generation of what it serves.
    pub set: Vec<(String, i64)>,
    /// UIDs of what it no longer serves.
    #[serde(default)]
    pub removed: Vec<String>,
}

/// Another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in a condition.
    pub name: String,
    /// Its admin port: `http://host:port`.
    pub url: Url,
    /// What is known of its readiness already.
    pub readiness: Readiness,
}

/// Whether a replica is ready, as far as the list of them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The list does not say: its `/readyz` is asked.
    Unknown,
    /// It is, if it answers.
    Ready,
    /// It is not, and does not count.
    NotReady,
}

/// Why the replicas are not known.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// An address that cannot be asked.
    #[error("the peer {0:?} must be a URL as http://host:port")]
    Address(String),
    /// The list cannot be had; the last one counts on.
    #[error("the replicas cannot be listed: {0}")]
    Unavailable(String),
}

impl PeersError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Address(_) => "PeerAddressInvalid",
            Self::Unavailable(_) => "PeersUnavailable",
        }
    }
}

/// Where the list of the other replicas comes from.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// The other replicas, without this process.
    async fn peers(&self) -> Result<Vec<Peer>, PeersError>;
}

/// The replicas that `--peer URL` names.
#[derive(Clone, Debug, Default)]
pub struct FixedPeers(Vec<Peer>);

impl FixedPeers {
    /// Of their admin ports' URLs.
    ///
    /// # Errors
    /// When one is no `http://host:port`: TLS is the mesh's.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, PeersError> {
        let peer = |text: &str| {
            let url = Url::parse(text).ok().filter(|url| {
                url.scheme() == "http"
                    && url.host().is_some()
                    && url.path() == "/"
                    && url.username().is_empty()
            });
            let url = url.ok_or_else(|| PeersError::Address(text.to_owned()))?;
            let name = match (url.host_str(), url.port_or_known_default()) {
                (Some(host), Some(port)) => format!("{host}:{port}"),
                _ => return Err(PeersError::Address(text.to_owned())),
            };
            Ok(Peer {
                name,
                url,
                readiness: Readiness::Unknown,
            })
        };
        urls.into_iter()
            .map(peer)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[async_trait]
impl Peers for FixedPeers {
    async fn peers(&self) -> Result<Vec<Peer>, PeersError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests;
