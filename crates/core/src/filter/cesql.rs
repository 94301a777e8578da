//! CloudEvents SQL Expression Language 1.0:
//! <https://github.com/cloudevents/spec/blob/cesql/v1.0.0/cesql/spec.md>; paragraphs are of it.
//!
//! The whole language, with every case of its conformance kit (`tests/cesql.rs`). Where text and
//! kit leave it open: attributes are Strings, for their type does not survive binary mode;
//! arithmetic that leaves 32 bits is a MathError. Where the Go implementation does otherwise than
//! the text: AND, OR and XOR in a row go from left to right, and characters are counted, not bytes.

mod evaluate;
mod functions;
mod invalid;
mod lexer;
mod like;
mod operators;
mod parser;
mod position;
mod tree;
mod value;

use busway_message::Message;

pub use invalid::InvalidExpression;
pub(super) use invalid::Problem;
pub use position::Position;
pub use value::{Type, Value};

use self::{evaluate::Failed, tree::Node};
use super::{Failure, input::Input};

/// Characters of an expression: as many as the field of the resource takes.
pub const MAX_LENGTH: usize = 4096;
/// Brackets within brackets: more than people can read, and little of a thread's stack.
pub const MAX_NESTING: usize = 32;

/// An expression, compiled once and evaluated for every message.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    root: Node,
}

/// What an expression gives for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation<'a> {
    /// The value; after an error, what the specification says takes its place.
    pub value: Value<'a>,
    /// The first error, which ended the evaluation.
    pub error: Option<EvaluationError>,
}

/// Why an evaluation ended early, and where in the expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {failure}")]
pub struct EvaluationError {
    /// Why.
    pub failure: Failure,
    /// Where.
    pub position: Position,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is not of the language, calls a function that is not there, is too long or nests too
    /// deeply; with the position.
    pub fn parse(source: &str) -> Result<Self, InvalidExpression> {
        parser::parse(source).map(|root| Self { root })
    }

    /// Compiles an expression that can be a filter.
    ///
    /// # Errors
    /// As [`Self::parse`], and when it never gives a Boolean: then no message would ever pass.
    pub(super) fn predicate(source: &str) -> Result<Self, InvalidExpression> {
        let expression = Self::parse(source)?;
        match expression.root.gives() {
            None | Some(Type::Boolean) => Ok(expression),
            Some(other) => {
                let problem = Problem::NotBoolean(other);
                Err(InvalidExpression::new(Position::START, problem))
            }
        }
    }

    /// Evaluates it. Never panics, and ends: see [`Failure::TooCostly`].
    #[must_use]
    pub fn evaluate<'a>(&'a self, message: &'a Message) -> Evaluation<'a> {
        self.run(&Input::of(message))
    }

    fn run<'a>(&'a self, input: &Input<'a>) -> Evaluation<'a> {
        let evaluated = self.root.evaluate(input);
        match evaluated {
            Ok(Value::String(text)) if self.root.gives().is_none() => Evaluation {
                value: Value::of_canonical(text),
                error: None,
            },
            Ok(value) => Evaluation { value, error: None },
            Err(Failed {
                failure,
                at: position,
                instead,
            }) => Evaluation {
                // A type that nothing tells is taken to be Boolean (§3.2).
                value: instead.unwrap_or_else(|| self.root.gives().unwrap_or(Type::Boolean).zero()),
                error: Some(EvaluationError { failure, position }),
            },
        }
    }

    /// Whether a message passes.
    pub(super) fn holds(&self, input: &Input<'_>) -> Result<bool, Failure> {
        let evaluation = self.run(input);
        match (evaluation.value, evaluation.error) {
            (_, Some(error)) => Err(error.failure),
            (Value::Boolean(holds), None) => Ok(holds),
            (_, None) => Err(Failure::NotBoolean),
        }
    }
}

#[cfg(test)]
mod tests;
