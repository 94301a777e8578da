use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use super::channel_of;

/// Why a text does not map a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `name=address:port`, like web.default.svc=127.0.0.1:9000")]
pub struct InvalidHost(String);

/// Cluster names mapped to local addresses, where there is no cluster DNS (`--host`).
///
/// `web.default`, `web.default.svc` and `web.default.svc.cluster.local` are one name. A channel's own
/// name stands for the receiver of this process, once that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMap {
    entries: BTreeMap<String, SocketAddr>,
    cluster_domain: String,
    receiver: Arc<OnceLock<SocketAddr>>,
}

impl HostMap {
    /// An empty map for this cluster domain.
    #[must_use]
    pub fn new(cluster_domain: &str) -> Self {
        Self {
            entries: BTreeMap::new(),
            cluster_domain: cluster_domain.to_ascii_lowercase(),
            receiver: Arc::default(),
        }
    }

    /// Lets names of channels stand for the receiver at this address, in every clone of this map;
    /// the first address told stays.
    pub fn receive_at(&self, receiver: SocketAddr) {
        let _ = self.receiver.set(receiver);
    }

    /// Adds `name=address:port`.
    ///
    /// # Errors
    /// When it has another form.
    pub fn add(&mut self, entry: &str) -> Result<(), InvalidHost> {
        let invalid = || InvalidHost(entry.to_owned());
        let (name, address) = entry.split_once('=').ok_or_else(invalid)?;
        if name.is_empty() {
            return Err(invalid());
        }
        let address = address.parse().map_err(|_| invalid())?;
        self.insert(name, address);
        Ok(())
    }

    /// Maps a name.
    pub fn insert(&mut self, name: &str, address: SocketAddr) {
        let name = self.canonical(name);
        self.entries.insert(name, address);
    }

    /// The address of a name, if it is mapped or a channel's.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<SocketAddr> {
        if let Some(address) = self.entries.get(&self.canonical(name)) {
            return Some(*address);
        }
        let receiver = *self.receiver.get()?;
        channel_of("/", Some(name), &self.cluster_domain)
            .is_ok()
            .then_some(receiver)
    }

    /// Whether a name is one that only cluster DNS knows.
    #[must_use]
    pub fn is_cluster_name(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        host.ends_with(".svc") || host.ends_with(&format!(".svc.{}", self.cluster_domain))
    }

    fn canonical(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let name = name
            .strip_suffix(&self.cluster_domain)
            .and_then(|rest| rest.strip_suffix('.'))
            .unwrap_or(name);
        name.strip_suffix(".svc").unwrap_or(name).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_name_are_one() {
        let mut map = HostMap::new("cluster.local");
        assert_eq!(map.add("web.default.svc=127.0.0.1:9000"), Ok(()));
        for name in [
            "web.default",
            "WEB.default.svc.cluster.local.",
            "web.default.svc",
        ] {
            assert_eq!(map.get(name), "127.0.0.1:9000".parse().ok(), "{name}");
        }
        assert_eq!(map.get("web.other.svc"), None);
        assert_eq!(map.get("orders-channel.shop.svc"), None);
        let clone = map.clone();
        map.receive_at(([127, 0, 0, 1], 8080).into());
        for name in [
            "orders-channel.shop.svc.cluster.local",
            "orders.shop.channels.cluster.local",
        ] {
            assert_eq!(clone.get(name), "127.0.0.1:8080".parse().ok(), "{name}");
        }
        assert_eq!(clone.get("web.other.svc"), None);
        assert!(map.is_cluster_name("web.default.svc.cluster.local"));
        assert!(!map.is_cluster_name("example.com"));
    }

    #[test]
    fn another_form_is_refused() {
        for entry in ["", "web", "=127.0.0.1:1", "web=127.0.0.1", "web=x:1"] {
            assert!(HostMap::default().add(entry).is_err(), "{entry}");
        }
    }
}
