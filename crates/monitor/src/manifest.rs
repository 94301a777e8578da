//! The way of a manifest from a file's text to what a bus would be handed, without a source and without a bus.

use std::{collections::HashMap, sync::LazyLock};

use busway_api::{Bus, Channel, ClusterBus, Subscription, validate::Schemas};
use busway_core::{
    BusRef,
    bus::{Ordering, Scope},
    policy::DeliveryOverrides,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    convert::{
        Problem,
        addresses::Rules,
        bus::{self, AnyBus, Reach},
        channel,
        ordering::Order,
        subscription,
    },
    options::Loopback,
    source::{
        Kind,
        folder::documents::{Document, parse},
    },
};

/// What a share of memory is a share of here.
const MEMORY: usize = 256 * 1024 * 1024;

static SCHEMAS: LazyLock<Schemas> = LazyLock::new(Schemas::new);

/// What became of one document.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// It is another's kind.
    Foreign,
    /// It cannot be read, or is no object of ours.
    Unreadable(String),
    /// The API server would refuse it, for each of these.
    Refused(Vec<String>),
    /// The API server would take it, and it is not of the kind's type: a mistake of ours.
    Undecodable(String),
    /// It is taken.
    Taken {
        /// As it would be stored.
        object: Value,
        /// Why it would not be Ready, as far as it tells by itself.
        problem: Option<String>,
    },
}

/// Reads a file's text as dev mode does, and converts what is in it.
#[must_use]
pub fn read(file: &str, text: &str) -> Vec<Manifest> {
    let documents = parse(file, text).into_iter();
    documents.map(|(_, document)| one(document)).collect()
}

fn one(document: Document) -> Manifest {
    let (kind, value) = match document {
        Document::Ours(kind, value) => (kind, value),
        Document::Broken(why) => return Manifest::Unreadable(why),
        _ => return Manifest::Foreign,
    };
    let object = match SCHEMAS.check(&value, None) {
        Ok(object) => object,
        Err(refusals) => {
            return Manifest::Refused(refusals.iter().map(ToString::to_string).collect());
        }
    };
    let converted = match kind {
        Kind::Bus => decoded(&object).map(|bus: Bus| of_bus(&AnyBus::Namespaced(bus.into()))),
        Kind::ClusterBus => {
            decoded(&object).map(|bus: ClusterBus| of_bus(&AnyBus::Cluster(bus.into())))
        }
        Kind::Channel => decoded(&object)
            .map(|it: Channel| channel::parameters(&it, &[]).err().map(|it| it.message)),
        Kind::Subscription => decoded(&object).map(|it: Subscription| of_subscription(&it)),
    };
    match converted {
        Ok(problem) => Manifest::Taken { object, problem },
        Err(error) => Manifest::Undecodable(error.to_string()),
    }
}

fn decoded<T: DeserializeOwned>(object: &Value) -> serde_json::Result<T> {
    serde_json::from_value(object.clone())
}

fn of_bus(resource: &AnyBus) -> Option<String> {
    let name = BusRef::Cluster {
        name: resource.meta().name.clone().unwrap_or_default(),
    };
    let view = bus::view(resource, &name, MEMORY);
    view.err().map(|problem| problem.message)
}

fn of_subscription(resource: &Subscription) -> Option<String> {
    let namespace = resource.metadata.namespace.as_deref();
    let rules = Rules {
        namespace: namespace.unwrap_or("default"),
        cluster_domain: busway_core::address::DEFAULT_CLUSTER_DOMAIN,
        reach: Reach::SameNamespace,
        loopback: Loopback::Allowed,
        hosts: None,
        channels: &HashMap::new(),
        receiver: None,
        service: "",
    };
    let order = Order {
        ordering: &Ordering::SingleConsumer,
        scope: Scope::PerReplica,
        replicas: Some(1),
    };
    let refused = Problem::refused(&resource.spec);
    let below = DeliveryOverrides::default();
    let view = subscription::view(resource, &[], below, &rules, order, refused.as_ref());
    view.problem().map(|problem| problem.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_says_what_would_keep_it_from_being_ready() {
        let subscription = |spec: &str| {
            let head = "apiVersion: channels.busway.dev/v1alpha1\nkind: Subscription\nmetadata: {name: s, namespace: shop}\n";
            read(
                "a.yaml",
                &format!("{head}spec: {{channel: orders, {spec}}}"),
            )
        };
        for (spec, why) in [
            ("subscriber: web", None),
            ("subscriber: web.other.svc", Some("is in namespace other")),
            (
                "subscriber: web, filters: [{cesql: \"1 +\"}]",
                Some("filters[0].cesql"),
            ),
            ("subscriber: web, delivery: {timeout: P1Y}", None),
        ] {
            match subscription(spec).as_slice() {
                [Manifest::Taken { problem, .. }] => {
                    let found = problem
                        .as_deref()
                        .is_none_or(|problem| why.is_some_and(|why| problem.contains(why)));
                    assert!(found && problem.is_some() == why.is_some(), "{problem:?}");
                }
                [Manifest::Refused(_)] => {
                    assert_eq!(spec, "subscriber: web, delivery: {timeout: P1Y}")
                }
                other => panic!("{spec}: {other:?}"),
            }
        }
    }
}
