//! A Bus or ClusterBus.

use std::{sync::Arc, time::Duration};

use busway_api::{
    Bus, ClusterBus,
    bus::{BusSpec as ApiSpec, Egress, Memory, Server, Subscribers, WhenFull},
    parameters as api,
    reason::Reason,
};
use busway_core::{
    BusRef, Uid,
    bus::{BusSpec, MemorySettings, WhenFull as CoreWhenFull},
    duration,
    parameters::Parameter,
    policy::DeliveryOverrides,
    routes::ReceiverSettings,
};
use http::HeaderName;
use ipnet::IpNet;
use kube::{
    Resource,
    core::{ObjectMeta, Selector},
};

use super::{Problem, delivery};

/// The bus of this Monitor, as a resource of either kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AnyBus {
    Namespaced(Arc<Bus>),
    Cluster(Arc<ClusterBus>),
}

impl AnyBus {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Namespaced(bus) => bus.meta(),
            Self::Cluster(bus) => bus.meta(),
        }
    }

    pub(crate) fn spec(&self) -> &ApiSpec {
        match self {
            Self::Namespaced(bus) => &bus.spec,
            Self::Cluster(bus) => &bus.spec.bus,
        }
    }

    pub(crate) fn status(&self) -> Option<&busway_api::BusStatus> {
        match self {
            Self::Namespaced(bus) => bus.status.as_ref(),
            Self::Cluster(bus) => bus.status.as_ref(),
        }
    }
}

/// Where a subscription may send, by its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Any,
    SameNamespace,
}

/// What the rest of the Monitor needs of its bus.
#[derive(Clone, Debug)]
pub(crate) struct BusView {
    pub(crate) spec: BusSpec,
    pub(crate) receiver: Arc<ReceiverSettings>,
    /// Address ranges that are open beside what is open anyway.
    pub(crate) egress: Vec<IpNet>,
    /// The ConfigMap with what is trusted beside the built-in authorities.
    pub(crate) ca_bundle: Option<String>,
    pub(crate) delivery: DeliveryOverrides,
    pub(crate) channel_parameters: Vec<Parameter>,
    pub(crate) subscription_parameters: Vec<Parameter>,
    pub(crate) reach: Reach,
    /// As the resource has them; unset is left to an autoscaler.
    pub(crate) replicas: Option<i32>,
    /// Who may put channels on it; unset: all.
    pub(crate) allowed: Option<Selector>,
    /// How long a channel that is no longer allowed goes on; unset: for ever.
    pub(crate) revoke_grace: Option<Duration>,
}

/// Reads a bus; `memory_limit` is what a share of memory is a share of.
pub(crate) fn view(bus: &AnyBus, name: &BusRef, memory_limit: usize) -> Result<BusView, Problem> {
    let spec = bus.spec();
    let limits = spec.limits.clone().unwrap_or_default();
    let max_memory = memory_of(&limits.memory, memory_limit)
        .ok_or_else(|| delivery::invalid("spec.limits.memory", "not a share or a size"))?;
    let server = spec.server.clone().unwrap_or_default();
    let mut receiver = receiver_settings(&server)?;
    receiver.max_memory = max_memory;
    receiver.max_connections = usize::try_from(limits.connections).unwrap_or(usize::MAX);
    let (reach, allowed, revoke_grace) = match bus {
        AnyBus::Namespaced(_) => (Reach::Any, None, None),
        AnyBus::Cluster(cluster) => {
            let allowed = cluster
                .spec
                .allowed_namespaces
                .clone()
                .map(Selector::try_from);
            let allowed = allowed
                .transpose()
                .map_err(|error| delivery::invalid("spec.allowedNamespaces", &error.to_string()))?;
            let reach = match cluster.spec.subscribers {
                Subscribers::Any => Reach::Any,
                Subscribers::SameNamespace => Reach::SameNamespace,
            };
            let grace = cluster.spec.revoke_grace.as_deref();
            let grace = grace.map(duration::parse).transpose();
            let grace =
                grace.map_err(|error| delivery::invalid("spec.revokeGrace", &error.to_string()))?;
            (reach, allowed, grace)
        }
    };
    let declared = spec.parameters.clone().unwrap_or_default();
    Ok(BusView {
        spec: BusSpec {
            bus: name.clone(),
            uid: Uid::new(bus.meta().uid.as_deref().unwrap_or_default()),
            memory: spec.memory.as_ref().map(memory_settings).transpose()?,
            max_memory,
        },
        receiver: Arc::new(receiver),
        egress: ranges(spec.egress.as_ref())?,
        ca_bundle: ca_bundle(spec.egress.as_ref()),
        delivery: delivery::overrides(spec.delivery.as_ref())?,
        channel_parameters: parameters(&declared.channel),
        subscription_parameters: parameters(&declared.subscription),
        reach,
        replicas: spec.workload.replicas,
        allowed,
        revoke_grace,
    })
}

/// What the resource declares, over what the bus itself brings.
pub(crate) fn declared(own: &[Parameter], resource: &[Parameter]) -> Vec<Parameter> {
    let mut all = resource.to_vec();
    for parameter in own {
        if !all.iter().any(|p| p.name == parameter.name) {
            all.push(parameter.clone());
        }
    }
    all
}

fn ranges(egress: Option<&Egress>) -> Result<Vec<IpNet>, Problem> {
    let ranges = egress.map_or(&[][..], |egress| &egress.allow);
    let parse = |(n, text): (usize, &String)| {
        text.parse().map_err(|_| {
            let path = format!("spec.egress.allow[{n}]");
            delivery::invalid(&path, "not an address range in CIDR form, like 10.0.0.0/8")
        })
    };
    ranges.iter().enumerate().map(parse).collect()
}

fn ca_bundle(egress: Option<&Egress>) -> Option<String> {
    Some(egress?.ca_bundle.as_ref()?.config_map.clone())
}

fn parameters(declared: &[api::Parameter]) -> Vec<Parameter> {
    declared
        .iter()
        .map(|p| Parameter {
            name: p.name.clone(),
            description: p.description.clone().unwrap_or_default(),
            default: p.default.clone(),
        })
        .collect()
}

fn memory_settings(memory: &Memory) -> Result<MemorySettings, Problem> {
    Ok(MemorySettings {
        when_full: match memory.when_full {
            WhenFull::DropOldest => CoreWhenFull::DropOldest,
            WhenFull::Reject => CoreWhenFull::Reject,
        },
        max_messages: usize::try_from(memory.max_messages).unwrap_or(usize::MAX),
        max_bytes: bytes("spec.memory.maxBytes", &memory.max_bytes)?,
    })
}

fn receiver_settings(server: &Server) -> Result<ReceiverSettings, Problem> {
    let time = |path: &str, text: &str| {
        duration::parse(text).map_err(|error| delivery::invalid(path, &error.to_string()))
    };
    let keep = server.keep_headers.iter().enumerate().map(|(n, name)| {
        HeaderName::try_from(name.as_str()).map_err(|error| {
            let path = format!("spec.server.keepHeaders[{n}]");
            Problem::new(Reason::InvalidSpec, format!("{path}: {error}"))
        })
    });
    Ok(ReceiverSettings {
        max_body: bytes("spec.server.maxBody", &server.max_body)?,
        header_timeout: time("spec.server.headerTimeout", &server.header_timeout)?,
        body_timeout: time("spec.server.bodyTimeout", &server.body_timeout)?,
        max_hops: server.max_hops,
        keep_headers: keep.collect::<Result<_, _>>()?,
        ..ReceiverSettings::default()
    })
}

fn bytes(path: &str, text: &str) -> Result<usize, Problem> {
    size(text).ok_or_else(|| delivery::invalid(path, "not a size; write it like 64Mi"))
}

fn memory_of(text: &str, limit: usize) -> Option<usize> {
    let Some(share) = text.strip_suffix('%') else {
        return size(text);
    };
    let share: usize = share.parse().ok().filter(|s| (1..=100).contains(s))?;
    Some((limit / 100).saturating_mul(share))
}

/// `1048576`, `512Ki`, `64Mi`, `1G`.
fn size(text: &str) -> Option<usize> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
        .unwrap_or((text, 1));
    let number: u64 = number.parse().ok()?;
    usize::try_from(number.checked_mul(unit)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read() {
        for (text, expected) in [
            ("1048576", Some(1 << 20)),
            ("512Ki", Some(512 << 10)),
            ("1G", Some(1_000_000_000)),
            ("", None),
            ("Mi", None),
            ("99999999999Ti", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        assert_eq!(memory_of("50%", 1000), Some(500));
        assert_eq!(memory_of("0%", 1000), None);
        assert_eq!(memory_of("1Ki", 1000), Some(1024));
    }

    #[test]
    fn a_resource_may_change_the_default_of_what_a_bus_brings() {
        let parameter = |name: &str, default: Option<&str>| Parameter {
            name: name.to_owned(),
            description: String::new(),
            default: default.map(str::to_owned),
        };
        let own = [parameter("a", Some("1")), parameter("b", None)];
        let all = declared(&own, &[parameter("a", Some("2")), parameter("c", None)]);
        let names: Vec<_> = all
            .iter()
            .map(|p| (p.name.as_str(), p.default.as_deref()))
            .collect();
        assert_eq!(names, [("a", Some("2")), ("c", None), ("b", None)]);
    }
}
