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
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// Behind a text that begins here.
    pub(super) fn after(self, text: &str) -> Self {
        text.chars().fold(self, |at, character| match character {
            '\n' => Self {
                line: at.line.saturating_add(1),
                column: 1,
            },
            _ => Self {
                column: at.column.saturating_add(1),
                ..at
            },
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
