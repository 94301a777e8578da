use busway_core::egress::Forbidden;

use super::*;

#[test]
fn shards_and_buses_are_summed_and_a_bus_that_comes_back_goes_on_counting() {
    let metrics = Metrics::new(2, MemoryBudget::new(1000), 0);
    let first = metrics.bus("a");
    let other = metrics.bus("ns/b");
    for counts in first.iter().chain(&other) {
        counts.add(Family::Attempts, OUTCOME_CELLS + 9, 2);
    }
    let up = Up::new(&first[0], Family::Unsettled, 0);
    first[1].sub(Family::Unsettled, 0, 1);
    let attempts =
        |metrics: &Metrics| metrics.get("busway_dispatcher_attempts", &["reply", "Timeout"]);
    assert_eq!(attempts(&metrics), 8);
    assert_eq!(metrics.get("busway_dispatcher_unsettled", &[]), 0);
    drop(up);
    let again = metrics.bus("a");
    drop(first);
    again[0].add(Family::Attempts, OUTCOME_CELLS + 9, 1);
    assert_eq!(attempts(&metrics), 9);
    let text = metrics.encode();
    assert!(
        text.contains(
            r#"busway_dispatcher_attempts_total{bus="a",stage="reply",outcome="Timeout"} 5"#
        ),
        "{text}"
    );
    assert!(text.contains("busway_memory_limit_bytes 1000"), "{text}");
}

const OUTCOME_CELLS: usize = 12;

#[test]
fn outcomes_and_causes_have_their_places() {
    assert_eq!(table::OUTCOMES.len(), OUTCOME_CELLS);
    for (outcome, name) in [
        (Outcome::Status(202), "2xx"),
        (Outcome::Status(307), "3xx"),
        (Outcome::Status(404), "4xx"),
        (Outcome::Status(410), "410"),
        (Outcome::Status(429), "429"),
        (Outcome::Status(503), "5xx"),
        (Outcome::Failed(Failure::Dns), Failure::Dns.reason()),
        (Outcome::Failed(Failure::Connect), Failure::Connect.reason()),
        (Outcome::Failed(Failure::Tls), Failure::Tls.reason()),
        (Outcome::Failed(Failure::Timeout), Failure::Timeout.reason()),
        (Outcome::Failed(Failure::Reset), Failure::Reset.reason()),
        (
            Outcome::Failed(Failure::Forbidden(Forbidden::Own)),
            Failure::Forbidden(Forbidden::Own).reason(),
        ),
    ] {
        assert_eq!(table::OUTCOMES.get(outcome_index(outcome)), Some(&name));
    }
    let metrics = Metrics::new(1, MemoryBudget::new(1), 0);
    let bus = metrics.bus("a");
    for cause in Cause::ALL {
        bus[0].add(Family::Dropped, cause_index(cause), 1);
        assert_eq!(
            metrics.get("busway_dispatcher_dropped", &[cause.reason()]),
            1
        );
    }
}

#[test]
fn durations_fall_into_their_buckets() {
    let metrics = Metrics::new(1, MemoryBudget::new(1), 0);
    let bus = metrics.bus("a");
    for millis in [0, 1, 30_000, 30_001] {
        bus[0].attempt_took(Duration::from_millis(millis));
    }
    let text = metrics.encode();
    for line in [
        r#"busway_dispatcher_attempt_duration_seconds_bucket{le="0.001"} 2"#,
        r#"busway_dispatcher_attempt_duration_seconds_bucket{le="0.002"} 2"#,
        r#"busway_dispatcher_attempt_duration_seconds_bucket{le="30.0"} 3"#,
        r#"busway_dispatcher_attempt_duration_seconds_bucket{le="+Inf"} 4"#,
        "busway_dispatcher_attempt_duration_seconds_count 4",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
