#![allow(clippy::unwrap_used, reason = "tests")]

use busway_api::{
    ConditionType::{Dispatching, ReconcilePaused, Serviceable, Synced},
    Reason,
};

use super::*;

const OWNED: &[ConditionType] = &[Serviceable, Dispatching, ReconcilePaused];

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn words(said: &[Said]) -> Words {
    let mut words = Words::new(OWNED, &["service"]);
    for one in said {
        words.say(one.clone());
    }
    words
}

fn serviceable() -> Said {
    Said::yes(Serviceable, Reason::Reachable, "")
}

/// What an object says: the data plane's, and these of the operator's.
fn old(said: &[Said]) -> Vec<Condition> {
    let mut all = Vec::new();
    for one in said {
        conditions::set(&mut all, one.clone(), 1, &at(1));
    }
    conditions::set(&mut all, Said::yes(Synced, Reason::Synced, ""), 1, &at(1));
    all
}

fn names(status: &Value) -> Vec<&str> {
    let all = status["conditions"].as_array().unwrap();
    all.iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect()
}

#[test]
fn what_is_said_already_is_not_written() {
    let (status, differs) =
        words(&[serviceable()]).status(&old(&[serviceable()]), &json!({}), 1, &at(9));
    assert!(!differs, "{status}");
    let (_, differs) =
        words(&[serviceable()]).status(&old(&[serviceable()]), &json!({}), 2, &at(9));
    assert!(differs, "another generation");
}

#[test]
fn the_data_planes_conditions_are_never_in_what_is_written() {
    let (status, differs) = words(&[serviceable()]).status(&old(&[]), &json!({}), 1, &at(9));
    assert!(differs);
    assert_eq!(names(&status), ["Serviceable"]);
}

#[test]
fn a_condition_that_is_said_no_longer_disappears() {
    let paused = Said::yes(ReconcilePaused, Reason::PausedByAnnotation, "");
    let before = old(&[serviceable(), paused]);
    let (status, differs) = words(&[serviceable()]).status(&before, &json!({}), 1, &at(9));
    assert!(differs);
    assert_eq!(names(&status), ["Serviceable"]);
}

#[test]
fn what_stays_unchanged_is_written_as_it_was() {
    let paused = Said::yes(ReconcilePaused, Reason::PausedByAnnotation, "");
    let mut words = words(&[paused]);
    words.unchanged = vec![Serviceable, Dispatching];
    let (status, _) = words.status(&old(&[serviceable()]), &json!({}), 5, &at(9));
    let kept = &status["conditions"][0];
    assert_eq!(
        (kept["type"].as_str(), kept["observedGeneration"].as_i64()),
        (Some("Serviceable"), Some(1))
    );
    assert_eq!(names(&status), ["Serviceable", "ReconcilePaused"]);
}

#[test]
fn a_field_that_has_no_value_any_more_is_a_difference() {
    let before = json!({ "service": "fast-bus", "somebody": "else" });
    let said = words(&[serviceable()]);
    let (status, differs) = said.status(&old(&[serviceable()]), &before, 1, &at(9));
    assert!(differs);
    assert_eq!(status.get("service"), None);
    let mut said = words(&[serviceable()]);
    said.field("service", "fast-bus");
    assert!(!said.status(&old(&[serviceable()]), &before, 1, &at(9)).1);
}
