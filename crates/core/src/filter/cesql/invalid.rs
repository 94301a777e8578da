use super::{MAX_LENGTH, MAX_NESTING, Position, Type};

/// Why a text is not an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {problem}")]
pub struct InvalidExpression {
    position: Position,
    problem: Problem,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("an expression has at most {MAX_LENGTH} characters")]
    TooLong,
    #[error("an expression nests at most {MAX_NESTING} levels deep")]
    TooDeep,
    #[error("{0:?} is no part of the language")]
    Character(char),
    #[error("the quote that begins here is never closed")]
    Unclosed,
    #[error("here should be {expected}, not {found}")]
    Unexpected {
        expected: &'static str,
        found: String,
    },
    #[error("`{0}` is not an integer of 32 bits")]
    Integer(String),
    #[error("`{0}` is not the name of an attribute, which has letters and digits only")]
    Name(String),
    #[error("there is no function `{0}`")]
    NoFunction(String),
    #[error("the function `{name}` does not take {given} arguments")]
    NoOverload { name: String, given: usize },
    #[error("a filter gives a Boolean, and this gives {}", .0.phrase())]
    NotBoolean(Type),
}

impl InvalidExpression {
    pub(super) const fn new(position: Position, problem: Problem) -> Self {
        Self { position, problem }
    }

    /// Where it is.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The stable short name: of CESQL's errors (§3.3), or of ours.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.problem {
            Problem::NoFunction(_) | Problem::NoOverload { .. } => "MissingFunctionError",
            Problem::TooLong | Problem::TooDeep => "ExpressionTooLarge",
            Problem::NotBoolean(_) => "NotBoolean",
            Problem::Character(_)
            | Problem::Unclosed
            | Problem::Unexpected { .. }
            | Problem::Integer(_)
            | Problem::Name(_) => "ParseError",
        }
    }
}
