//! Filters: their JSON, and after a line `---` a request.

use busway_core::filter::{Filter, FilterSpec, Match};
use busway_message::Message;

use crate::request::{message, parts};

pub(super) fn run(data: &[u8]) {
    let (filters, request) = parts(data);
    let Ok(json) = serde_json::from_slice(filters) else {
        return;
    };
    let message = message(request);
    let list = match FilterSpec::list_from_json(&json) {
        Ok(list) => list,
        Err(error) => return assert!(error.to_string().starts_with("filters"), "{error}"),
    };
    let Some(whole) = evaluated(&list, &message) else {
        return;
    };
    // In `all` the list says the same, and one of which nothing failed is turned around by `not`.
    if !list.is_empty() {
        let all = [FilterSpec::All(list.clone())];
        let not = [FilterSpec::Not(Box::new(FilterSpec::All(list)))];
        if let Some(all) = evaluated(&all, &message) {
            assert_eq!(all, whole);
        }
        let turned = evaluated(&not, &message);
        match whole {
            Match::Pass => assert!(turned != Some(Match::Pass)),
            Match::Filtered => assert!(!matches!(turned, Some(Match::Filtered))),
            Match::Failed(_) => {}
        }
    }
}

/// What a list makes of a message, each time the same; nothing where it cannot be compiled.
fn evaluated(list: &[FilterSpec], message: &Message) -> Option<Match> {
    match Filter::compile(list) {
        Ok(filter) => {
            assert_eq!(filter.is_empty(), list.is_empty());
            let once = filter.evaluate(message);
            assert_eq!(filter.evaluate(message), once);
            Some(once)
        }
        Err(error) => {
            assert!(error.to_string().starts_with("filters"), "{error}");
            None
        }
    }
}
