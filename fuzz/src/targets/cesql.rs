//! CESQL: an expression, and after a line `---` a request.

use busway_core::filter::{Failure, cesql::Expression};

use crate::request::{message, parts};

pub(super) fn run(data: &[u8]) {
    let (source, request) = parts(data);
    let Ok(source) = std::str::from_utf8(source) else {
        return;
    };
    let expression = match Expression::parse(source) {
        Ok(expression) => expression,
        Err(error) => {
            let at = error.position();
            let lines = u32::try_from(source.split('\n').count()).unwrap_or(u32::MAX);
            assert!((1..=lines).contains(&at.line) && at.column > 0, "{error}");
            assert!(!error.reason().is_empty());
            return;
        }
    };
    assert_eq!(Expression::parse(source), Ok(expression.clone()));
    let message = message(request);
    let evaluated = expression.evaluate(&message);
    assert_eq!(
        evaluated,
        expression.evaluate(&message),
        "each time the same"
    );
    if let Some(error) = evaluated.error {
        assert!(Failure::ALL.contains(&error.failure), "{error}");
    }
}
