//! The patterns of LIKE (§3.4.3).

use crate::filter::{Failure, input::Work};

/// A pattern, cut at its `%`: each part must follow the one before, the first at the beginning and
/// the last at the end. Taking the leftmost place for each part finds a match if there is one, so
/// nothing is tried twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    first: Part,
    /// What comes after each `%`.
    rest: Vec<Part>,
}

/// What stands between two `%`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    pieces: Vec<Piece>,
    characters: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `_`
    Any,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let mut parts = vec![];
        let mut part = Part::default();
        let mut characters = pattern.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '%' => parts.push(std::mem::take(&mut part)),
                '_' => part.push_any(),
                '\\' => part.push(
                    characters
                        .next_if(|c| matches!(c, '%' | '_'))
                        .unwrap_or('\\'),
                ),
                other => part.push(other),
            }
        }
        parts.push(part);
        let rest = parts.split_off(1);
        Self {
            first: parts.pop().unwrap_or_default(),
            rest,
        }
    }

    pub(super) fn matches(&self, text: &str, work: &Work) -> Result<bool, Failure> {
        work.spend(self.first.characters)?;
        let Some(mut text) = self.first.strip_from(text) else {
            return Ok(false);
        };
        let Some((last, middle)) = self.rest.split_last() else {
            return Ok(text.is_empty());
        };
        for part in middle {
            match part.find_in(text, work)? {
                Some(after) => text = after,
                None => return Ok(false),
            }
        }
        work.spend(last.characters)?;
        Ok(last.ends(text))
    }
}

impl Part {
    fn push(&mut self, character: char) {
        self.characters += 1;
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.pieces.push(Piece::Text(character.into())),
        }
    }

    fn push_any(&mut self) {
        self.characters += 1;
        self.pieces.push(Piece::Any);
    }

    /// What comes after it, when the text begins with it.
    fn strip_from<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.pieces
            .iter()
            .try_fold(text, |text, piece| match piece {
                Piece::Text(piece) => text.strip_prefix(piece.as_str()),
                Piece::Any => {
                    let mut characters = text.chars();
                    characters.next()?;
                    Some(characters.as_str())
                }
            })
    }

    fn ends(&self, text: &str) -> bool {
        let Some(last) = self.characters.checked_sub(1) else {
            return true;
        };
        text.char_indices()
            .rev()
            .nth(last)
            .and_then(|(start, _)| text.get(start..))
            .is_some_and(|end| self.strip_from(end).is_some())
    }

    /// What comes after the leftmost place where it stands.
    fn find_in<'t>(&self, text: &'t str, work: &Work) -> Result<Option<&'t str>, Failure> {
        if let [Piece::Text(piece)] = &*self.pieces {
            work.spend(text.len())?;
            return Ok(text.split_once(piece.as_str()).map(|(_, after)| after));
        }
        let mut from = text;
        loop {
            work.spend(self.characters)?;
            if let Some(after) = self.strip_from(from) {
                return Ok(Some(after));
            }
            let mut characters = from.chars();
            if characters.next().is_none() {
                return Ok(None);
            }
            from = characters.as_str();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition itself, in exponential time.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            (['\\', escaped @ ('%' | '_'), pattern @ ..], [first, text @ ..]) => {
                escaped == first && naive(pattern, text)
            }
            (['\\', '%' | '_', ..], []) => false,
            (['%', rest @ ..], _) => {
                naive(rest, text) || !text.is_empty() && naive(pattern, &text[1..])
            }
            (['_', pattern @ ..], [_, text @ ..]) => naive(pattern, text),
            ([one, pattern @ ..], [first, text @ ..]) => one == first && naive(pattern, text),
            (pattern, text) => pattern.is_empty() && text.is_empty(),
        }
    }

    fn like(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern)
            .matches(text, &Work::default())
            .unwrap()
    }

    proptest! {
        #[test]
        fn it_matches_what_the_definition_matches(pattern in "[ab%_\\\\é]{0,8}", text in "[ab%_\\\\é]{0,8}") {
            let characters: Vec<_> = pattern.chars().collect();
            let expected = naive(&characters, &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(like(&pattern, &text), expected);
        }
    }

    #[test]
    fn an_underscore_is_one_character_of_any_length() {
        assert!(like("_é_", "🦀é🦀"));
        assert!(!like("_", "ab"));
        assert!(!like("_", ""));
    }

    #[test]
    fn what_would_take_too_long_is_given_up() {
        let pattern = Pattern::new(&format!("%{}b%", "_a".repeat(1000)));
        let text = "a".repeat(100_000);
        let matched = pattern.matches(&text, &Work::default());
        assert_eq!(matched, Err(Failure::TooCostly));
        // Many `%` alone are nothing to be afraid of.
        assert!(!like(&"%a".repeat(2000), &"a".repeat(1000)));
    }
}
