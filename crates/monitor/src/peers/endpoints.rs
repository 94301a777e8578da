//! The replicas behind a bus's Service, as its EndpointSlices list them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use tokio::task::AbortHandle;
use url::Url;

use super::{Peer, Peers, PeersError, Readiness};
use crate::source::kube::WATCH_SECONDS;

/// The name of a dispatcher's admin port in its Service.
pub const ADMIN_PORT: &str = "admin";
/// Which Service a slice is of.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The pods behind a Service, without this one.
#[derive(Debug)]
pub struct EndpointPeers {
    slices: reflector::Store<EndpointSlice>,
    service: String,
    myself: Option<String>,
    watching: AbortHandle,
}

impl EndpointPeers {
    /// Begins to watch them. `myself` is this pod's name. Needs a tokio runtime.
    #[must_use]
    pub fn start(client: Client, namespace: &str, service: &str, myself: Option<String>) -> Self {
        let (slices, writer) = reflector::store();
        let config = watcher::Config::default()
            .labels(&format!("{SERVICE_LABEL}={service}"))
            .timeout(WATCH_SECONDS);
        let events = watcher(Api::<EndpointSlice>::namespaced(client, namespace), config)
            .default_backoff()
            .reflect(writer);
        let name = service.to_owned();
        let watching = tokio::spawn(events.for_each(move |event| {
            if let Err(error) = event {
                tracing::warn!(%error, service = name, "the replicas are not followed now");
            }
            futures::future::ready(())
        }));
        Self {
            slices,
            service: service.to_owned(),
            myself,
            watching: watching.abort_handle(),
        }
    }
}

impl Drop for EndpointPeers {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl Peers for EndpointPeers {
    async fn peers(&self) -> Result<Vec<Peer>, PeersError> {
        if self.slices.wait_until_ready().now_or_never().is_none() {
            let why = format!(
                "the EndpointSlices of Service {} were not read yet",
                self.service
            );
            return Err(PeersError::Unavailable(why));
        }
        Ok(peers(&self.slices.state(), self.myself.as_deref()))
    }
}

/// One peer a pod, though a pod may be in several slices (one for each kind of address).
fn peers(slices: &[Arc<EndpointSlice>], myself: Option<&str>) -> Vec<Peer> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten();
        let Some(port) = ports
            .filter(|port| port.name.as_deref() == Some(ADMIN_PORT))
            .find_map(|port| u16::try_from(port.port?).ok())
        else {
            continue;
        };
        for endpoint in &slice.endpoints {
            if let Some(peer) = peer(endpoint, port)
                && Some(peer.name.as_str()) != myself
            {
                found.entry(peer.name.clone()).or_insert(peer);
            }
        }
    }
    found.into_values().collect()
}

fn peer(endpoint: &Endpoint, port: u16) -> Option<Peer> {
    let address: std::net::IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let url = Url::parse(&format!(
        "http://{}",
        std::net::SocketAddr::new(address, port)
    ))
    .ok()?;
    let pod = endpoint.target_ref.as_ref().and_then(|t| t.name.clone());
    // Unset means ready; a pod that leaves is not.
    let ready = endpoint.conditions.as_ref().and_then(|c| c.ready);
    Some(Peer {
        name: pod.unwrap_or_else(|| address.to_string()),
        url,
        readiness: if ready.unwrap_or(true) {
            Readiness::Ready
        } else {
            Readiness::NotReady
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn slice(ports: &serde_json::Value, endpoints: &serde_json::Value) -> Arc<EndpointSlice> {
        let slice = json!({
            "addressType": "IPv4", "metadata": {}, "ports": ports, "endpoints": endpoints,
        });
        Arc::new(serde_json::from_value(slice).unwrap())
    }

    fn shown(peers: &[Peer]) -> Vec<String> {
        let show = |p: &Peer| format!("{} {} {:?}", p.name, p.url, p.readiness);
        peers.iter().map(show).collect()
    }

    #[test]
    fn the_pods_behind_a_service_are_peers_but_for_this_one() {
        let ports = json!([{"name": "messages", "port": 8080}, {"name": "admin", "port": 9090}]);
        let pod = |name: &str| json!({"kind": "Pod", "name": name});
        let slices = [
            slice(
                &ports,
                &json!([
                    {"addresses": ["10.0.0.1"], "targetRef": pod("a"), "conditions": {"ready": true}},
                    {"addresses": ["10.0.0.2"], "targetRef": pod("b"), "conditions": {"ready": false}},
                    {"addresses": ["10.0.0.3"], "targetRef": pod("me")},
                    {"addresses": ["10.0.0.4"]},
                    {"addresses": ["no address"], "targetRef": pod("c")},
                ]),
            ),
            slice(
                &ports,
                &json!([
                    {"addresses": ["fd00::1"], "targetRef": pod("a")},
                    {"addresses": ["fd00::5"], "targetRef": pod("e")},
                ]),
            ),
            slice(
                &json!([{"name": "messages", "port": 8080}]),
                &json!([{"addresses": ["10.0.0.9"]}]),
            ),
        ];
        assert_eq!(
            shown(&peers(&slices, Some("me"))),
            [
                "10.0.0.4 http://10.0.0.4:9090/ Ready",
                "a http://10.0.0.1:9090/ Ready",
                "b http://10.0.0.2:9090/ NotReady",
                "e http://[fd00::5]:9090/ Ready",
            ]
        );
    }
}
