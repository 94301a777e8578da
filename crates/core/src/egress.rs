//! Which addresses subscribers may be reached at: a guard on what is dialled, whatever name led
//! there. It is a guard rail; the boundary is a NetworkPolicy.

mod forms;
mod metadata;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;

use self::{forms::Forms, metadata::METADATA};

/// What a bus's own addresses are dialled at: messages. A Service has 80, a pod 8080; the others
/// are for operations and probes.
const MESSAGE_PORTS: [u16; 2] = [80, 8080];

/// What a bus lets its subscriptions dial, and whom it believes there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Opened, whatever they are.
    pub allow: Vec<IpNet>,
    /// Loopback is open: where there is no pod around the process.
    pub loopback: bool,
    /// What is around this process.
    pub around: Arc<Surroundings>,
    /// Other replicas of the bus: only messages go there.
    pub replicas: Vec<IpAddr>,
    /// Certificate authorities that are trusted beside the built-in ones, in DER form.
    pub authorities: Arc<Vec<Vec<u8>>>,
}

/// What is around a process and is nobody's subscriber, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// This pod's addresses.
    pub pod: Vec<IpAddr>,
    /// The API server, where all ports of the address are its: a Service's, or a name's.
    pub api_server: Vec<IpAddr>,
    /// The API server's own endpoints; other ports there are the node's, and may be a subscriber's.
    pub api_endpoints: Vec<SocketAddr>,
    /// The addresses of the bus's Service: only messages go there.
    pub service: Vec<IpAddr>,
    /// The names of that Service.
    pub service_names: Vec<String>,
    /// What was read of `egress.caBundle`; none where nothing is read.
    pub bundle: Option<Bundle>,
}

/// Certificate authorities, as they were read last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Those that are good, in DER form; after a reading that failed, those of the last one.
    pub authorities: Arc<Vec<Vec<u8>>>,
    /// What is wrong with the last reading, in words.
    pub problem: Option<String>,
}

/// Which rule of the guard an address is refused by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Forbidden {
    /// The machine itself.
    #[error("it is a loopback address")]
    Loopback,
    /// No address at all: the machine itself, on most systems.
    #[error("it is the unspecified address, or of its range")]
    Unspecified,
    /// The link, where nodes and clouds answer.
    #[error("it is a link-local address")]
    LinkLocal,
    /// A cloud's metadata service.
    #[error("it is a cloud's metadata or credentials service")]
    Metadata,
    /// Many hosts at once.
    #[error("it is a multicast or broadcast address")]
    Multicast,
    /// This pod's own.
    #[error("it is the dispatcher's own address")]
    Own,
    /// The API server's.
    #[error("it is the API server's address")]
    ApiServer,
    /// The bus's, but not where it takes messages.
    #[error("it is a port of the bus that takes no messages")]
    BusPort,
}

impl Egress {
    /// A guard that lets everything pass: for tests, and for programs that guard themselves.
    #[must_use]
    pub fn open() -> Self {
        let everything = [
            IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        ];
        Self {
            allow: everything.to_vec(),
            ..Self::default()
        }
    }

    /// Whether a range is open that has every address in it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.iter().any(|range| range.prefix_len() == 0)
    }

    /// Whether a name may be dialled at a port, whatever its addresses are.
    ///
    /// # Errors
    /// Which rule refuses it.
    pub fn check_name(&self, host: &str, port: u16) -> Result<(), Forbidden> {
        let host = host.trim_end_matches('.');
        let ours = &self.around.service_names;
        let is_ours = ours.iter().any(|name| name.eq_ignore_ascii_case(host));
        // Whoever opened the Service's addresses opened its name.
        let opened = !self.around.service.is_empty()
            && self.around.service.iter().all(|ip| self.is_allowed(*ip));
        if is_ours && !opened && !MESSAGE_PORTS.contains(&port) {
            return Err(Forbidden::BusPort);
        }
        Ok(())
    }

    /// Whether an address may be dialled: as it is, and as the IPv4 address that may be meant by it.
    ///
    /// # Errors
    /// Which rule refuses it.
    pub fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        if self.is_allowed(address.ip()) {
            return Ok(());
        }
        // Where several may be meant, one that is opened says nothing of the others.
        Forms::of(address.ip())
            .iter()
            .filter(|ip| !self.is_allowed(*ip))
            .try_for_each(|ip| self.check_one(ip, address.port()))
    }

    fn is_allowed(&self, ip: IpAddr) -> bool {
        let ip = forms::plain(ip);
        self.allow.iter().any(|range| range.contains(&ip))
    }

    fn check_one(&self, ip: IpAddr, port: u16) -> Result<(), Forbidden> {
        let is = |known: &IpAddr| forms::plain(*known) == ip;
        let around = &*self.around;
        if around.pod.iter().any(is) {
            return Err(Forbidden::Own);
        }
        let endpoint = |known: &SocketAddr| is(&known.ip()) && known.port() == port;
        if around.api_server.iter().any(is) || around.api_endpoints.iter().any(endpoint) {
            return Err(Forbidden::ApiServer);
        }
        let bus = around.service.iter().chain(&self.replicas).any(is);
        if bus && !MESSAGE_PORTS.contains(&port) {
            return Err(Forbidden::BusPort);
        }
        if METADATA.contains(&ip) {
            return Err(Forbidden::Metadata);
        }
        if ip.is_loopback() && !self.loopback {
            return Err(Forbidden::Loopback);
        }
        let (unspecified, link_local, many) = match ip {
            // All of 0.0.0.0/8 is this host (RFC 6890 §2.2.2).
            IpAddr::V4(v4) => (
                v4.octets()[0] == 0,
                v4.is_link_local(),
                v4.is_multicast() || v4.is_broadcast(),
            ),
            IpAddr::V6(v6) => (
                v6.is_unspecified(),
                v6.is_unicast_link_local(),
                v6.is_multicast(),
            ),
        };
        match (unspecified, link_local, many) {
            (true, _, _) => Err(Forbidden::Unspecified),
            (_, true, _) => Err(Forbidden::LinkLocal),
            (_, _, true) => Err(Forbidden::Multicast),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
