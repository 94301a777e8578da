use busway_message::{KeepHeaders, Message};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The first part of an input and, after a line `---`, the rest.
pub(crate) fn parts(data: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"\n---\n";
    let at = data
        .windows(BETWEEN.len())
        .position(|window| window == BETWEEN);
    match at.and_then(|at| data.split_at_checked(at)) {
        Some((first, rest)) => (first, rest.get(BETWEEN.len()..).unwrap_or_default()),
        None => (data, &[]),
    }
}

/// What the receiver makes of a request of these bytes: header lines, an empty line, the body. A
/// line that is no header says nothing.
pub(crate) fn message(data: &[u8]) -> Message {
    let (mut rest, mut headers) = (data, HeaderMap::new());
    while let Some((line, after)) = line(rest) {
        rest = after;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = header(line) {
            let _full = headers.try_append(name, value);
        }
    }
    let kept = KeepHeaders::default().from_sender(&headers);
    assert_eq!(
        KeepHeaders::default().from_sender(&kept),
        kept,
        "what was kept is kept"
    );
    Message::new(kept, Bytes::copy_from_slice(rest))
}

fn line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n');
    match end.and_then(|at| data.split_at_checked(at)) {
        Some((line, rest)) => Some((line, rest.get(1..).unwrap_or_default())),
        None if data.is_empty() => None,
        None => Some((data, &[])),
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(at)?;
    let value = value.get(1..)?.trim_ascii();
    Some((
        HeaderName::from_bytes(name).ok()?,
        HeaderValue::from_bytes(value).ok()?,
    ))
}
