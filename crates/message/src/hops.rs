//! The counter that ends loops.

use http::HeaderValue;

use crate::{Message, names::BUSWAY_HOPS};

/// What counts for a `busway-hops` that is not a number: over any limit.
///
/// Whoever broke the header may be part of the loop; a message that ends in a dead-letter store
/// can be read and redriven, a loop that starts from 0 each round never ends.
pub const UNREADABLE: u32 = u32::MAX;

/// How often this message has been passed on as a reply or dead letter; 0 without the header.
#[must_use]
pub fn hops(message: &Message) -> u32 {
    let mut values = message.headers().get_all(BUSWAY_HOPS).iter();
    let Some(value) = values.next() else { return 0 };
    if values.next().is_some() {
        return UNREADABLE;
    }
    parse(value).unwrap_or(UNREADABLE)
}

/// The message one hop further.
#[must_use]
pub fn with_hop(message: Message) -> Message {
    let hops = hops(&message).saturating_add(1);
    message.with_header(BUSWAY_HOPS, HeaderValue::from(hops))
}

/// A reply, one hop further than what it answers.
///
/// A reply that claims more hops of its own keeps them: it may have come a longer way.
#[must_use]
pub fn with_hop_of(reply: Message, answered: &Message) -> Message {
    let hops = hops(&reply).max(hops(answered)).saturating_add(1);
    reply.with_header(BUSWAY_HOPS, HeaderValue::from(hops))
}

fn parse(value: &HeaderValue) -> Option<u32> {
    let text = value.to_str().ok()?;
    // `parse` alone would take a leading plus.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(value: &'static str) -> Message {
        Message::default().with_header(BUSWAY_HOPS, HeaderValue::from_static(value))
    }

    #[test]
    fn a_message_without_the_header_has_made_no_hop() {
        assert_eq!(hops(&Message::default()), 0);
        assert_eq!(hops(&with_hop(Message::default())), 1);
    }

    #[test]
    fn garbage_counts_as_more_than_any_limit() {
        for value in ["", "abc", "-1", "+1", "1.5", "1, 2", "4294967296", "0x10"] {
            assert_eq!(hops(&message(value)), UNREADABLE, "{value:?}");
            assert_eq!(hops(&with_hop(message(value))), UNREADABLE, "{value:?}");
        }
    }

    #[test]
    fn a_repeated_header_counts_as_more_than_any_limit() {
        let mut headers = http::HeaderMap::new();
        headers.append(BUSWAY_HOPS, HeaderValue::from_static("1"));
        headers.append(BUSWAY_HOPS, HeaderValue::from_static("1"));
        assert_eq!(
            hops(&Message::new(headers, bytes::Bytes::new())),
            UNREADABLE
        );
    }

    #[test]
    fn a_reply_continues_the_count_of_what_it_answers_and_cannot_lower_it() {
        assert_eq!(hops(&with_hop_of(Message::default(), &message("7"))), 8);
        assert_eq!(hops(&with_hop_of(message("3"), &message("7"))), 8);
        assert_eq!(hops(&with_hop_of(message("9"), &message("7"))), 10);
    }

    proptest! {
        #[test]
        fn each_hop_adds_one(count in 0..u32::MAX) {
            let message = Message::default().with_header(BUSWAY_HOPS, HeaderValue::from(count));
            prop_assert_eq!(hops(&message), count);
            prop_assert_eq!(hops(&with_hop(message)), count + 1);
        }
    }
}
