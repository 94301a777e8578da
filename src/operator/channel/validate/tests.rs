#![allow(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use busway_api::{
    AdmittedNamespace, ChannelSpec, ChannelStatus, ClusterBus, DEFAULT_BUS_ANNOTATION, Truth,
    conditions,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::*;
use crate::operator::channel::dereference::{NamespaceView, default_bus};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn channel(on: Option<&str>, said: &[(Said, i64)]) -> Channel {
    let spec = ChannelSpec {
        cluster_bus: on.map(ToOwned::to_owned),
        ..ChannelSpec::default()
    };
    let mut channel = Channel::new("orders", spec);
    channel.metadata.namespace = Some("shop".to_owned());
    let mut status = ChannelStatus::default();
    for (said, second) in said {
        let now = Time(at(*second));
        conditions::set(&mut status.conditions, said.clone(), 1, &now);
    }
    channel.status = Some(status);
    channel
}

fn gold_only(grace: Option<Duration>) -> Found {
    let labels = [("tier".to_owned(), "gold".to_owned())];
    Found {
        carrier: Some(Carrier {
            key: BusKey::Cluster {
                name: "main".to_owned(),
            },
            uid: "u".to_owned(),
            service: "main-clusterbus".to_owned(),
            namespace: "busway-system".to_owned(),
            conditions: Vec::new(),
            provisions_apart: false,
            allowed: Some(LabelSelector {
                match_labels: Some(labels.into()),
                ..LabelSelector::default()
            }),
            revoke_grace: grace,
            revoked: 0,
        }),
        sees_cluster_buses: true,
        ..Found::default()
    }
}

#[test]
fn what_is_missing_is_told_apart() {
    let said = |on, sees| {
        let found = Found {
            sees_cluster_buses: sees,
            ..Found::default()
        };
        let said = accepted(&channel(on, &[]), &found, at(1));
        (said.reason.into_owned(), said.message)
    };
    assert_eq!(said(Some("main"), true).1, "there is no ClusterBus main");
    let (reason, message) = said(Some("main"), false);
    assert_eq!(reason, "BusNotFound");
    assert!(message.contains("single namespaces"), "{message}");
    assert_eq!(said(None, true).0, "NoDefaultBus");
    assert_eq!(said(None, false).0, "NoDefaultBus");
}

/// As its bus remembers its namespace.
fn shut_out(mut found: Found, since: i64) -> Found {
    found.admitted = Some(AdmittedNamespace {
        name: "shop".to_owned(),
        uid: "n".to_owned(),
        revoked: Some(Time(at(since))),
    });
    found
}

fn made(mut channel: Channel, second: i64) -> Channel {
    channel.metadata.creation_timestamp = Some(Time(at(second)));
    channel
}

#[test]
fn a_channel_that_is_no_longer_allowed_has_its_grace_from_when_its_namespace_was_shut_out() {
    let hour = Duration::from_hours(1);
    let found = shut_out(gold_only(Some(hour)), 1_000);
    let old = made(channel(Some("main"), &[]), 500);
    assert_eq!(revoked_at(&old, &found), Some(at(1_000) + hour));
    let first = accepted(&old, &found, at(1_001));
    assert_eq!(first.reason, "NamespaceNotAllowed");
    assert!(
        first.message.contains("it goes on until"),
        "{}",
        first.message
    );
    // It does not move with the time at which it is looked at again.
    assert_eq!(accepted(&old, &found, at(2_000)), first);
    let over = accepted(&old, &found, at(4_600));
    assert!(
        over.message.contains("takes no messages"),
        "{}",
        over.message
    );

    // Without a grace it goes on; a new one, or one of a namespace that never was allowed, has nothing to lose.
    assert_eq!(revoked_at(&old, &shut_out(gold_only(None), 1_000)), None);
    let new = made(channel(Some("main"), &[]), 1_001);
    assert_eq!(revoked_at(&new, &found), None);
    assert_eq!(revoked_at(&old, &gold_only(Some(hour))), None);
    let mut allowed = found.clone();
    allowed.namespace = NamespaceView {
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        ..NamespaceView::default()
    };
    assert_eq!(accepted(&old, &allowed, at(1)).truth, Truth::True);
}

#[test]
fn what_a_channel_says_of_itself_moves_no_grace() {
    let found = shut_out(gold_only(Some(Duration::from_hours(1))), 1_000);
    let runs = Said::yes(ConditionType::Provisioned, Reason::Provisioned, "");
    let refused = Said::no(ConditionType::Accepted, Reason::NamespaceNotAllowed, "");
    let honest = made(channel(Some("main"), &[]), 500);
    let forged = made(
        channel(Some("main"), &[(runs, 1), (refused, 9_000_000_000)]),
        500,
    );
    assert_eq!(revoked_at(&forged, &found), revoked_at(&honest, &found));
}

#[test]
fn the_newest_marked_cluster_bus_that_stays_is_the_default() {
    let bus = |name: &str, made: i64, mark: Option<&str>, going: bool| {
        let mut bus = ClusterBus::new(name, busway_api::ClusterBusSpec::default());
        bus.metadata.creation_timestamp = Some(Time(at(made)));
        bus.metadata.deletion_timestamp = going.then(|| Time(at(99)));
        bus.metadata.annotations =
            mark.map(|mark| [(DEFAULT_BUS_ANNOTATION.to_owned(), mark.to_owned())].into());
        Arc::new(bus)
    };
    let all = [
        bus("old", 1, Some("true"), false),
        bus("b", 5, Some("true"), false),
        bus("a", 5, Some("true"), false),
        bus("going", 9, Some("true"), true),
        bus("no", 9, Some("false"), false),
        bus("unmarked", 9, None, false),
    ];
    assert_eq!(default_bus(&all).as_deref(), Some("a"));
    assert_eq!(default_bus(&all[..1]).as_deref(), Some("old"));
    assert_eq!(default_bus(&all[3..]), None);
}
