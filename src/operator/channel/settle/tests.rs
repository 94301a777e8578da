#![allow(clippy::unwrap_used, reason = "tests")]

use busway_api::{Channel, ChannelSpec, ChannelStatus, conditions};
use serde_json::json;

use super::*;
use crate::operator::channel::status::OWNERSHIP;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn channel(said: &[Said]) -> Channel {
    let mut channel = Channel::new("orders", ChannelSpec::default());
    channel.metadata.generation = Some(1);
    let mut status = ChannelStatus::default();
    for said in said {
        conditions::set(&mut status.conditions, said.clone(), 1, &Time(time(1)));
    }
    channel.status = Some(status);
    channel
}

fn plan(accepted: Said, ready: Ready) -> Plan {
    Plan {
        accepted,
        more: Vec::new(),
        fields: Map::new(),
        ready,
        again: None,
    }
}

fn good() -> Said {
    Said::yes(ConditionType::Accepted, Reason::Accepted, "")
}

fn bad() -> Said {
    Said::no(
        ConditionType::Accepted,
        Reason::BusNotFound,
        "there is no Bus a/b",
    )
}

fn dead() -> Said {
    Said::no(
        ConditionType::Ready,
        Reason::DispatcherUnavailable,
        "nothing",
    )
}

fn by_operator(said: Said) -> Ready {
    Ready::Operator {
        said,
        since: Some(time(7)),
    }
}

fn says_ready(words: &Words) -> bool {
    words.said.iter().any(|s| s.kind == ConditionType::Ready)
}

fn differs(words: &Words, channel: &Channel) -> bool {
    let now = Time(time(9));
    words
        .status(channel.conditions(), &channel.status_value(), 1, &now)
        .1
}

#[test]
fn ready_is_the_operators_only_where_no_data_plane_lives() {
    let of = |accepted: &Said, beats, dead| Plan::ready_of(accepted, beats, dead);
    assert_eq!(of(&good(), true, None), Ready::DataPlane);
    assert_eq!(of(&good(), false, None), Ready::DataPlane);
    assert_eq!(
        of(&bad(), true, None),
        Ready::DataPlane,
        "the data plane says the same"
    );
    let Ready::Operator { said, since: None } = of(&bad(), false, None) else {
        panic!("nobody else can say it");
    };
    assert_eq!(said.reason, "BusNotFound");
    let gone = Some((time(7), "nothing".to_owned()));
    assert_eq!(of(&good(), false, gone), by_operator(dead()));
}

#[test]
fn the_end_of_a_data_plane_is_told_once_and_who_takes_it_back_is_believed() {
    let plan = plan(good(), by_operator(dead()));
    let ready = Said::yes(ConditionType::Ready, Reason::AllGood, "");
    let serving = channel(&[good(), ready]);
    let first = words(&plan, &serving, &OWNERSHIP, |_| false);
    assert!(says_ready(&first) && differs(&first, &serving));
    // It came back by the data plane's hand.
    let again = words(&plan, &serving, &OWNERSHIP, |end| end == time(7));
    assert!(!says_ready(&again) && !differs(&again, &serving));
    // It stands as it was told.
    let mut told = channel(&[good(), dead()]);
    told.status.as_mut().unwrap().observed_generation = Some(1);
    let still = words(&plan, &told, &OWNERSHIP, |end| end == time(7));
    assert!(says_ready(&still) && !differs(&still, &told));
}

#[test]
fn a_bus_that_is_back_takes_the_bad_news_away() {
    let told = channel(&[good(), dead()]);
    let plan = plan(good(), Ready::DataPlane);
    let words = words(&plan, &told, &OWNERSHIP, |_| true);
    assert!(!says_ready(&words) && words.until_taken.is_some());
    assert!(differs(&words, &told));
    assert!(
        is_unsettled(&plan, &told),
        "the data plane may be about to say so itself"
    );
}

#[test]
fn bad_news_waits_a_moment_and_good_news_does_not() {
    let unseen = channel(&[]);
    assert!(is_unsettled(&plan(bad(), Ready::DataPlane), &unseen));
    assert!(!is_unsettled(&plan(good(), Ready::DataPlane), &unseen));
    let refused = channel(&[bad()]);
    assert!(!is_unsettled(&plan(good(), Ready::DataPlane), &refused));
    assert!(
        !is_unsettled(&plan(bad(), Ready::DataPlane), &refused),
        "it was told"
    );
    let mut coming = plan(good(), Ready::DataPlane);
    let pending = Said::unknown(ConditionType::Serviceable, Reason::Pending, "");
    coming.more.push(pending);
    assert!(is_unsettled(&coming, &unseen));
    assert!(
        !is_unsettled(&coming, &channel(&[good()])),
        "it was there, and went"
    );
}

#[test]
fn what_is_the_data_planes_is_never_in_what_is_written() {
    let provisioned = Said::yes(ConditionType::Provisioned, Reason::Provisioned, "");
    let ready = Said::yes(ConditionType::Ready, Reason::AllGood, "");
    let seen = channel(&[provisioned, ready]);
    let words = words(&plan(good(), Ready::DataPlane), &seen, &OWNERSHIP, |_| {
        false
    });
    let (status, differs) = words.status(seen.conditions(), &json!({}), 1, &Time(time(9)));
    assert!(differs);
    let types: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["Accepted"]);
    assert_eq!(status.get("observedGeneration"), None);
}
