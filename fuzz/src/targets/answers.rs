//! Answers of HTTP/1.1: the first byte says where the rest is cut in two.

#[path = "../../../crates/dataplane/src/http1/tests/got.rs"]
mod got;

use busway_dataplane::http1::{Answer, MAX_HEAD, Malformed, Step};

use self::got::got;

pub(super) fn run(data: &[u8]) {
    let Some((cut, text)) = data.split_first() else {
        return;
    };
    let whole = got([text]);
    let (first, second) = text.split_at(usize::from(*cut).min(text.len()));
    assert_eq!(got([first, second]), whole, "cut at {cut}");
    if let Err(error) = whole {
        assert!(!error.to_string().is_empty());
    }
}
