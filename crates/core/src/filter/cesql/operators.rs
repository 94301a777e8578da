//! Operators between two operands (§3.4.2), from the loosest to the tightest.

use super::{Type, Value, lexer::Token};
use crate::filter::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Logic(Logic),
    Comparison(Comparison),
    Arithmetic(Arithmetic),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Plus,
    Minus,
    Times,
    Divided,
    Modulo,
}

/// Levels of precedence. Within one, evaluation goes from left to right (§3.6).
pub(super) const LEVELS: usize = 4;

impl Operator {
    /// The operator that a token is on a level, 0 being the loosest.
    pub(super) fn of(token: &Token<'_>, level: usize) -> Option<Self> {
        let (of_level, operator) = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("AND") => (0, Self::Logic(Logic::And)),
            Token::Word(word) if word.eq_ignore_ascii_case("OR") => (0, Self::Logic(Logic::Or)),
            Token::Word(word) if word.eq_ignore_ascii_case("XOR") => (0, Self::Logic(Logic::Xor)),
            Token::Symbol(symbol) => match *symbol {
                "=" => (1, Self::Comparison(Comparison::Equal)),
                "!=" | "<>" => (1, Self::Comparison(Comparison::NotEqual)),
                "<" => (1, Self::Comparison(Comparison::Less)),
                "<=" => (1, Self::Comparison(Comparison::LessOrEqual)),
                ">" => (1, Self::Comparison(Comparison::Greater)),
                ">=" => (1, Self::Comparison(Comparison::GreaterOrEqual)),
                "+" => (2, Self::Arithmetic(Arithmetic::Plus)),
                "-" => (2, Self::Arithmetic(Arithmetic::Minus)),
                "*" => (3, Self::Arithmetic(Arithmetic::Times)),
                "/" => (3, Self::Arithmetic(Arithmetic::Divided)),
                "%" => (3, Self::Arithmetic(Arithmetic::Modulo)),
                _ => return None,
            },
            _ => return None,
        };
        (of_level == level).then_some(operator)
    }

    pub(super) const fn gives(self) -> Type {
        match self {
            Self::Logic(_) | Self::Comparison(_) => Type::Boolean,
            Self::Arithmetic(_) => Type::Integer,
        }
    }
}

impl Logic {
    /// The result, when the left operand alone decides it: then the right one is not evaluated.
    pub(super) const fn decided_by(self, left: bool) -> Option<bool> {
        match (self, left) {
            (Self::And, false) => Some(false),
            (Self::Or, true) => Some(true),
            _ => None,
        }
    }

    pub(super) const fn apply(self, left: bool, right: bool) -> bool {
        match self {
            Self::And => left && right,
            Self::Or => left || right,
            Self::Xor => left != right,
        }
    }
}

impl Comparison {
    pub(super) fn apply(self, left: &Value<'_>, right: &Value<'_>) -> Result<bool, Failure> {
        Ok(match self {
            // Defined for every type: the right operand's decides (§3.7).
            Self::Equal => left.equals(right)?,
            Self::NotEqual => !left.equals(right)?,
            Self::Less => left.integer()? < right.integer()?,
            Self::LessOrEqual => left.integer()? <= right.integer()?,
            Self::Greater => left.integer()? > right.integer()?,
            Self::GreaterOrEqual => left.integer()? >= right.integer()?,
        })
    }
}

impl Arithmetic {
    /// What does not fit into an Integer is an error, as for ABS; the specification says nothing
    /// of it, and a wrapped sum would let a message pass for no reason.
    pub(super) fn apply(self, left: i32, right: i32) -> Result<i32, Failure> {
        match self {
            Self::Plus => left.checked_add(right),
            Self::Minus => left.checked_sub(right),
            Self::Times => left.checked_mul(right),
            Self::Divided => left.checked_div(right),
            // The smallest number by -1 leaves nothing, though the quotient does not fit.
            Self::Modulo if right == -1 => Some(0),
            Self::Modulo => left.checked_rem(right),
        }
        .ok_or(Failure::Math)
    }
}
