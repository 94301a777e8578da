//! Durations as resources write them: `1h30m`, `200ms`, `1.5s`, or ISO-8601 `PT1H30M`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration; write it like `1h30m`, `200ms` or `PT1H30M`")]
pub struct InvalidDuration {
    text: String,
}

/// The longest duration that is accepted: 100 years keeps every sum of time stamps in range.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads a duration in either form.
///
/// # Errors
/// On anything else, negative or longer than [`LONGEST`].
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let parsed = match text.strip_prefix('P') {
        Some(iso) => iso8601(iso),
        None if text == "0" => Some(Duration::ZERO),
        None => units(
            text,
            &[
                ("h", 3_600_000_000_000),
                ("ms", 1_000_000),
                ("us", 1_000),
                ("ns", 1),
                ("m", 60_000_000_000),
                ("s", 1_000_000_000),
            ],
        ),
    };
    parsed
        .filter(|d| *d <= LONGEST)
        .ok_or_else(|| InvalidDuration {
            text: text.to_owned(),
        })
}

fn iso8601(text: &str) -> Option<Duration> {
    let (days, time) = match text.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, Some(time)),
        Some(_) => return None,
        None => (text, None),
    };
    if days.is_empty() && time.is_none() {
        return None;
    }
    let days = match days {
        "" => Duration::ZERO,
        days => units(days, &[("D", 86_400_000_000_000)])?,
    };
    let time = match time {
        None => Duration::ZERO,
        Some(time) => units(
            time,
            &[
                ("H", 3_600_000_000_000),
                ("M", 60_000_000_000),
                ("S", 1_000_000_000),
            ],
        )?,
    };
    days.checked_add(time)
}

/// Numbers, each with one of the units (name, nanoseconds); longer names come before their prefixes.
fn units(mut text: &str, units: &[(&str, u64)]) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let (unit, nanos) = units
            .iter()
            .filter(|(unit, _)| rest.starts_with(unit))
            .max_by_key(|(unit, _)| unit.len())?;
        total = total.checked_add(scaled(number, *nanos)?)?;
        text = rest.strip_prefix(unit)?;
    }
    Some(total)
}

fn scaled(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    let seconds = u128::from(whole) * u128::from(nanos);
    // Nine digits are nanoseconds of a second; more digits say nothing.
    let digits = fraction.get(..fraction.len().min(9))?;
    if digits.is_empty() || fraction.contains('.') {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(digits.len()).ok()?);
    let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(nanos) / scale;
    let total = seconds + part;
    let secs = u64::try_from(total / 1_000_000_000).ok()?;
    let nanos = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(secs, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read() {
        for (text, millis) in [
            ("200ms", 200),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("0", 0),
            ("0s", 0),
            ("PT0.2S", 200),
            ("PT1H30M", 5_400_000),
            ("P1DT1S", 86_401_000),
            ("P2D", 172_800_000),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "1 s",
            "1sx",
            "P",
            "PT",
            "P1H",
            "1.s",
            "1..5s",
            ".5s",
            "1d",
            "1S",
            "PT1s",
            "999999999999h",
            "1e3s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn milliseconds_round_trip(millis in 0u64..10_000_000_000) {
            prop_assert_eq!(parse(&format!("{millis}ms")), Ok(Duration::from_millis(millis)));
        }
    }
}
