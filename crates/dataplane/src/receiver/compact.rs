//! Messages that hold no more memory than they are counted for.

use busway_message::Message;
use bytes::{Bytes, BytesMut};
use http::HeaderValue;

/// Bodies up to this many bytes are copied. A larger one is at least half of the buffer that it
/// came in.
const COPIED: usize = 32 * 1024;

/// The same message in memory of its own, one piece for header values and a small body.
///
/// What a connection read is kept for as long as any slice of it: a message of 100 bytes would hold
/// 8 KiB in a queue, and one event of a batch the whole batch.
pub(super) fn compact(message: Message) -> Message {
    let (mut headers, body) = message.into_parts();
    let copied = if body.len() <= COPIED { &body[..] } else { &[] };
    let values: usize = headers.values().map(HeaderValue::len).sum();
    let mut bytes = BytesMut::with_capacity(values + copied.len());
    for value in headers.values() {
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes.extend_from_slice(copied);
    let mut bytes: Bytes = bytes.freeze();
    for value in headers.values_mut() {
        let own = HeaderValue::from_maybe_shared(bytes.split_to(value.len()));
        if let Ok(own) = own {
            *value = own;
        }
    }
    let body = if body.len() <= COPIED { bytes } else { body };
    Message::new(headers, body)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::*;

    #[test]
    fn nothing_changes_but_where_it_is() {
        let buffer = Bytes::from([&b"value"[..], &[0xe4], &[b'x'; COPIED + 1]].concat());
        for length in [0, 1, COPIED, COPIED + 1] {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_maybe_shared(buffer.slice(..6))
                .unwrap_or(HeaderValue::from_static("?"));
            for name in ["ce-a", "ce-b", "ce-a"] {
                headers.append(HeaderName::from_static(name), value.clone());
            }
            headers.insert("ce-c", HeaderValue::from_static(""));
            let message = Message::new(headers, buffer.slice(6..6 + length));
            let own = compact(message.clone());
            assert_eq!(own, message);
            let range = buffer.as_ptr_range();
            let first = own
                .headers()
                .values()
                .next()
                .map(|value| value.as_bytes().as_ptr());
            assert!(first.is_some_and(|first| !range.contains(&first)));
            let shared = length > COPIED;
            assert_eq!(length > 0 && range.contains(&own.body().as_ptr()), shared);
        }
    }
}
