//! Which addresses subscribers may be reached at: a guard on what is dialled, whatever name led
//! there. It is a guard rail; the boundary is a NetworkPolicy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses at which clouds answer with credentials, beside the link-local ones.
const METADATA: [IpAddr; 3] = [
    // Alibaba Cloud, Oracle Cloud, and AWS over IPv6.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// What a bus lets its subscriptions dial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Opened, whatever they are.
    pub allow: Vec<IpNet>,
    /// Loopback is open: where there is no pod around the process.
    pub loopback: bool,
    /// Addresses of this process's pod and of the API server.
    pub own: Vec<IpAddr>,
}

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The machine itself.
    #[error("it is a loopback address")]
    Loopback,
    /// No address at all: the machine itself, on most systems.
    #[error("it is the unspecified address")]
    Unspecified,
    /// The link, where nodes and clouds answer.
    #[error("it is a link-local address")]
    LinkLocal,
    /// A cloud's metadata service.
    #[error("it is a cloud's metadata service")]
    Metadata,
    /// Many hosts at once.
    #[error("it is a multicast or broadcast address")]
    Multicast,
    /// This pod's own, or the API server's.
    #[error("it is this pod's own address or the API server's")]
    Own,
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

    /// Whether an address may be dialled. An IPv4 address in IPv6 form is that IPv4 address.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let ip = plain(ip);
        if self.allow.iter().any(|range| range.contains(&ip)) {
            return Ok(());
        }
        if self.own.iter().any(|own| plain(*own) == ip) {
            return Err(Forbidden::Own);
        }
        if METADATA.contains(&ip) {
            return Err(Forbidden::Metadata);
        }
        if ip.is_loopback() {
            return if self.loopback {
                Ok(())
            } else {
                Err(Forbidden::Loopback)
            };
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

/// Without IPv6 around an IPv4 address: mapped (`::ffff:a.b.c.d`), or translated (NAT64, RFC 6052).
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into()
        }
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(egress: &Egress, ip: &str) -> Option<Forbidden> {
        egress.check(ip.parse().unwrap()).err()
    }

    #[test]
    fn what_is_no_subscriber_is_refused_in_every_form() {
        let guard = Egress {
            own: vec!["10.1.2.3".parse().unwrap(), "10.96.0.1".parse().unwrap()],
            ..Egress::default()
        };
        for (ip, why) in [
            ("127.0.0.1", Some(Forbidden::Loopback)),
            ("127.9.9.9", Some(Forbidden::Loopback)),
            ("::1", Some(Forbidden::Loopback)),
            ("::ffff:127.0.0.1", Some(Forbidden::Loopback)),
            ("64:ff9b::7f00:1", Some(Forbidden::Loopback)),
            ("0.0.0.0", Some(Forbidden::Unspecified)),
            ("0.1.2.3", Some(Forbidden::Unspecified)),
            ("::", Some(Forbidden::Unspecified)),
            ("169.254.169.254", Some(Forbidden::LinkLocal)),
            ("::ffff:169.254.169.254", Some(Forbidden::LinkLocal)),
            ("64:ff9b::a9fe:a9fe", Some(Forbidden::LinkLocal)),
            ("fe80::1", Some(Forbidden::LinkLocal)),
            ("100.100.100.200", Some(Forbidden::Metadata)),
            ("fd00:ec2::254", Some(Forbidden::Metadata)),
            ("224.0.0.1", Some(Forbidden::Multicast)),
            ("255.255.255.255", Some(Forbidden::Multicast)),
            ("ff02::1", Some(Forbidden::Multicast)),
            ("10.1.2.3", Some(Forbidden::Own)),
            ("::ffff:10.1.2.3", Some(Forbidden::Own)),
            ("10.96.0.1", Some(Forbidden::Own)),
            ("10.1.2.4", None),
            ("192.168.1.1", None),
            ("93.184.215.14", None),
            ("2606:2800:21f:cb07::1", None),
            ("fd00::7", None),
        ] {
            assert_eq!(check(&guard, ip), why, "{ip}");
        }
    }

    #[test]
    fn a_range_opens_what_is_in_it_and_loopback_has_a_word_of_its_own() {
        let allow = |ranges: &[&str]| Egress {
            allow: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..Egress::default()
        };
        let guard = allow(&["169.254.0.0/16", "fe80::/10"]);
        assert_eq!(check(&guard, "169.254.1.1"), None);
        assert_eq!(check(&guard, "::ffff:169.254.1.1"), None);
        assert_eq!(check(&guard, "fe80::1"), None);
        assert_eq!(check(&guard, "127.0.0.1"), Some(Forbidden::Loopback));
        let local = Egress {
            loopback: true,
            ..Egress::default()
        };
        assert_eq!(check(&local, "127.0.0.1"), None);
        assert_eq!(check(&local, "169.254.1.1"), Some(Forbidden::LinkLocal));
        assert_eq!(check(&Egress::open(), "0.0.0.0"), None);
    }
}
