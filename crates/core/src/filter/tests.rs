#![allow(clippy::unwrap_used, reason = "tests")]

use busway_message::convert::to_binary;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const STRUCTURED: &str = "application/cloudevents+json";

fn filter(filters: Value) -> Filter {
    Filter::compile(&FilterSpec::list_from_json(&filters).unwrap()).unwrap()
}

fn refuse(filters: Value) -> String {
    let compiled = FilterSpec::list_from_json(&filters).and_then(|list| Filter::compile(&list));
    let error = compiled.unwrap_err();
    assert!(error.to_string().starts_with(error.path()));
    error.to_string()
}

fn plain(headers: &[(&str, &str)]) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.insert(name, HeaderValue::from_str(value).unwrap());
    }
    Message::new(map, "body".into())
}

fn structured(attributes: Value) -> Message {
    let mut event =
        json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "com.example.made"});
    event
        .as_object_mut()
        .unwrap()
        .extend(attributes.as_object().unwrap().clone());
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(STRUCTURED))];
    Message::new(headers.into_iter().collect(), event.to_string().into())
}

/// Of one event in both modes, which must be the same.
fn evaluate(filters: Value, attributes: Value) -> Match {
    let filter = filter(filters);
    let event = structured(attributes);
    let of_binary = filter.evaluate(&to_binary(&event).unwrap());
    assert_eq!(filter.evaluate(&event), of_binary, "{filter:?}");
    of_binary
}

const MISSING: Match = Match::Failed(Failure::MissingAttribute);

#[test]
fn each_dialect_tells_what_is_wanted() {
    let subject = json!({"subject": "große bilder/a.jpg", "size": 12, "fresh": true});
    for (filters, expected) in [
        (json!([]), Match::Pass),
        (json!(null), Match::Pass),
        (
            json!([{"exact": {"type": "com.example.made"}}]),
            Match::Pass,
        ),
        (json!([{"exact": {"type": "com.example"}}]), Match::Filtered),
        (
            json!([{"exact": {"type": "com.example.made", "source": "/t"}}]),
            Match::Filtered,
        ),
        (
            json!([{"exact": {"size": "12", "fresh": "true"}}]),
            Match::Pass,
        ),
        (
            json!([{"prefix": {"type": "com.", "subject": "große b"}}]),
            Match::Pass,
        ),
        (
            json!([{"prefix": {"type": "com.", "subject": "/"}}]),
            Match::Filtered,
        ),
        (json!([{"suffix": {"subject": ".jpg"}}]), Match::Pass),
        (json!([{"suffix": {"subject": ".png"}}]), Match::Filtered),
        (
            json!([{"not": {"suffix": {"subject": ".png"}}}]),
            Match::Pass,
        ),
        (
            json!([{"not": {"suffix": {"subject": ".jpg"}}}]),
            Match::Filtered,
        ),
        (
            json!([{"any": [{"exact": {"id": "2"}}, {"exact": {"id": "1"}}]}]),
            Match::Pass,
        ),
        (
            json!([{"any": [{"exact": {"id": "2"}}, {"exact": {"id": "3"}}]}]),
            Match::Filtered,
        ),
        (
            json!([{"all": [{"exact": {"id": "1"}}, {"prefix": {"id": "1"}}]}]),
            Match::Pass,
        ),
        (
            json!([{"all": [{"exact": {"id": "1"}}, {"prefix": {"id": "2"}}]}]),
            Match::Filtered,
        ),
        (
            json!([{"exact": {"id": "1"}}, {"prefix": {"id": "2"}}]),
            Match::Filtered,
        ),
        (
            json!([{"cesql": "size * 2 = 24 AND subject LIKE '%.jpg'"}]),
            Match::Pass,
        ),
        (json!([{"cesql": "size > 12"}]), Match::Filtered),
        (json!([{"cesql": "fresh"}]), Match::Pass),
    ] {
        assert_eq!(
            evaluate(filters.clone(), subject.clone()),
            expected,
            "{filters}"
        );
    }
}

#[test]
fn what_cannot_be_told_is_false_and_said() {
    let failed = Match::Failed;
    for (filters, expected) in [
        (json!([{"exact": {"subject": "a"}}]), MISSING),
        (json!([{"prefix": {"subject": "a"}}]), MISSING),
        (json!([{"cesql": "subject = 'a'"}]), MISSING),
        (json!([{"cesql": "type > 1"}]), failed(Failure::Cast)),
        (json!([{"cesql": "1 / 0 = 1"}]), failed(Failure::Math)),
        (
            json!([{"cesql": "LEFT(type, -1) = 'a'"}]),
            failed(Failure::FunctionEvaluation),
        ),
        (json!([{"cesql": "type"}]), failed(Failure::NotBoolean)),
        // False, so that the opposite holds.
        (json!([{"not": {"exact": {"subject": "a"}}}]), Match::Pass),
        (json!([{"not": {"cesql": "subject = 'a'"}}]), Match::Pass),
        (
            json!([{"any": [{"exact": {"subject": "a"}}, {"exact": {"id": "1"}}]}]),
            Match::Pass,
        ),
        (
            json!([{"any": [{"exact": {"subject": "a"}}, {"cesql": "1 / 0 = 1"}]}]),
            MISSING,
        ),
        // What comes after a filter that is false is not looked at.
        (
            json!([{"exact": {"id": "2"}}, {"exact": {"subject": "a"}}]),
            Match::Filtered,
        ),
    ] {
        assert_eq!(evaluate(filters.clone(), json!({})), expected, "{filters}");
    }
}

#[test]
fn headers_are_the_attributes_of_a_plain_message() {
    let message = plain(&[("content-type", "text/plain"), ("x-request-id", "r-1")]);
    for (filters, expected) in [
        (json!([{"exact": {"x-request-id": "r-1"}}]), Match::Pass),
        (json!([{"exact": {"X-Request-Id": "r-1"}}]), Match::Pass),
        (json!([{"prefix": {"xrequestid": "r-"}}]), Match::Pass),
        (
            json!([{"cesql": "xrequestid LIKE 'r-_' AND contenttype = 'text/plain'"}]),
            Match::Pass,
        ),
        (json!([{"exact": {"type": "a"}}]), MISSING),
        (json!([{"cesql": "EXISTS id"}]), Match::Filtered),
    ] {
        assert_eq!(
            filter(filters.clone()).evaluate(&message),
            expected,
            "{filters}"
        );
    }
}

#[test]
fn an_attribute_too_large_to_filter_by_passes_no_filter() {
    let large = structured(json!({"large": "a".repeat(MAX_WORK + 1)}));
    for filters in [
        json!([{"prefix": {"large": "a"}}]),
        json!([{"not": {"prefix": {"large": "b"}}}]),
        json!([{"not": {"cesql": "large = 'b'"}}, {"exact": {"id": "1"}}]),
        json!([{"any": [{"cesql": "large = 'b'"}, {"exact": {"id": "1"}}]}]),
    ] {
        let expected = Match::Failed(Failure::TooCostly);
        assert_eq!(
            filter(filters.clone()).evaluate(&large),
            expected,
            "{filters}"
        );
    }
    assert_eq!(
        filter(json!([{"exact": {"id": "1"}}])).evaluate(&large),
        Match::Pass
    );
}

#[test]
fn what_is_wrong_is_said_with_its_path() {
    let exact = json!({"exact": {"id": "1"}});
    let nested = |depth| (1..depth).fold(exact.clone(), |inner, _| json!({"not": inner}));
    let dialects = "a filter has exactly one of exact, prefix, suffix, all, any, not, cesql";
    for (filters, error) in [
        (json!({}), "filters: this must be a list of filters".to_owned()),
        (json!([exact, 1]), "filters[1]: this must be an object of one dialect".to_owned()),
        (json!([{}]), format!("filters[0]: {dialects}")),
        (json!([{"exact": null, "all": null}]), format!("filters[0]: {dialects}")),
        (json!([{"exact": {"a": "b"}, "cesql": "TRUE"}]), format!("filters[0]: {dialects}")),
        (json!([{"sql": "TRUE"}]), format!("filters[0].sql: {dialects}")),
        (json!([{"all": []}]), "filters[0].all: this must not be empty".to_owned()),
        (json!([{"any": exact}]), "filters[0].any: this must be a list of filters".to_owned()),
        (json!([{"exact": {}}]), "filters[0].exact: this must not be empty".to_owned()),
        (
            json!([{"not": {"exact": {"a": 1}}}]),
            "filters[0].not.exact: this must be an object of strings".to_owned(),
        ),
        (
            json!([{"prefix": {"a": ""}}]),
            "filters[0].prefix: the value of `a` must have 1 to 1024 characters".to_owned(),
        ),
        (
            json!([{"suffix": {"a b": "c"}}]),
            "filters[0].suffix: `a b` can be neither an attribute nor a header".to_owned(),
        ),
        (
            json!([exact, {"any": [exact, {"all": [{"cesql": "type =\n= 1"}]}]}]),
            "filters[1].any[1].all[0].cesql: line 2, column 1: here should be a value, not `=`".to_owned(),
        ),
        (
            json!([{"cesql": "LENGTH(id)"}]),
            "filters[0].cesql: line 1, column 1: a filter gives a Boolean, and this gives an Integer".to_owned(),
        ),
        (
            json!([nested(6)]),
            "filters[0].not.not.not.not.not: filters nest at most 5 levels deep".to_owned(),
        ),
        (
            json!([{"all": vec![exact.clone(); 64]}]),
            "filters[0].all[63]: a subscription has at most 64 filters, nested ones included".to_owned(),
        ),
    ] {
        assert_eq!(refuse(filters.clone()), error, "{filters}");
    }
    assert!(!filter(json!([nested(5)])).is_empty());
    assert!(!filter(json!(vec![exact; 64])).is_empty());
}

#[test]
fn what_was_not_written_in_json_is_bounded_too() {
    let exact = |count: usize, length: usize| {
        let values = (0..count).map(|n| (format!("a{n}"), "x".repeat(length)));
        Filter::compile(&[FilterSpec::Exact(values.collect())])
    };
    assert!(exact(MAX_ATTRIBUTES, MAX_VALUE).is_ok());
    assert_eq!(
        exact(MAX_ATTRIBUTES + 1, 1).unwrap_err().reason(),
        "FilterTooLarge"
    );
    assert_eq!(
        exact(1, MAX_VALUE + 1).unwrap_err().reason(),
        "FilterAttributeInvalid"
    );
    let deep = (0..10).fold(FilterSpec::Cesql("TRUE".to_owned()), |inner, _| {
        FilterSpec::Not(Box::new(inner))
    });
    let error = Filter::compile(&[deep]).unwrap_err();
    assert_eq!(error.path(), "filters[0].not.not.not.not.not");
    let error = Filter::compile(&[FilterSpec::Cesql("TRUE AND".to_owned())]).unwrap_err();
    let position = error.position().unwrap();
    assert_eq!(
        (position.line, position.column, error.reason()),
        (1, 9, "ParseError")
    );
}

proptest! {
    #[test]
    fn a_value_is_the_same_in_both_modes(
        value in "[ -~é🦀%\"\\\\]{1,8}",
        wanted in "[ -~é🦀%\"\\\\]{1,8}",
        number in any::<i32>(),
        flag in any::<bool>(),
        cut in 0..8usize,
    ) {
        let attributes = json!({"text": value, "number": number, "flag": flag});
        let beginning: String = value.chars().take(cut.max(1)).collect();
        let end: String = value.chars().skip(cut.min(value.chars().count() - 1)).collect();
        for (filters, expected) in [
            (json!([{"exact": {"text": value, "number": number.to_string()}}]), Some(true)),
            (json!([{"prefix": {"text": beginning}}, {"suffix": {"text": end}}]), Some(true)),
            (json!([{"exact": {"flag": flag.to_string()}}]), Some(true)),
            (json!([{"exact": {"text": wanted}}]), Some(value == wanted)),
            (json!([{"prefix": {"text": wanted}}]), Some(value.starts_with(&wanted))),
            (json!([{"suffix": {"text": wanted}}]), Some(value.ends_with(&wanted))),
            (json!([{"cesql": format!("number = {number} AND flag = {flag}")}]), Some(true)),
            (json!([{"cesql": "text > number OR flag"}]), None),
        ] {
            let found = evaluate(filters, attributes.clone());
            if let Some(expected) = expected {
                prop_assert_eq!(found == Match::Pass, expected);
            }
        }
    }

    #[test]
    fn any_json_is_compiled_or_refused(
        dialect in "(exact|prefix|suffix|all|any|not|cesql|other)",
        inner in "(\\[\\]|\\{\\}|null|1|\"\"|\"TRUE\"|\\[\\{\\}\\]|\\{\"a\":\"b\"\\}|\\{\"not\":\\{\"cesql\":\"a\"\\}\\})",
    ) {
        let inner: Value = serde_json::from_str(&inner).unwrap();
        if let Ok(list) = FilterSpec::list_from_json(&json!([{dialect: inner}]))
            && let Ok(filter) = Filter::compile(&list) {
            let _evaluated = filter.evaluate(&plain(&[]));
        }
    }
}
