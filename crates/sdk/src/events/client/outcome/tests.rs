#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn outcome(body: &'static str) -> Outcome {
    Outcome::of(StatusCode::OK, &Bytes::from_static(body.as_bytes()))
}

#[test]
fn an_answer_needs_no_more_than_a_name_and_a_version() {
    let Outcome::Success(event) = outcome(r#"{"name":"a:response","version":1}"#) else {
        panic!("no success");
    };
    assert_eq!((event.name.as_str(), event.version), ("a:response", 1));
    for body in [
        r#"{"version":1}"#,
        r#"{"name":"a:response"}"#,
        r#"{"name":"a:response","version":null}"#,
        r#"{"name":"","version":1}"#,
        r#"{"name":"a:response","version":"1"}"#,
        "null",
        "[]",
        "",
        "<html>",
    ] {
        let outcome = outcome(body);
        let is_no_event = matches!(outcome, Outcome::FailedDependency(NoAnswer::NotAnEvent(_)));
        assert!(is_no_event, "{body}: {outcome:?}");
    }
}

#[test]
fn a_redirect_says_where_to() {
    let told = outcome(
        r#"{"name":"a:redirect","version":1,"payload":{"url":"https://x/","queryParameters":{"b":[1]}}}"#,
    );
    let Outcome::Redirect {
        url,
        query_parameters,
        ..
    } = told
    else {
        panic!("no redirect: {told:?}");
    };
    assert_eq!(url, "https://x/");
    assert_eq!(query_parameters["b"], serde_json::json!([1]));
    let bare = outcome(r#"{"name":"a:redirect","version":1,"payload":{"url":"/"}}"#);
    assert!(matches!(bare, Outcome::Redirect { .. }), "{bare:?}");
    let without = outcome(r#"{"name":"a:redirect","version":1}"#);
    assert!(
        matches!(without, Outcome::FailedDependency(_)),
        "{without:?}"
    );
}

#[test]
fn what_may_be_secret_of_a_redirect_is_not_shown_for_debugging() {
    let told = outcome(
        r#"{"name":"a:redirect","version":1,"payload":{"url":"https://secret:secret@x/y?key=secret#secret","queryParameters":{"token":"secret"}}}"#,
    );
    let shown = format!("{told:?}");
    assert!(shown.starts_with("Redirect { url: \"x/y\""), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn every_other_answer_is_an_error_by_what_follows_the_last_colon() {
    for (name, wanted) in [
        ("error", ErrorType::Generic),
        ("a:error", ErrorType::Generic),
        ("a:b:bad_request", ErrorType::BadRequest),
        ("badProtocol", ErrorType::BadProtocol),
        ("a:unauthorized", ErrorType::Unauthorized),
        ("a:forbidden", ErrorType::Forbidden),
        ("a:user_denied", ErrorType::UserDenied),
        ("a:resourceDenied", ErrorType::ResourceDenied),
        ("a:notFound", ErrorType::NotFound),
        ("eventNotFound", ErrorType::EventNotFound),
        ("a:expired", ErrorType::Expired),
        ("a:sold_out", ErrorType::Unknown("sold_out".to_owned())),
        ("response", ErrorType::Unknown("response".to_owned())),
    ] {
        let body = format!(r#"{{"name":"{name}","version":1}}"#);
        match Outcome::of(StatusCode::CREATED, &Bytes::from(body)) {
            Outcome::Error { kind, event } => {
                assert_eq!((kind, event.name.as_str()), (wanted, name));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_status_of_no_success_is_a_failed_dependency_whatever_the_body_says() {
    for status in [
        StatusCode::FOUND,
        StatusCode::BAD_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        let body = Bytes::from_static(br#"{"name":"a:response","version":1}"#);
        match Outcome::of(status, &body) {
            Outcome::FailedDependency(NoAnswer::Status(told)) => assert_eq!(told, status),
            other => panic!("{other:?}"),
        }
    }
}
