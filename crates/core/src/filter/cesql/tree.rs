//! The compiled form. It nests only where the expression does, in brackets: what stands side by
//! side is a list, so that no expression makes evaluation recurse deeply.

use busway_message::AttributeName;

use super::{Position, Type, Value, functions::Function, like::Pattern, operators::Operator};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Literal(Value<'static>),
    Attribute(AttributeName, Position),
    Exists(AttributeName, Position),
    /// The operators, in their order, before one operand.
    Prefixed(Vec<(Prefix, Position)>, Box<Node>),
    /// LIKE and IN, one after the other, behind one operand.
    Tested(Box<Node>, Vec<Test>),
    /// Operators of the same precedence between operands, from left to right.
    Chain(Box<Node>, Vec<Link>),
    Call(Call),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Not,
    Minus,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) is_negated: bool,
    pub(super) what: What,
    pub(super) at: Position,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Like(Pattern),
    In(Vec<Node>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub(super) operator: Operator,
    pub(super) right: Node,
    pub(super) at: Position,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) function: Function,
    pub(super) arguments: Vec<Node>,
    pub(super) at: Position,
}

impl Node {
    /// The type of its value; nothing for an attribute, whose type is read off its value.
    pub(super) fn gives(&self) -> Option<Type> {
        match self {
            Self::Literal(value) => Some(value.of_type()),
            Self::Attribute(..) => None,
            Self::Exists(..) | Self::Tested(..) => Some(Type::Boolean),
            Self::Prefixed(operators, _) => operators.first().map(|(operator, _)| match operator {
                Prefix::Not => Type::Boolean,
                Prefix::Minus => Type::Integer,
            }),
            Self::Chain(_, links) => links.last().map(|link| link.operator.gives()),
            Self::Call(call) => Some(call.function.gives()),
        }
    }
}
