#![allow(clippy::unwrap_used, reason = "tests")]

use busway_api::{
    ChannelSpec, SubscriptionSpec,
    conditions::{self, Said},
    reason::Reason,
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

fn at(name: &str) -> At {
    ("shop".to_owned(), name.to_owned())
}

fn main() -> BusKey {
    BusKey::Cluster {
        name: "main".to_owned(),
    }
}

fn channel(name: &str, bus: Option<&str>) -> Channel {
    let spec = ChannelSpec {
        cluster_bus: bus.map(ToOwned::to_owned),
        ..ChannelSpec::default()
    };
    let mut channel = Channel::new(name, spec);
    channel.metadata.namespace = Some("shop".to_owned());
    channel.metadata.uid = Some(format!("uid-of-{name}"));
    channel.metadata.generation = Some(1);
    channel
}

fn subscription(name: &str, channel: &str) -> Subscription {
    let spec = SubscriptionSpec {
        channel: channel.to_owned(),
        ..serde_json::from_value(serde_json::json!({ "channel": "", "subscriber": "a" })).unwrap()
    };
    let mut subscription = Subscription::new(name, spec);
    subscription.metadata.namespace = Some("shop".to_owned());
    subscription.metadata.uid = Some(format!("uid-of-{name}"));
    subscription
}

fn carrier(said: &[Said]) -> Carrier {
    let mut conditions = Vec::new();
    for said in said {
        let now = Time(Timestamp::from_second(1).unwrap());
        conditions::set(&mut conditions, said.clone(), 1, &now);
    }
    Carrier {
        key: main(),
        uid: "uid-of-main".to_owned(),
        service: "main-clusterbus".to_owned(),
        namespace: "busway-system".to_owned(),
        conditions,
        provisions_apart: false,
        allowed: None,
        revoke_grace: None,
        revoked: 0,
    }
}

fn known() -> Index {
    let index = Index::default();
    index.bus(&main(), Some(&carrier(&[])));
    for name in ["a", "b"] {
        index.channel(&at(name), Some(&channel(name, Some("main"))));
    }
    index.channel(&at("free"), Some(&channel("free", None)));
    for (name, on) in [("s", "a"), ("t", "a"), ("u", "b")] {
        index.subscription(&at(name), Some(&subscription(name, on)));
    }
    index
}

fn names(mut all: Vec<At>) -> Vec<String> {
    all.sort();
    all.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn a_bus_concerns_its_channels_and_what_ends_or_begins_their_subscriptions() {
    let index = known();
    assert_eq!(index.bus(&main(), Some(&carrier(&[]))), Asked::default());
    let serviceable = Said::no(ConditionType::Serviceable, Reason::NoEndpoint, "none");
    let asked = index.bus(&main(), Some(&carrier(&[serviceable])));
    assert_eq!(names(asked.channels), ["a", "b"]);
    assert!(asked.subscriptions.is_empty());
    let beats = Said::yes(ConditionType::Dispatching, Reason::Available, "");
    let asked = index.bus(&main(), Some(&carrier(&[beats])));
    assert_eq!(names(asked.subscriptions), ["s", "t", "u"]);
    let asked = index.bus(&main(), None);
    assert_eq!((asked.channels.len(), asked.subscriptions.len()), (2, 3));
    assert_eq!(names(index.undecided()), ["free"]);
}

#[test]
fn a_provisioner_that_stops_concerns_the_channels_and_subscriptions_that_wait_for_it() {
    let index = known();
    let stopped = Said::no(ConditionType::Provisioning, Reason::Unavailable, "none");
    let mut apart = carrier(&[]);
    apart.provisions_apart = true;
    assert_eq!(index.bus(&main(), Some(&apart)), Asked::default());
    apart = carrier(&[stopped]);
    apart.provisions_apart = true;
    let asked = index.bus(&main(), Some(&apart));
    assert_eq!((asked.channels.len(), asked.subscriptions.len()), (2, 3));
}

#[test]
fn a_namespace_that_a_bus_shuts_out_concerns_its_channels() {
    let index = known();
    let mut bus = carrier(&[]);
    bus.revoked = 1;
    assert_eq!(names(index.bus(&main(), Some(&bus)).channels), ["a", "b"]);
}

#[test]
fn a_channel_concerns_its_subscriptions_when_it_comes_or_goes_and_not_when_it_is_written_to() {
    let index = known();
    let mut same = channel("a", Some("main"));
    same.metadata.resource_version = Some("7".to_owned());
    let mut status = busway_api::ChannelStatus::default();
    let now = Time(Timestamp::from_second(1).unwrap());
    let provisioned = Said::yes(ConditionType::Provisioned, Reason::Provisioned, "");
    conditions::set(&mut status.conditions, provisioned, 1, &now);
    same.status = Some(status);
    assert_eq!(index.channel(&at("a"), Some(&same)), Asked::default());
    same.metadata.generation = Some(2);
    let asked = index.channel(&at("a"), Some(&same));
    assert_eq!((asked.channels.len(), asked.subscriptions.len()), (1, 0));
    same.metadata.deletion_timestamp = Some(now);
    let asked = index.channel(&at("a"), Some(&same));
    assert_eq!(names(asked.subscriptions), ["s", "t"]);
    let asked = index.channel(&at("a"), None);
    assert_eq!(names(asked.subscriptions), ["s", "t"]);
    assert!(asked.channels.is_empty(), "there is nothing to look at");
}

#[test]
fn a_channel_that_is_put_on_a_bus_is_found_there_and_no_more_where_it_was() {
    let index = known();
    index.channel(&at("free"), Some(&channel("free", Some("main"))));
    assert!(index.undecided().is_empty());
    let asked = index.bus(&main(), None);
    assert_eq!(names(asked.channels), ["a", "b", "free"]);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let index = known();
    for name in ["s", "t", "u"] {
        index.subscription(&at(name), None);
    }
    for name in ["a", "b", "free"] {
        index.channel(&at(name), None);
    }
    index.bus(&main(), None);
    let known = index.lock();
    assert!(known.channels.is_empty() && known.subscriptions.is_empty());
    assert!(known.on_bus.is_empty() && known.on_channel.is_empty());
    assert!(known.in_namespace.is_empty() && known.buses.is_empty());
}

#[test]
fn labels_of_a_namespace_concern_what_is_in_it() {
    let index = known();
    let mut metadata = ObjectMeta::default();
    index.namespace("shop", Some(&metadata));
    assert_eq!(index.namespace("shop", Some(&metadata)), Asked::default());
    metadata.labels = Some([("tier".to_owned(), "gold".to_owned())].into());
    let asked = index.namespace("shop", Some(&metadata));
    assert_eq!(names(asked.channels), ["a", "b", "free"]);
    assert_eq!(index.namespace("bank", Some(&metadata)), Asked::default());
}
