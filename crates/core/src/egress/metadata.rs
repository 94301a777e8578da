use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// `a:b::c:d`.
const fn v6(a: u16, b: u16, c: u16, d: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, c, d))
}

/// Where clouds answer with metadata or credentials, outside the link-local ranges. (Inside them are
/// 169.254.169.254 of nearly all, 169.254.170.2 and .23 of ECS and EKS, 169.254.42.42 of Scaleway,
/// 169.254.0.23 of Tencent, fe80::a9fe:a9fe of OpenStack.)
pub(super) const METADATA: [IpAddr; 10] = [
    // AWS, EC2 user guide, "Access instance metadata": over IPv6.
    v6(0xfd00, 0xec2, 0, 0x254),
    // AWS, EKS user guide, "Set up the Amazon EKS Pod Identity Agent": the pod's credentials over IPv6.
    v6(0xfd00, 0xec2, 0, 0x23),
    // Google Compute Engine, "About VM metadata": instances with IPv6 only.
    v6(0xfd20, 0xce, 0, 0x254),
    // Azure, "What is IP address 168.63.129.16?": WireServer and HostGAPlugin.
    v4(168, 63, 129, 16),
    // Alibaba Cloud, ECS, "View instance metadata"; over IPv4 and IPv6.
    v4(100, 100, 100, 200),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)),
    // Oracle Cloud: Compute Classic, and Infrastructure over IPv6 (the address in its own SDKs).
    v4(192, 0, 0, 192),
    v6(0xfd00, 0xc1, 0xa9fe, 0xa9fe),
    // Scaleway and Akamai (Linode), as in the docs of cloud-init's datasources of those names.
    v6(0xfd00, 0x42, 0, 0x42),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
];
