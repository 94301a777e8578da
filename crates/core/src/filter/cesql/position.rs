use std::fmt;

/// A place in an expression; both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The character in the line.
    pub column: u32,
}

impl Position {
    /// Of a byte of the expression.
    pub(super) fn of(source: &str, at: usize) -> Self {
        let before = source.get(..at).unwrap_or(source);
        let line = before.matches('\n').count();
        let column = before.chars().rev().take_while(|c| *c != '\n').count();
        let from_one = |n: usize| u32::try_from(n).map_or(u32::MAX, |n| n.saturating_add(1));
        Self {
            line: from_one(line),
            column: from_one(column),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
