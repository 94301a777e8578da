#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn check(egress: &Egress, ip: &str) -> Option<Forbidden> {
    check_at(egress, ip, 443)
}

fn check_at(egress: &Egress, ip: &str, port: u16) -> Option<Forbidden> {
    let address = SocketAddr::new(ip.parse().unwrap(), port);
    egress.check(address).err()
}

fn allow(ranges: &[&str]) -> Egress {
    Egress {
        allow: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        ..Egress::default()
    }
}

/// In a pod, on a bus with a Service and another replica.
fn guard() -> Egress {
    Egress {
        around: Arc::new(Surroundings {
            pod: vec![ip("10.1.2.3"), ip("fd01::3")],
            api_server: vec![ip("10.96.0.1")],
            api_endpoints: vec!["192.168.7.2:6443".parse().unwrap()],
            service: vec![ip("10.96.0.20"), ip("fd02::20")],
            service_names: vec![
                "fast-bus.shop.svc.cluster.local".to_owned(),
                "fast-bus.shop.svc".to_owned(),
            ],
            bundle: None,
        }),
        replicas: vec![ip("10.1.2.9")],
        ..Egress::default()
    }
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    let guard = guard();
    for (ip, why) in [
        ("127.0.0.1", Some(Forbidden::Loopback)),
        ("127.9.9.9", Some(Forbidden::Loopback)),
        ("::1", Some(Forbidden::Loopback)),
        ("0.0.0.0", Some(Forbidden::Unspecified)),
        ("0.1.2.3", Some(Forbidden::Unspecified)),
        ("::", Some(Forbidden::Unspecified)),
        ("169.254.169.254", Some(Forbidden::LinkLocal)),
        ("169.254.170.23", Some(Forbidden::LinkLocal)),
        ("fe80::1", Some(Forbidden::LinkLocal)),
        ("fe80::a9fe:a9fe", Some(Forbidden::LinkLocal)),
        ("100.100.100.200", Some(Forbidden::Metadata)),
        ("192.0.0.192", Some(Forbidden::Metadata)),
        ("168.63.129.16", Some(Forbidden::Metadata)),
        ("fd00:ec2::254", Some(Forbidden::Metadata)),
        ("fd00:ec2::23", Some(Forbidden::Metadata)),
        ("fd20:ce::254", Some(Forbidden::Metadata)),
        ("fd00:100::100:200", Some(Forbidden::Metadata)),
        ("fd00:c1::a9fe:a9fe", Some(Forbidden::Metadata)),
        ("fd00:42::42", Some(Forbidden::Metadata)),
        ("fd00:a9fe:a9fe::1", Some(Forbidden::Metadata)),
        ("224.0.0.1", Some(Forbidden::Multicast)),
        ("255.255.255.255", Some(Forbidden::Multicast)),
        ("ff02::1", Some(Forbidden::Multicast)),
        ("10.1.2.3", Some(Forbidden::Own)),
        ("fd01::3", Some(Forbidden::Own)),
        ("10.96.0.1", Some(Forbidden::ApiServer)),
        ("10.1.2.4", None),
        ("192.168.1.1", None),
        ("93.184.215.14", None),
        ("2606:2800:21f:cb07::1", None),
        ("fd00::7", None),
        ("fd00:ec2::255", None),
    ] {
        assert_eq!(check(&guard, ip), why, "{ip}");
    }
}

#[test]
fn an_ipv4_address_is_the_same_in_every_form_that_leads_to_it() {
    let guard = guard();
    for (ip, why) in [
        ("::ffff:127.0.0.1", Some(Forbidden::Loopback)),
        ("::127.0.0.1", Some(Forbidden::Loopback)),
        ("64:ff9b::7f00:1", Some(Forbidden::Loopback)),
        ("2002:7f00:1::1", Some(Forbidden::Loopback)),
        ("::ffff:169.254.169.254", Some(Forbidden::LinkLocal)),
        ("64:ff9b::a9fe:a9fe", Some(Forbidden::LinkLocal)),
        ("2002:a9fe:a9fe::", Some(Forbidden::LinkLocal)),
        // RFC 6052 §2.4, with prefixes of 48, 56, 64 and 96 bits.
        ("64:ff9b:1:a9fe:a9:fe00::", Some(Forbidden::LinkLocal)),
        ("64:ff9b:1:12a9:fe:a9fe::", Some(Forbidden::LinkLocal)),
        ("64:ff9b:1:1234:a9:fea9:fe00:0", Some(Forbidden::LinkLocal)),
        ("64:ff9b:1:1234::a9fe:a9fe", Some(Forbidden::LinkLocal)),
        ("64:ff9b:1::a9fe:a9fe", Some(Forbidden::LinkLocal)),
        ("64:ff9b:1::5db8:d70e", None),
        ("::ffff:10.1.2.3", Some(Forbidden::Own)),
        ("64:ff9b::a01:203", Some(Forbidden::Own)),
        ("64:ff9b::a60:1", Some(Forbidden::ApiServer)),
        ("::ffff:168.63.129.16", Some(Forbidden::Metadata)),
        ("64:ff9b::5db8:d70e", None),
        ("2002:5db8:d70e::1", None),
    ] {
        assert_eq!(check(&guard, ip), why, "{ip}");
    }
}

#[test]
fn a_guess_of_where_an_ipv4_address_is_refuses_no_ordinary_one() {
    let guard = guard();
    // As they are written by RFC 6052 §2.2, each with a prefix of 64:ff9b:1::/48.
    let written = |[a, b, c, d]: [u8; 4]| {
        let of = |places: [usize; 4]| {
            let mut bytes = [0; 16];
            bytes[..6].copy_from_slice(&[0, 0x64, 0xff, 0x9b, 0, 1]);
            for (place, byte) in places.into_iter().zip([a, b, c, d]) {
                bytes[place] = byte;
            }
            IpAddr::from(bytes)
        };
        [
            [6, 7, 9, 10],
            [7, 9, 10, 11],
            [9, 10, 11, 12],
            [12, 13, 14, 15],
        ]
        .map(of)
    };
    let at = |ip| guard.check(SocketAddr::new(ip, 443)).err();
    let ordinary = (0..=255).flat_map(|second| (0..=255).map(move |third| (second, third)));
    // 10.169.254.77 may be a link-local one at the next place, and who knows.
    for (second, third) in ordinary.filter(|bytes| *bytes != (169, 254)) {
        let v4 = [10, second, third, 77];
        for ip in written(v4) {
            assert_eq!(at(ip), None, "{v4:?} as {ip}");
        }
    }
    for (v4, why) in [
        ([169, 254, 169, 254], Forbidden::LinkLocal),
        ([168, 63, 129, 16], Forbidden::Metadata),
        ([10, 1, 2, 3], Forbidden::Own),
        ([10, 96, 0, 1], Forbidden::ApiServer),
    ] {
        for ip in written(v4) {
            assert_eq!(at(ip), Some(why), "{v4:?} as {ip}");
        }
    }
    // What stands for it for certain is refused all the same.
    for ip in ["64:ff9b::7f00:1", "64:ff9b::e000:1", "64:ff9b::ffff:ffff"] {
        assert!(check(&guard, ip).is_some(), "{ip}");
    }
}

#[test]
fn of_the_bus_only_the_ports_for_messages_are_open() {
    let guard = guard();
    for address in ["10.96.0.20", "fd02::20", "10.1.2.9", "::ffff:10.1.2.9"] {
        for (port, why) in [
            (80, None),
            (8080, None),
            (8081, Some(Forbidden::BusPort)),
            (8082, Some(Forbidden::BusPort)),
            (9090, Some(Forbidden::BusPort)),
            (443, Some(Forbidden::BusPort)),
        ] {
            assert_eq!(check_at(&guard, address, port), why, "{address} {port}");
        }
    }
    for (name, port, why) in [
        ("fast-bus.shop.svc.cluster.local", 80, None),
        (
            "fast-bus.shop.svc.cluster.local",
            9090,
            Some(Forbidden::BusPort),
        ),
        ("FAST-BUS.shop.svc.", 9090, Some(Forbidden::BusPort)),
        ("other-bus.shop.svc", 9090, None),
    ] {
        assert_eq!(guard.check_name(name, port).err(), why, "{name} {port}");
    }
}

#[test]
fn of_a_node_with_an_api_server_only_that_port_is_closed() {
    let guard = guard();
    let endpoint = |port| check_at(&guard, "192.168.7.2", port);
    assert_eq!(endpoint(6443), Some(Forbidden::ApiServer));
    assert_eq!(endpoint(30080), None);
}

#[test]
fn a_range_opens_what_is_in_it_whatever_it_is() {
    let opened = |ranges: &[&str], address: &str, port| {
        let guard = Egress {
            allow: allow(ranges).allow,
            ..guard()
        };
        check_at(&guard, address, port)
    };
    for (range, address, port) in [
        ("169.254.0.0/16", "169.254.1.1", 80),
        ("169.254.0.0/16", "::ffff:169.254.1.1", 80),
        ("169.254.0.0/16", "64:ff9b::a9fe:101", 80),
        ("64:ff9b::/96", "64:ff9b::a9fe:101", 80),
        ("fe80::/10", "fe80::1", 80),
        ("127.0.0.0/8", "127.0.0.1", 80),
        ("100.100.100.200/32", "100.100.100.200", 80),
        ("10.1.2.3/32", "10.1.2.3", 8080),
        ("10.96.0.1/32", "10.96.0.1", 443),
        ("192.168.7.0/24", "192.168.7.2", 6443),
        ("10.96.0.20/32", "10.96.0.20", 9090),
        ("224.0.0.0/4", "224.0.0.1", 80),
        ("0.0.0.0/8", "0.0.0.0", 80),
    ] {
        assert!(opened(&[], address, port).is_some(), "{address}");
        assert_eq!(opened(&[range], address, port), None, "{range} {address}");
    }
    // A mapped address goes out as IPv4: IPv6 as a whole does not open it.
    assert_eq!(
        check(&allow(&["::/0"]), "::ffff:127.0.0.1"),
        Some(Forbidden::Loopback)
    );
    let services = Egress {
        allow: allow(&["10.96.0.0/12", "fd02::/64"]).allow,
        ..guard()
    };
    assert_eq!(services.check_name("fast-bus.shop.svc", 9090), Ok(()));
}

#[test]
fn an_ipv4_address_that_is_opened_opens_no_other_that_may_be_meant() {
    let guard = Egress {
        allow: allow(&["10.0.0.0/8"]).allow,
        ..guard()
    };
    // 169.254.169.254 with a prefix of 48 bits, 10.0.0.1 with one of 96.
    let both = "64:ff9b:1:a9fe:a9:fe00:a00:1";
    assert_eq!(check(&guard, both), Some(Forbidden::LinkLocal));
    // The API server's, which is opened by any.
    for ip in [
        "64:ff9b:1:a60:0:100::",
        "64:ff9b:1::a60:1",
        "64:ff9b::a60:1",
    ] {
        assert_eq!(check(&guard, ip), None, "{ip}");
    }
}

#[test]
fn loopback_has_a_word_of_its_own_and_opens_nothing_else() {
    let local = Egress {
        loopback: true,
        ..guard()
    };
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(check(&local, address), None, "{address}");
    }
    for address in ["169.254.1.1", "0.0.0.0", "10.1.2.3", "10.96.0.1"] {
        assert!(check(&local, address).is_some(), "{address}");
    }
    assert_eq!(check(&Egress::open(), "0.0.0.0"), None);
    assert!(Egress::open().is_open() && !local.is_open());
}
