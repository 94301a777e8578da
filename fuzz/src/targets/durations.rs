//! Durations, as resources write them.

use busway_core::duration::{LONGEST, parse};

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(duration) => {
            assert!(duration <= LONGEST, "{duration:?}");
            let again = parse(&format!("{}ns", duration.as_nanos()));
            assert_eq!(again, Ok(duration), "in nanoseconds it is the same");
        }
        Err(error) => assert!(error.to_string().contains("is not a duration")),
    }
}
