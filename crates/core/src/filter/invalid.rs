use busway_message::InvalidAttributeName;

use super::{
    MAX_ATTRIBUTES, MAX_DEPTH, MAX_FILTERS, MAX_VALUE,
    cesql::{InvalidExpression, Position},
};

/// Why a filter is refused, and which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidFilter {
    path: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    #[error("filters nest at most {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("a subscription has at most {MAX_FILTERS} filters, nested ones included")]
    TooMany,
    #[error("a filter has exactly one of exact, prefix, suffix, all, any, not, cesql")]
    Dialects,
    #[error("this must be {0}")]
    Shape(&'static str),
    #[error("this must not be empty")]
    Empty,
    #[error("this has at most {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    #[error("the value of `{0}` must have 1 to {MAX_VALUE} characters")]
    Value(String),
    #[error(transparent)]
    Name(InvalidAttributeName),
    #[error(transparent)]
    Expression(InvalidExpression),
}

impl InvalidFilter {
    pub(super) const fn new(path: String, problem: Problem) -> Self {
        Self { path, problem }
    }

    /// Which filter, as `filters[0].any[1].cesql`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where in an expression.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        match &self.problem {
            Problem::Expression(error) => Some(error.position()),
            _ => None,
        }
    }

    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match &self.problem {
            Problem::TooDeep | Problem::TooMany | Problem::TooManyAttributes => "FilterTooLarge",
            Problem::Dialects | Problem::Shape(_) | Problem::Empty => "FilterMalformed",
            Problem::Value(_) | Problem::Name(_) => "FilterAttributeInvalid",
            Problem::Expression(error) => error.reason(),
        }
    }
}
