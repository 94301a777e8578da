//! Rules of single attribute values, CloudEvents 1.0 §3.1; 0.3 says the same of these.

use std::{borrow::Cow, fmt::Write as _};

/// Whether it consists of lower-case letters and digits only, as an attribute's name must.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

/// Whether an attribute can have this value: it has none of the characters that a String must not
/// have (CloudEvents 1.0 §3.1), control characters and what Unicode promises never to use.
#[must_use]
pub fn is_string(value: &str) -> bool {
    value.chars().all(|char| {
        let code = u32::from(char);
        !char.is_control() && code & 0xfffe != 0xfffe && !(0xfdd0..=0xfdef).contains(&code)
    })
}

/// Whether it can be a URI-reference (RFC 3986 §4.1), read generously.
///
/// Letters beyond ASCII are let through: senders that do not encode the `%` of `/caf%C3%A9` in a
/// header, as they should, have always worked elsewhere.
pub(crate) fn is_uri_reference(value: &str) -> bool {
    const NEVER: &[u8] = b" \"<>\\^`{|}";
    let allowed = |byte: u8| !byte.is_ascii_control() && !NEVER.contains(&byte);
    let first_segment = value.split(['/', '?', '#']).next().unwrap_or_default();
    // With a colon it has to be a scheme; see `path-noscheme` there.
    let scheme_is_valid = first_segment
        .split_once(':')
        .is_none_or(|(scheme, _)| is_scheme(scheme));
    value.bytes().all(allowed) && scheme_is_valid
}

/// Whether it can be an absolute URI, read as generously.
pub(crate) fn is_uri(value: &str) -> bool {
    let has_scheme = value
        .split_once(':')
        .is_some_and(|(scheme, _)| is_scheme(scheme));
    has_scheme && is_uri_reference(value)
}

pub(crate) fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether it begins with `type/subtype` (RFC 2046).
pub(crate) fn is_media_type(value: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    essence(value)
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub))
}

/// A media type without its parameters.
pub(crate) fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether it is a timestamp of RFC 3339 §5.6, with a day that the month has.
pub(crate) fn is_timestamp(value: &str) -> bool {
    timestamp(value.as_bytes()).is_some()
}

fn timestamp(text: &[u8]) -> Option<()> {
    let number = |range: std::ops::Range<usize>| {
        text.get(range)?.iter().try_fold(0u32, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let shape = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    let separated = shape.iter().all(|(at, byte)| text.get(*at) == byte.first());
    if !separated || !matches!(text.get(10)?, b'T' | b't') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        rest = fraction.get(digits..).filter(|_| digits > 0)?;
    }
    match rest {
        b"Z" | b"z" => Some(()),
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let two = |a: &u8, b: &u8| {
                (a.is_ascii_digit() && b.is_ascii_digit()).then(|| (a - b'0') * 10 + b - b'0')
            };
            (two(h1, h2)? <= 23 && two(m1, m2)? <= 59).then_some(())
        }
        _ => None,
    }
}

/// Whether it is Base64 (RFC 4648 §4), with its padding.
pub(crate) fn is_base64(value: &str) -> bool {
    let digits = value.trim_end_matches('=');
    value.len().is_multiple_of(4)
        && value.len() - digits.len() <= 2
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// The string that a header's value stands for (HTTP binding §3.1.3.2): one round of unquoting and
/// one of percent-decoding. Nothing when the bytes are not UTF-8, before or after.
///
/// A `%` that no two hex digits follow stands for itself.
pub(crate) fn from_header(value: &[u8]) -> Option<Cow<'_, str>> {
    let unquoted = match value {
        [b'"', inner @ .., b'"'] => unquote(inner),
        _ => Cow::Borrowed(value),
    };
    if !unquoted.contains(&b'%') {
        return utf8(unquoted);
    }
    let mut decoded = Vec::with_capacity(unquoted.len());
    let mut rest = &*unquoted;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, beyond @ ..]) => {
                let digits = (
                    char::from(*high).to_digit(16),
                    char::from(*low).to_digit(16),
                );
                if let (Some(high), Some(low)) = digits {
                    decoded.push(u8::try_from(high << 4 | low).ok()?);
                    rest = beyond;
                } else {
                    decoded.push(b'%');
                }
            }
            _ => decoded.push(*first),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn unquote(inner: &[u8]) -> Cow<'_, [u8]> {
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut escaped = false;
    let keep = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        (!escaped).then_some(*byte)
    };
    Cow::Owned(inner.iter().filter_map(keep).collect())
}

fn utf8(bytes: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}

/// An attribute's string as a header's value: space, quote, percent and everything that is not
/// visible ASCII is percent-encoded.
pub(crate) fn to_header(value: &str) -> String {
    percent_encode(value, |byte| {
        byte.is_ascii_graphic() && byte != b'"' && byte != b'%'
    })
}

/// The text with the UTF-8 bytes that are not kept as `%XX`.
pub(crate) fn percent_encode(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
