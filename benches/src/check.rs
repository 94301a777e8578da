//! What makes a run worth nothing, whatever its figures.

use std::time::Duration;

use crate::{load::Report, tally::Tally};

/// How late the generator may send: 99 of 100 messages within [`LATE_P99`] of their time. On two cores that are
/// shared with the system and the sinks a thread waits for a few time slices; a schedule that slips further is not
/// the offered rate any more.
pub(crate) const LATE_P99: Duration = Duration::from_millis(20);
/// No message later than this: a stall of the whole machine, however short its effect on the 99th percentile.
pub(crate) const LATE_MAX: Duration = Duration::from_millis(500);

/// Why a run does not count.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "deliveries are not accepted × fan-out: {accepted} × {fan_out} = {}, but {} arrived \
         (and {} twice or more, {} of an earlier run, {} altered)",
        accepted * fan_out, tally.unique, tally.duplicates, tally.foreign, tally.altered
    )]
    Deliveries {
        accepted: u64,
        fan_out: u64,
        tally: Box<Tally>,
    },
    #[error(
        "the generator missed its times: 99 % within {p99:?} (bound {LATE_P99:?}), the latest {max:?} late \
         (bound {LATE_MAX:?})"
    )]
    Times { p99: Duration, max: Duration },
    #[error(
        "of {planned} messages {accepted} were accepted, {refused} refused and {broken} not answered; first: {first}"
    )]
    NotAccepted {
        planned: u64,
        accepted: u64,
        refused: u64,
        broken: u64,
        first: String,
    },
}

/// Each accepted message reached each sink, once, unaltered.
pub(crate) fn deliveries(accepted: u64, fan_out: u64, tally: &Tally) -> Result<(), Failure> {
    let all_there = tally.unique == accepted * fan_out;
    if all_there && tally.duplicates == 0 && tally.foreign == 0 && tally.altered == 0 {
        return Ok(());
    }
    Err(Failure::Deliveries {
        accepted,
        fan_out,
        tally: Box::new(tally.clone()),
    })
}

/// Each message was sent when it was due.
pub(crate) fn times(report: &Report) -> Result<(), Failure> {
    let p99 = Duration::from_micros(report.late.p99.into());
    let max = Duration::from_micros(report.late.max.into());
    if p99 <= LATE_P99 && max <= LATE_MAX {
        return Ok(());
    }
    Err(Failure::Times { p99, max })
}

/// Each message that was to be sent was accepted.
pub(crate) fn accepted(report: &Report) -> Result<(), Failure> {
    if report.accepted == report.planned && report.accepted > 0 {
        return Ok(());
    }
    Err(Failure::NotAccepted {
        planned: report.planned,
        accepted: report.accepted,
        refused: report.refused,
        broken: report.broken,
        first: report.first_trouble.clone().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::stats::Quantiles;

    #[test]
    fn a_run_with_a_missing_or_a_surplus_delivery_fails() {
        let good = Tally {
            unique: 50,
            ..Tally::default()
        };
        assert_eq!(deliveries(5, 10, &good), Ok(()));
        let bad: [fn(&mut Tally); 5] = [
            |t| t.unique = 49,
            |t| t.unique = 51,
            |t| t.duplicates = 1,
            |t| t.foreign = 1,
            |t| t.altered = 1,
        ];
        for spoil in bad {
            let mut tally = good.clone();
            spoil(&mut tally);
            let said = deliveries(5, 10, &tally).unwrap_err().to_string();
            assert!(said.contains("5 × 10 = 50"), "{said}");
        }
    }

    #[test]
    fn a_duplicate_does_not_make_up_for_a_loss() {
        let tally = Tally {
            unique: 49,
            duplicates: 1,
            ..Tally::default()
        };
        assert!(deliveries(5, 10, &tally).is_err());
    }

    #[test]
    fn a_generator_that_missed_its_times_fails_the_run() {
        let late = |p99: Duration, max: Duration| {
            let micros = |span: Duration| u32::try_from(span.as_micros()).unwrap();
            let late = Quantiles {
                p50: 0,
                p99: micros(p99),
                max: micros(max),
            };
            times(&Report {
                late,
                ..Report::default()
            })
        };
        assert_eq!(late(LATE_P99, LATE_MAX), Ok(()));
        let more = Duration::from_micros(1);
        assert!(late(LATE_P99 + more, LATE_MAX).is_err());
        let said = late(LATE_P99, LATE_MAX + more).unwrap_err().to_string();
        assert!(said.contains("missed its times"), "{said}");
    }

    #[test]
    fn a_message_that_was_not_accepted_fails_the_run() {
        let report = |planned, refused| Report {
            planned,
            accepted: 9,
            refused,
            first_trouble: Some("HTTP status 429".to_owned()),
            ..Report::default()
        };
        assert_eq!(accepted(&report(9, 0)), Ok(()));
        let said = accepted(&report(10, 1)).unwrap_err().to_string();
        assert!(said.contains("429"), "{said}");
        assert!(accepted(&Report::default()).is_err(), "nothing was sent");
    }
}
