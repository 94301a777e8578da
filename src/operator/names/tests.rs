use super::*;

#[test]
fn short_names_are_as_a_person_expects_them() {
    assert_eq!(BusName::Bus("fast").base(), "fast-bus");
    assert_eq!(BusName::Bus("fast").dispatcher(), "fast-bus-dispatcher");
    assert_eq!(
        BusName::ClusterBus("fast").provisioner(),
        "fast-clusterbus-provisioner"
    );
    assert_eq!(
        BusName::ClusterBus("fast").cluster_binding("busway-system"),
        "busway-busway-system-fast-clusterbus-dispatcher"
    );
    assert_eq!(channel_service("orders"), "orders-channel");
}

#[test]
fn long_names_fit_keep_what_they_are_and_stay_apart() {
    let (one, other) = ("b".repeat(253), format!("{}c", "b".repeat(252)));
    for name in [one.as_str(), other.as_str()] {
        let name = BusName::ClusterBus(name);
        for (made, end) in [
            (name.base(), "-clusterbus"),
            (name.dispatcher(), "-clusterbus-dispatcher"),
            (name.provisioner(), "-clusterbus-provisioner"),
            (name.channels_binding(), "-clusterbus-dispatcher-channels"),
        ] {
            assert!(made.len() <= 63, "{made}");
            assert!(made.ends_with(end), "{made}");
        }
    }
    assert_ne!(BusName::Bus(&one).base(), BusName::Bus(&other).base());
}

#[test]
fn names_that_a_service_may_not_have_are_changed_and_stay_apart() {
    let (dotted, dashed) = (BusName::Bus("a.b").base(), BusName::Bus("a-b").base());
    assert_eq!(dashed, "a-b-bus");
    assert_ne!(dotted, dashed);
    assert!(!dotted.contains('.'), "{dotted}");
    let binding = |name| BusName::ClusterBus(name).cluster_binding("busway-system");
    assert_ne!(binding("a.b"), binding("a-b"));
    // RFC 1035 before Kubernetes 1.34: the first is a letter.
    let digits = BusName::Bus("9lives").base();
    assert!(digits.starts_with("b9lives-"), "{digits}");
    assert_ne!(digits, BusName::Bus("b9lives").base());
}

#[test]
fn the_children_of_a_cluster_bus_are_known_by_their_names() {
    let long = "c".repeat(253);
    for bus in ["fast", "a.b", "x-clusterbus", "9lives", long.as_str()] {
        for (name, expected) in [(BusName::Bus(bus), false), (BusName::ClusterBus(bus), true)] {
            for child in [
                name.base(),
                name.dispatcher(),
                name.provisioner(),
                name.channels_binding(),
            ] {
                assert_eq!(is_of_cluster_bus(&child), expected, "{child}");
            }
        }
    }
    assert!(!is_of_cluster_bus(&channel_service("a-clusterbus")));
}
