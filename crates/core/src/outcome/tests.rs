#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

#[test]
fn every_row_of_the_outcome_table_holds() {
    for status in 100..=599u16 {
        let expected = match status {
            200..=299 => Verdict::Delivered,
            404 | 408 | 409 | 425 | 429 => Verdict::Retry,
            410 => Verdict::Gone,
            501 | 505 => Verdict::Reject,
            s if s >= 500 => Verdict::Retry,
            _ => Verdict::Reject,
        };
        assert_eq!(classify(Outcome::Status(status), &[]), expected, "{status}");
    }
    for failure in [
        Failure::Dns,
        Failure::Connect,
        Failure::Tls,
        Failure::Timeout,
        Failure::Reset,
    ] {
        assert_eq!(classify(Outcome::Failed(failure), &[]), Verdict::Retry);
    }
}

#[test]
fn a_refusal_names_its_rule_and_the_way_out_and_has_one_reason() {
    let failure = Failure::Forbidden(crate::egress::Forbidden::Metadata);
    assert_eq!(failure.reason(), "EgressRefused");
    assert_eq!(
        Outcome::Failed(failure).to_string(),
        "EgressRefused: not dialled: it is a cloud's metadata or credentials service; \
         spec.egress.allow of the bus opens addresses"
    );
}

#[test]
fn rules_come_first_and_the_first_that_matches_wins() {
    let rules = [
        StatusRule::new("418", RuleAction::Accept).unwrap(),
        StatusRule::new("4XX", RuleAction::Retry).unwrap(),
        StatusRule::new("503", RuleAction::Reject).unwrap(),
    ];
    for (status, verdict) in [
        (418, Verdict::Delivered),
        (400, Verdict::Retry),
        (410, Verdict::Retry),
        (503, Verdict::Reject),
        (500, Verdict::Retry),
    ] {
        assert_eq!(
            classify(Outcome::Status(status), &rules),
            verdict,
            "{status}"
        );
    }
    let failed = Outcome::Failed(Failure::Timeout);
    let all = [StatusRule::new("5xx", RuleAction::Accept).unwrap()];
    assert_eq!(classify(failed, &all), Verdict::Retry);
}

#[test]
fn other_patterns_are_refused() {
    for text in ["", "4", "4x", "x4x", "600", "099", "4xxx", "0xx", "ä44"] {
        assert!(StatusRule::new(text, RuleAction::Retry).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_pattern_panics(text in ".{0,6}", status in any::<u16>()) {
        let rules: Vec<_> = StatusRule::new(&text, RuleAction::Accept).into_iter().collect();
        let _ = classify(Outcome::Status(status), &rules);
    }
}
