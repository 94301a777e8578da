//! Evaluation, failing fast (§4.1): the first error ends it. A filter is false after any error, so
//! nothing that would come later could matter.

use std::borrow::Cow;

use super::{
    Position, Value,
    operators::Operator,
    tree::{Link, Node, Prefix, Test, What},
};
use crate::filter::{Failure, input::Input};

/// An error, with the value that takes the place of the result (§3.3).
#[derive(Debug)]
pub(super) struct Failed<'a> {
    pub(super) failure: Failure,
    pub(super) at: Position,
    /// Nothing: the zero value of the type.
    pub(super) instead: Option<Value<'a>>,
}

pub(super) type Evaluated<'a> = Result<Value<'a>, Failed<'a>>;

impl Failed<'_> {
    pub(super) const fn new(failure: Failure, at: Position) -> Self {
        Self {
            failure,
            at,
            instead: None,
        }
    }

    pub(super) fn at<'a>(at: Position) -> impl Fn(Failure) -> Failed<'a> {
        move |failure| Failed::new(failure, at)
    }
}

impl Node {
    pub(super) fn evaluate<'a>(&'a self, input: &Input<'a>) -> Evaluated<'a> {
        match self {
            Self::Literal(value) => Ok(value.as_ref()),
            Self::Attribute(name, at) => {
                let text = input.attribute(name).map_err(Failed::at(*at))?;
                let text: Cow<'a, str> = text.ok_or(Failed::new(Failure::MissingAttribute, *at))?;
                Ok(Value::String(text))
            }
            Self::Exists(name, at) => {
                let text = input.attribute(name).map_err(Failed::at(*at))?;
                Ok(Value::Boolean(text.is_some()))
            }
            Self::Prefixed(operators, operand) => {
                let mut value = operand.operand(input)?;
                for (operator, at) in operators.iter().rev() {
                    value = operator.apply(&value).map_err(Failed::at(*at))?;
                }
                Ok(value)
            }
            Self::Tested(operand, tests) => {
                let mut value = operand.operand(input)?;
                for test in tests {
                    value = Value::Boolean(test.apply(value, input)?);
                }
                Ok(value)
            }
            Self::Chain(first, links) => {
                let mut value = first.operand(input)?;
                for link in links {
                    value = link.apply(&value, input)?;
                }
                Ok(value)
            }
            Self::Call(call) => call.evaluate(input),
        }
    }

    /// As a part of something larger, which has a zero value of its own.
    pub(super) fn operand<'a>(&'a self, input: &Input<'a>) -> Evaluated<'a> {
        self.evaluate(input).map_err(|failed| Failed {
            instead: None,
            ..failed
        })
    }
}

impl Prefix {
    fn apply(self, value: &Value<'_>) -> Result<Value<'static>, Failure> {
        match self {
            Self::Not => Ok(Value::Boolean(!value.boolean()?)),
            Self::Minus => {
                let negated = value.integer()?.checked_neg().ok_or(Failure::Math)?;
                Ok(Value::Integer(negated))
            }
        }
    }
}

impl Test {
    fn apply<'a>(&'a self, value: Value<'a>, input: &Input<'a>) -> Result<bool, Failed<'a>> {
        let holds = match &self.what {
            What::Like(pattern) => pattern
                .matches(&value.text(), input.work())
                .map_err(Failed::at(self.at))?,
            What::In(set) => {
                let mut is_in = false;
                for element in set {
                    let element = element.operand(input)?;
                    // Here the left operand's type decides (§3.7).
                    if element.equals(&value).map_err(Failed::at(self.at))? {
                        is_in = true;
                        break;
                    }
                }
                is_in
            }
        };
        Ok(holds != self.is_negated)
    }
}

impl Link {
    fn apply<'a>(&'a self, left: &Value<'a>, input: &Input<'a>) -> Evaluated<'a> {
        let cast = Failed::at(self.at);
        Ok(match self.operator {
            Operator::Logic(logic) => {
                let left = left.boolean().map_err(&cast)?;
                Value::Boolean(match logic.decided_by(left) {
                    Some(result) => result,
                    None => {
                        let right = self.right.operand(input)?.boolean().map_err(&cast)?;
                        logic.apply(left, right)
                    }
                })
            }
            Operator::Comparison(comparison) => {
                let right = self.right.operand(input)?;
                Value::Boolean(comparison.apply(left, &right).map_err(&cast)?)
            }
            Operator::Arithmetic(arithmetic) => {
                let right = self.right.operand(input)?.integer().map_err(&cast)?;
                let left = left.integer().map_err(&cast)?;
                Value::Integer(arithmetic.apply(left, right).map_err(&cast)?)
            }
        })
    }
}
