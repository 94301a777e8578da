//! What tests build from.

use std::time::Duration;

use busway_api::{Bus, BusSpec, ClusterBus, ClusterBusSpec, bus::Memory};

use crate::operator::args::{ChannelService, Scope, Settings, ThirdPartyBuses};

pub(crate) fn settings() -> Settings {
    Settings {
        scope: Scope::All,
        namespace: "busway-system".to_owned(),
        image: "registry.test/busway:1".to_owned(),
        image_pull_policy: None,
        dispatcher_role: "busway-dispatcher".to_owned(),
        third_party_buses: ThirdPartyBuses::Cluster,
        channel_service: ChannelService::Auto,
        deletion_bound: Duration::from_secs(600),
        cluster_domain: "cluster.local".to_owned(),
        cluster_id: "0a1b2c3d".to_owned(),
        own_histograms: None,
    }
}

pub(crate) fn memory() -> BusSpec {
    BusSpec {
        memory: Some(Memory::default()),
        ..BusSpec::default()
    }
}

pub(crate) fn bus(spec: BusSpec) -> Bus {
    let mut bus = Bus::new("fast", spec);
    bus.metadata.namespace = Some("shop".to_owned());
    bus.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    bus.metadata.generation = Some(3);
    bus
}

pub(crate) fn cluster_bus(spec: BusSpec) -> ClusterBus {
    let spec = ClusterBusSpec {
        bus: spec,
        ..ClusterBusSpec::default()
    };
    let mut bus = ClusterBus::new("fast", spec);
    bus.metadata.uid = Some("99999999-2222-3333-4444-555555555555".to_owned());
    bus.metadata.generation = Some(1);
    bus
}
