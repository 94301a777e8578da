//! Parts and forms of a text. Characters are counted, not bytes; a text that stays as it is, is not
//! copied.

use std::{borrow::Cow, ops::Range};

/// A part, or the text that stands for one that does not exist.
type Part<'a> = Result<Cow<'a, str>, Cow<'a, str>>;

pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.is_ascii() {
        true if !text.bytes().any(|byte| byte.is_ascii_uppercase()) => text,
        _ => Cow::Owned(text.to_lowercase()),
    }
}

pub(super) fn upper(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.is_ascii() {
        true if !text.bytes().any(|byte| byte.is_ascii_lowercase()) => text,
        _ => Cow::Owned(text.to_uppercase()),
    }
}

pub(super) fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    let start = text.len() - text.trim_start().len();
    let end = start + text.trim().len();
    cut(text, start..end)
}

pub(super) fn left(text: Cow<'_, str>, length: i32) -> Part<'_> {
    match usize::try_from(length) {
        Ok(length) => {
            let end = start_of(&text, length).unwrap_or(text.len());
            Ok(cut(text, 0..end))
        }
        Err(_) => Err(text),
    }
}

pub(super) fn right(text: Cow<'_, str>, length: i32) -> Part<'_> {
    match usize::try_from(length) {
        Ok(length) => {
            let start = start_from_end(&text, length).unwrap_or(0);
            let end = text.len();
            Ok(cut(text, start..end))
        }
        Err(_) => Err(text),
    }
}

/// From a position that counts from 1, or from the end where it is negative.
pub(super) fn substring(text: Cow<'_, str>, position: i32, length: i32) -> Part<'_> {
    let Ok(length) = usize::try_from(length) else {
        return Err(Cow::Borrowed(""));
    };
    let distance = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
    let start = match position {
        0 => return Ok(Cow::Borrowed("")),
        1.. => start_of(&text, distance - 1).filter(|start| *start < text.len()),
        ..0 => start_from_end(&text, distance),
    };
    let Some(start) = start else {
        return Err(Cow::Borrowed(""));
    };
    let rest = text.get(start..).unwrap_or_default();
    let end = start_of(rest, length).map_or(text.len(), |end| start + end);
    Ok(cut(text, start..end))
}

/// The byte where the character of that index begins, or where the text ends after that many.
fn start_of(text: &str, index: usize) -> Option<usize> {
    text.char_indices()
        .map(|(start, _)| start)
        .chain([text.len()])
        .nth(index)
}

/// The byte where the last so many characters begin; nothing when there are fewer.
fn start_from_end(text: &str, count: usize) -> Option<usize> {
    match count.checked_sub(1) {
        None => Some(text.len()),
        Some(before) => text
            .char_indices()
            .rev()
            .nth(before)
            .map(|(start, _)| start),
    }
}

fn cut(text: Cow<'_, str>, range: Range<usize>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) if range == (0..text.len()) => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(left("äöü".into(), 2).unwrap(), "äö");
        assert_eq!(right("äöü".into(), 2).unwrap(), "öü");
        assert_eq!(substring("äöü".into(), 2, 1).unwrap(), "ö");
        assert_eq!(substring("äöü".into(), -1, 9).unwrap(), "ü");
        assert_eq!(upper("straße".into()), "STRASSE");
        assert_eq!(lower("ÄB".into()), "äb");
        assert_eq!(trim("\u{2003}\u{0}a ".into()), "\u{0}a");
    }

    #[test]
    fn what_cannot_be_has_a_value_all_the_same() {
        assert_eq!(left("abc".into(), -1).unwrap_err(), "abc");
        assert_eq!(right("abc".into(), i32::MIN).unwrap_err(), "abc");
        for (position, length) in [
            (4, 1),
            (-4, 1),
            (i32::MIN, 1),
            (i32::MAX, 1),
            (1, -1),
            (0, -1),
        ] {
            assert_eq!(substring("abc".into(), position, length).unwrap_err(), "");
        }
        assert_eq!(substring("".into(), 1, 1).unwrap_err(), "");
        assert_eq!(substring("".into(), 0, 1).unwrap(), "");
    }

    proptest! {
        #[test]
        fn parts_are_what_a_list_of_characters_gives(text in ".{0,6}", position in -8..8i32, length in 0..8i32) {
            let characters: Vec<char> = text.chars().collect();
            let count = i32::try_from(characters.len()).unwrap();
            let of = |from: i32, to: i32| -> String {
                let clamp = |at: i32| usize::try_from(at.clamp(0, count)).unwrap();
                characters[clamp(from)..clamp(to)].iter().collect()
            };
            prop_assert_eq!(left(text.as_str().into(), length).unwrap(), of(0, length));
            prop_assert_eq!(right(text.as_str().into(), length).unwrap(), of(count - length, count));
            let start = if position > 0 { position - 1 } else { count + position };
            let expected = match position {
                0 => Ok(String::new()),
                _ if position.abs() > count => Err(String::new()),
                _ => Ok(of(start, start + length)),
            };
            let found = substring(text.as_str().into(), position, length);
            prop_assert_eq!(found.map(Cow::into_owned).map_err(Cow::into_owned), expected);
        }
    }
}
