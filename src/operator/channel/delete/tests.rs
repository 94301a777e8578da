#![allow(clippy::unwrap_used, reason = "tests")]

use busway_api::{PROVISIONED_FINALIZER, conditions::Said};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

const BOUND: Duration = Duration::from_mins(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn held(deleted: Option<i64>) -> ObjectMeta {
    ObjectMeta {
        deletion_timestamp: deleted.map(|second| Time(at(second))),
        finalizers: Some(vec!["other".to_owned(), PROVISIONED_FINALIZER.to_owned()]),
        ..ObjectMeta::default()
    }
}

fn judged(meta: &ObjectMeta, hook: &Hook, home: Home, now: i64) -> Verdict {
    judge(meta, PROVISIONED_FINALIZER, hook, home, BOUND, at(now))
}

fn cannot() -> Hook {
    Hook::CannotRun("there is no bus".to_owned())
}

#[test]
fn what_is_not_deleted_or_not_held_by_us_is_free_whatever_is_wrong() {
    let mut deleted = held(Some(0));
    deleted.finalizers = Some(vec!["other".to_owned()]);
    for meta in [held(None), deleted] {
        for home in [Home::Stays, Home::Empty] {
            assert_eq!(judged(&meta, &cannot(), home, 1_000_000), Verdict::Free);
        }
    }
}

#[test]
fn a_hook_that_may_still_succeed_is_waited_for_without_bound() {
    let verdict = judged(&held(Some(0)), &Hook::Runs, Home::Stays, 1_000_000);
    assert_eq!(verdict, Verdict::Working);
}

#[test]
fn the_bound_is_counted_from_the_deletion() {
    for hook in [cannot(), Hook::KeepsFailing("no broker".to_owned())] {
        let (Hook::CannotRun(why) | Hook::KeepsFailing(why)) = hook.clone() else {
            unreachable!()
        };
        let meta = held(Some(100));
        assert_eq!(
            judged(&meta, &hook, Home::Stays, 699),
            Verdict::Waiting {
                until: at(700),
                why: why.clone()
            }
        );
        assert_eq!(
            judged(&meta, &hook, Home::Stays, 700),
            Verdict::Lift { why }
        );
    }
}

#[test]
fn in_an_empty_namespace_nothing_is_waited_for() {
    for hook in [Hook::Runs, cannot()] {
        let verdict = judged(&held(Some(0)), &hook, Home::Empty, 1);
        assert!(matches!(verdict, Verdict::Lift { .. }), "{verdict:?}");
        let verdict = judged(&held(Some(0)), &hook, Home::Emptying, 1);
        assert!(!matches!(verdict, Verdict::Lift { .. }), "{verdict:?}");
    }
}

fn conditions(said: Said) -> Vec<Condition> {
    let mut all = Vec::new();
    busway_api::conditions::set(&mut all, said, 1, &Time(at(0)));
    all
}

#[test]
fn only_a_hook_that_is_tried_in_vain_keeps_failing() {
    let kind = ConditionType::Provisioned;
    for well in [
        Said::yes(kind, Reason::Provisioned, ""),
        Said::unknown(kind, Reason::Pending, ""),
        Said::no(kind, Reason::ChannelDeleted, "it is being removed"),
        Said::no(kind, Reason::Stopped, "it is removed"),
    ] {
        assert_eq!(failing(&conditions(well), kind), None);
    }
    for reason in ["UnprovisionFailed", "HookTimedOut", "NoBrokerOfMine"] {
        let said = Said::no(kind, reason, "no route to host");
        let why = failing(&conditions(said), kind).unwrap();
        assert_eq!(why, format!("{reason}: no route to host"));
    }
    assert_eq!(failing(&[], kind), None);
}

fn carrier(said: &[Said]) -> Carrier {
    let mut conditions = Vec::new();
    for said in said {
        busway_api::conditions::set(&mut conditions, said.clone(), 1, &Time(at(1_000)));
    }
    Carrier {
        key: BusKey::Cluster {
            name: "main".to_owned(),
        },
        uid: "u".to_owned(),
        service: "main-clusterbus".to_owned(),
        namespace: "busway-system".to_owned(),
        conditions,
        provisions_apart: false,
        allowed: None,
        revoke_grace: None,
        revoked: 0,
    }
}

#[test]
fn a_bus_is_dead_when_no_pod_answered_and_none_was_available_for_a_minute() {
    let (serviceable, dispatching) = (ConditionType::Serviceable, ConditionType::Dispatching);
    let down = Said::no(dispatching, Reason::Unavailable, "ImagePullBackOff");
    let silent = Said::no(serviceable, Reason::NoEndpoint, "none");
    let dead = carrier(&[down.clone(), silent.clone()]);
    assert_eq!(dead.dead(at(1_059)), None);
    assert_eq!(dead.dead_in(at(1_059)), Some(Duration::from_secs(1)));
    let (since, why) = dead.dead(at(1_060)).unwrap();
    assert_eq!(since, at(1_000));
    assert!(
        why.contains("ClusterBus main") && why.contains("ImagePullBackOff"),
        "{why}"
    );
    // An old pod still answers while a new image cannot be pulled.
    let rolling = carrier(&[down, Said::yes(serviceable, Reason::Reachable, "")]);
    assert_eq!(rolling.dead(at(100_000)), None);
    let unknown = carrier(&[silent]);
    assert_eq!(unknown.dead(at(100_000)), None);
    assert!(matches!(
        hook(Some(&unknown), "", None, at(1_060)),
        Hook::CannotRun(_)
    ));
    assert!(matches!(
        hook(Some(&carrier(&[])), "", None, at(0)),
        Hook::CannotRun(_)
    ));
    assert_eq!(hook(Some(&rolling), "", None, at(1_000)), Hook::Runs);
    assert_eq!(
        hook(None, "gone", None, at(0)),
        Hook::CannotRun("gone".to_owned())
    );
}

#[test]
fn a_deletion_that_runs_is_not_cut_short_while_a_pod_is_replaced_however_old_it_is() {
    let (serviceable, dispatching) = (ConditionType::Serviceable, ConditionType::Dispatching);
    let bus = carrier(&[
        Said::no(dispatching, Reason::Unavailable, "0 of 1"),
        Said::no(serviceable, Reason::NoEndpoint, "none"),
    ]);
    let verdict = |now| {
        let hook = hook(Some(&bus), "", None, at(now));
        judged(&held(Some(0)), &hook, Home::Stays, now)
    };
    let Verdict::Waiting { until, .. } = verdict(1_001) else {
        panic!("{:?}", verdict(1_001));
    };
    assert_eq!(until, at(1_060));
    assert!(matches!(verdict(1_060), Verdict::Lift { .. }));
}

#[test]
fn a_hook_cannot_run_when_the_provisioner_of_its_own_does_not_though_the_bus_serves() {
    let mut bus = carrier(&[
        Said::yes(ConditionType::Serviceable, Reason::Reachable, ""),
        Said::yes(ConditionType::Dispatching, Reason::Available, ""),
        Said::no(
            ConditionType::Provisioning,
            Reason::Unavailable,
            "CrashLoopBackOff",
        ),
    ]);
    // Where the dispatcher provisions, one that answers does.
    assert_eq!(hook(Some(&bus), "", None, at(9_000)), Hook::Runs);
    bus.provisions_apart = true;
    let Hook::CannotRun(why) = hook(Some(&bus), "", None, at(1_060)) else {
        panic!("it runs");
    };
    assert!(why.contains("CrashLoopBackOff"), "{why}");
    let young = hook(Some(&bus), "", None, at(1_010));
    assert!(matches!(young, Hook::Pauses { .. }), "{young:?}");
}
