#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn channels() -> HashMap<ChannelRef, ChannelState> {
    let object = busway_api::Channel::new("orders", busway_api::ChannelSpec::default());
    let state = ChannelState {
        object: Some(object.into()),
        ..ChannelState::default()
    };
    HashMap::from([(ChannelRef::new("shop", "orders"), state)])
}

fn rules<'a>(reach: Reach, hosts: Option<&'a HostMap>) -> Rules<'a> {
    Rules {
        namespace: "shop",
        cluster_domain: "cluster.local",
        reach,
        loopback: Loopback::Allowed,
        hosts,
        channels: Box::leak(Box::new(channels())),
        receiver: Some("127.0.0.1:8080".parse().unwrap()),
        service: "memory-clusterbus.busway.svc.cluster.local",
    }
}

#[test]
fn a_cluster_bus_keeps_subscribers_in_their_namespace() {
    let rules = rules(Reach::SameNamespace, None);
    for (text, reason) in [
        ("web", None),
        ("web.shop.svc:80/x", None),
        ("https://example.com/x", None),
        ("http://127.0.0.1:9000", None),
        ("web.other.svc", Some("AddressNotAllowed")),
        (
            "http://web.other.svc.cluster.local",
            Some("AddressNotAllowed"),
        ),
        ("pod.web.other.svc", Some("AddressNotAllowed")),
        ("http://10.0.0.1/", Some("AddressNotAllowed")),
        ("http://[fd00::1]/", Some("AddressNotAllowed")),
        (
            "http://orders.other.channels.cluster.local",
            Some("AddressNotAllowed"),
        ),
        ("ftp://x", Some("AddressInvalid")),
    ] {
        let got = rules.resolve("spec.subscriber", text).err();
        assert_eq!(
            got.map(|p| p.reason.into_owned()).as_deref(),
            reason,
            "{text}"
        );
    }
    let strict = Rules {
        loopback: Loopback::Refused,
        ..rules
    };
    assert!(
        strict
            .resolve("spec.subscriber", "http://127.0.0.1:9000")
            .is_err()
    );
}

#[test]
fn a_cluster_name_without_a_local_address_is_named_with_what_to_do() {
    let mut hosts = HostMap::new("cluster.local");
    hosts.insert("web.shop.svc", "127.0.0.1:9000".parse().unwrap());
    let rules = rules(Reach::Any, Some(&hosts));
    for text in [
        "web",
        "http://web.shop.svc/x",
        "orders-channel",
        "http://example.com",
        "http://10.0.0.1",
    ] {
        assert!(rules.resolve("spec.subscriber", text).is_ok(), "{text}");
    }
    let problem = rules.resolve("spec.replyTo", "nobody").unwrap_err();
    assert_eq!(problem.reason, "AddressUnmapped");
    assert!(
        problem.message.contains("spec.replyTo")
            && problem.message.contains("--host nobody.shop.svc=")
    );
}

#[test]
fn every_form_of_a_channels_address_is_seen_to_be_that_channel() {
    let rules = rules(Reach::Any, None);
    for text in [
        "orders-channel",
        "http://orders-channel.shop.svc/",
        "http://orders.shop.channels.cluster.local",
        "http://memory-clusterbus.busway.svc/shop/orders",
        "http://127.0.0.1:8080/shop/orders",
        "http://other-channel.shop.svc/shop/orders",
    ] {
        let destination = rules.parse("f", text).unwrap();
        let channel = rules.channel_at(&destination);
        assert_eq!(
            channel.map(|c| c.to_string()).as_deref(),
            Some("shop/orders"),
            "{text}"
        );
    }
    for text in [
        "http://example.com/shop/orders",
        "http://127.0.0.1:8081/shop/orders",
        "web",
    ] {
        let destination = rules.parse("f", text).unwrap();
        assert_eq!(rules.channel_at(&destination), None, "{text}");
    }
}
