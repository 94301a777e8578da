//! Words, texts and symbols, with their places.

use std::{borrow::Cow, fmt};

use super::{InvalidExpression, Position, invalid::Problem};

/// Characters of the expression that an error repeats.
const MAX_SHOWN: usize = 40;
/// A longer one comes before its beginning.
const SYMBOLS: [&str; 15] = [
    "!=", "<>", "<=", ">=", "(", ")", ",", "*", "/", "%", "+", "-", "=", "<", ">",
];

/// One token. Which words are keywords, only the parser knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// Letters, digits and underscores.
    Word(&'s str),
    /// What stands in quotes, without its escapes.
    Text(Cow<'s, str>),
    Symbol(&'static str),
    End,
}

/// A token and the bytes that it takes.
#[derive(Clone, Debug)]
pub(super) struct Lexeme<'s> {
    pub(super) token: Token<'s>,
    pub(super) at: Position,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// All tokens, the last of them [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Lexeme<'_>>, InvalidExpression> {
    let mut tokens = Vec::new();
    let (mut rest, mut at) = (source, Position::START);
    loop {
        let begun = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        at = at.after(before(rest, begun));
        let (token, after) = next(begun).map_err(|problem| InvalidExpression::new(at, problem))?;
        let is_last = token == Token::End;
        let (start, end) = (source.len() - begun.len(), source.len() - after.len());
        tokens.push(Lexeme {
            token,
            at,
            start,
            end,
        });
        if is_last {
            return Ok(tokens);
        }
        at = at.after(before(begun, after));
        rest = after;
    }
}

/// The first token, and what comes after it.
fn next(rest: &str) -> Result<(Token<'_>, &str), Problem> {
    let after_word = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let word = before(rest, after_word);
    if !word.is_empty() {
        return Ok((Token::Word(word), after_word));
    }
    match rest.chars().next() {
        None => Ok((Token::End, rest)),
        Some(quote @ ('\'' | '"')) => text(rest, quote).ok_or(Problem::Unclosed),
        Some(other) => SYMBOLS
            .into_iter()
            .find_map(|symbol| Some((Token::Symbol(symbol), rest.strip_prefix(symbol)?)))
            .ok_or(Problem::Character(other)),
    }
}

/// What of a text comes before its end.
fn before<'s>(text: &'s str, end: &str) -> &'s str {
    let length = text.len().saturating_sub(end.len());
    text.get(..length).unwrap_or_default()
}

/// A backslash keeps the next character from ending the text, and goes away only before a quote:
/// before `%` and `_` it means something to LIKE.
fn text(rest: &str, quote: char) -> Option<(Token<'_>, &str)> {
    let inside = rest.strip_prefix(quote)?;
    let mut escaped = false;
    let end = inside.find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let (text, after) = inside.split_at(end);
    let text = match quote {
        _ if !text.contains('\\') => Cow::Borrowed(text),
        '"' => Cow::Owned(text.replace("\\\"", "\"")),
        _ => Cow::Owned(text.replace("\\'", "'")),
    };
    Some((Token::Text(text), after.strip_prefix(quote)?))
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) => write!(f, "`{}`", shown(text)),
            Self::Text(text) => write!(f, "{:?}", shown(text)),
            Self::Symbol(text) => write!(f, "`{text}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// As much of a text as fits into an error.
pub(super) fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(MAX_SHOWN);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
