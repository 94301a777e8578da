//! The IPv4 addresses that may be meant by an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, and what it may become on its way: at most the four of a local NAT64 prefix.
pub(super) struct Forms {
    all: [Option<IpAddr>; 5],
}

impl Forms {
    pub(super) fn of(ip: IpAddr) -> Self {
        let mut all = [None; 5];
        let ip = plain(ip);
        all[0] = Some(ip);
        if let IpAddr::V6(v6) = ip {
            for (place, v4) in all.iter_mut().skip(1).zip(embedded(v6)) {
                *place = v4.map(IpAddr::V4);
            }
        }
        Self { all }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.all.iter().flatten().copied()
    }
}

/// An IPv4-mapped address (`::ffff:a.b.c.d`) is dialled as the IPv4 address, so it is that one.
pub(super) fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

fn embedded(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let bytes = ip.octets();
    let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| bytes[place])));
    match ip.segments() {
        // IPv4-compatible, deprecated (RFC 4291 §2.5.5.1). `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => {
            [at([12, 13, 14, 15]), None, None, None]
        }
        // NAT64's well-known prefix (RFC 6052 §2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => [at([12, 13, 14, 15]), None, None, None],
        // The local one (RFC 8215): which prefix in it is used, and so where the address is (RFC 6052
        // §2.2, byte 8 is skipped), only the network knows.
        [0x64, 0xff9b, 1, ..] => [
            at([6, 7, 9, 10]),
            at([7, 9, 10, 11]),
            at([9, 10, 11, 12]),
            at([12, 13, 14, 15]),
        ]
        .map(|v4| v4.filter(is_translated)),
        // 6to4 (RFC 3056).
        [0x2002, ..] => [at([2, 3, 4, 5]), None, None, None],
        _ => [None; 4],
    }
}

/// Whether a translator forwards to an address at all. One that it drops, as of this host, of many, or
/// loopback, says of a guess that the place is another; without this each guess of a /48 or /64 prefix
/// refused one ordinary address in sixteen.
fn is_translated(ip: &Ipv4Addr) -> bool {
    let this_host = ip.octets()[0] == 0;
    !(this_host || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast())
}
