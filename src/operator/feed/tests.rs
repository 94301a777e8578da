#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;

type Told = Arc<Mutex<Vec<String>>>;

/// A feed of that many watches, and what it tells.
fn feed(parts: usize) -> (Feed<ConfigMap>, Told) {
    let told = Told::default();
    let (changes, complaints) = (Arc::clone(&told), Arc::clone(&told));
    let mut feed = Feed::new(
        (),
        Keep::whole(),
        Box::new(move |seen, object: &ConfigMap, before| {
            let name = object.metadata.name.clone().unwrap();
            let before = if before.is_some() { " again" } else { "" };
            changes
                .lock()
                .unwrap()
                .push(format!("{seen:?} {name}{before}"));
        }),
        Box::new(move |metadata, _| {
            let name = metadata.name.clone().unwrap();
            complaints.lock().unwrap().push(format!("bad {name}"));
        }),
    );
    feed.parts = (0..parts)
        .map(|_| Part {
            listing: Vec::new(),
            known: HashSet::new(),
            listed: false,
            refused: None,
        })
        .collect();
    (feed, told)
}

fn object(namespace: &str, name: &str, version: &str, data: Value) -> Guarded<ConfigMap> {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "namespace": namespace, "name": name, "resourceVersion": version },
        "data": data,
    }))
    .unwrap()
}

fn good(namespace: &str, name: &str, version: &str) -> Guarded<ConfigMap> {
    object(namespace, name, version, json!({ "v": version }))
}

fn bad(namespace: &str, name: &str) -> Guarded<ConfigMap> {
    object(namespace, name, "99", json!(5))
}

fn list(feed: &mut Feed<ConfigMap>, part: usize, objects: Vec<Guarded<ConfigMap>>) {
    feed.take(part, Event::Init);
    for object in objects {
        feed.take(part, Event::InitApply(object));
    }
    feed.take(part, Event::InitDone);
}

fn stored(feed: &Feed<ConfigMap>) -> Vec<String> {
    let mut all: Vec<_> = feed
        .store()
        .state()
        .iter()
        .map(|object| {
            let version = object.metadata.resource_version.clone().unwrap();
            format!("{}:{version}", object.metadata.name.clone().unwrap())
        })
        .collect();
    all.sort();
    all
}

fn taken(told: &Told) -> Vec<String> {
    let mut all = std::mem::take(&mut *told.lock().unwrap());
    all.sort();
    all
}

#[test]
fn nothing_is_there_until_every_namespace_was_listed() {
    let (mut feed, told) = feed(2);
    list(&mut feed, 0, vec![good("a", "one", "1")]);
    assert!(stored(&feed).is_empty() && taken(&told).is_empty());
    list(&mut feed, 1, vec![good("b", "two", "2")]);
    assert_eq!(stored(&feed), ["one:1", "two:2"]);
    assert_eq!(taken(&told), ["There one", "There two"]);
}

#[test]
fn a_list_anew_takes_nothing_from_another_namespace_and_tells_only_what_changed() {
    let (mut feed, told) = feed(2);
    list(
        &mut feed,
        0,
        vec![
            good("a", "kept", "1"),
            good("a", "gone", "1"),
            good("a", "new", "1"),
        ],
    );
    list(&mut feed, 1, vec![good("b", "other", "2")]);
    taken(&told);
    list(
        &mut feed,
        0,
        vec![good("a", "kept", "1"), good("a", "new", "3")],
    );
    assert_eq!(stored(&feed), ["kept:1", "new:3", "other:2"]);
    assert_eq!(taken(&told), ["Gone gone", "There new again"]);
}

#[test]
fn what_cannot_be_decoded_keeps_its_last_good_form_and_stops_nobody() {
    let (mut feed, told) = feed(1);
    list(
        &mut feed,
        0,
        vec![
            good("a", "one", "1"),
            bad("a", "never"),
            good("a", "two", "1"),
        ],
    );
    assert_eq!(stored(&feed), ["one:1", "two:1"]);
    assert_eq!(taken(&told), ["There one", "There two", "bad never"]);
    feed.take(0, Event::Apply(bad("a", "one")));
    feed.take(0, Event::Apply(good("a", "two", "2")));
    assert_eq!(stored(&feed), ["one:1", "two:2"]);
    list(&mut feed, 0, vec![bad("a", "one"), good("a", "two", "2")]);
    assert_eq!(stored(&feed), ["one:1", "two:2"]);
    feed.take(0, Event::Delete(bad("a", "one")));
    assert_eq!(stored(&feed), ["two:2"]);
}

#[test]
fn what_comes_and_goes_is_told_with_what_was_before() {
    let (mut feed, told) = feed(1);
    list(&mut feed, 0, Vec::new());
    feed.take(0, Event::Apply(good("a", "one", "1")));
    feed.take(0, Event::Apply(good("a", "one", "2")));
    feed.take(0, Event::Delete(good("a", "one", "3")));
    feed.take(0, Event::Delete(good("a", "one", "3")));
    assert_eq!(
        *told.lock().unwrap(),
        ["There one", "There one again", "Gone one"]
    );
    assert!(stored(&feed).is_empty());
}

#[test]
fn a_namespace_that_is_gone_keeps_nobody_waiting_for_the_others() {
    let (mut feed, told) = feed(2);
    list(&mut feed, 0, vec![good("one", "a", "1")]);
    let start = Instant::now();
    feed.refused(1, start);
    assert!(!feed.complete, "its role may be on the way");
    feed.refused(1, start + REFUSED_FOR);
    assert!(feed.complete);
    assert_eq!(stored(&feed), ["a:1"]);
    // It is back.
    list(&mut feed, 1, vec![good("two", "b", "1")]);
    assert_eq!(stored(&feed), ["a:1", "b:1"]);
    assert_eq!(*told.lock().unwrap(), ["There a", "There b"]);
    // What was listed once stays while it is refused.
    feed.refused(0, start + REFUSED_FOR * 9);
    feed.refused(0, start + REFUSED_FOR * 20);
    assert_eq!(stored(&feed), ["a:1", "b:1"]);
}

#[test]
fn one_that_may_list_nothing_at_all_is_not_ready() {
    let (mut feed, _) = feed(1);
    let start = Instant::now();
    feed.refused(0, start);
    feed.refused(0, start + REFUSED_FOR * 2);
    assert!(!feed.complete);
}
