#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::operator::feed::Guarded;

fn unread<K: Object>(raw: Value) -> Box<Unread> {
    match serde_json::from_value::<Guarded<K>>(raw).unwrap() {
        Guarded::Read(object) => panic!("it can be read: {object:?}"),
        Guarded::Unread(unread) => unread,
    }
}

fn raw(kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": busway_api::API_VERSION,
        "kind": kind,
        "metadata": {
            "name": "x", "namespace": "shop", "uid": "u", "generation": 3, "deletionTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{ "manager": "me" }],
        },
        "spec": spec,
        "status": { "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]},
    })
}

#[test]
fn of_a_channel_that_cannot_be_read_its_bus_its_deletion_and_its_status_are_known() {
    let newer = raw(
        "Channel",
        json!({ "bus": "main", "deletionPolicy": "Archive" }),
    );
    let channel: Channel = salvage(&unread::<Channel>(newer)).unwrap();
    assert_eq!(channel.spec.bus.as_deref(), Some("main"));
    assert!(channel.is_going());
    assert_eq!(channel.generation(), 3);
    assert_eq!(channel.conditions().len(), 1);
    assert_eq!(channel.metadata.managed_fields, None);
    let why = undecodable(&channel).unwrap();
    assert!(why.contains("Archive"), "{why}");
}

#[test]
fn a_cluster_bus_that_cannot_be_read_allows_no_more_namespaces_than_before() {
    let newer = raw(
        "ClusterBus",
        json!({
            "memory": { "whenFull": "spill" },
            "allowedNamespaces": { "matchLabels": { "tier": "gold" } },
        }),
    );
    let bus: ClusterBus = salvage(&unread::<ClusterBus>(newer)).unwrap();
    let allowed = bus.spec.allowed_namespaces.unwrap();
    assert_eq!(allowed.match_labels.unwrap()["tier"], "gold");
}

#[test]
fn what_others_need_to_know_is_not_made_up() {
    let newer = raw(
        "Subscription",
        json!({ "channel": 5, "subscriber": "sink" }),
    );
    assert!(salvage::<Subscription>(&unread::<Subscription>(newer)).is_none());
}

#[test]
fn a_status_of_a_newer_form_is_left_out() {
    let mut newer = raw("Bus", json!({ "memory": { "whenFull": "spill" } }));
    newer["status"] = json!({ "conditions": "none" });
    let bus: Bus = salvage(&unread::<Bus>(newer)).unwrap();
    assert!(bus.conditions().is_empty());
}

#[test]
fn nobody_calls_an_object_undecodable_from_outside() {
    let mut channel = Channel::new("x", busway_api::channel::ChannelSpec::default());
    let annotations = channel.annotations_mut();
    annotations.insert(UNDECODABLE.to_owned(), "pretended".to_owned());
    trim(&mut channel);
    assert_eq!(undecodable(&channel), None);
}
