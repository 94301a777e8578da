use busway_message::AttributeName;

use super::{Failure, cesql::Expression, input::Input};

/// Attributes and what each is compared with.
pub(super) type Comparisons = Box<[(AttributeName, Box<str>)]>;

/// A filter, ready to be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Every attribute is, begins or ends so.
    Attributes(Part, Comparisons),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Cesql(Expression),
}

/// Which part of a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Beginning,
    End,
}

impl Node {
    /// Whether it holds. What fails is false; the first failure is noted.
    pub(super) fn holds(&self, input: &Input<'_>, first: &mut Option<Failure>) -> bool {
        let held = match self {
            Self::All(nodes) => Ok(nodes.iter().all(|node| node.holds(input, first))),
            Self::Any(nodes) => Ok(nodes.iter().any(|node| node.holds(input, first))),
            Self::Not(node) => Ok(!node.holds(input, first)),
            Self::Cesql(expression) => expression.holds(input),
            Self::Attributes(part, wanted) => attributes_hold(*part, wanted, input),
        };
        held.unwrap_or_else(|failure| {
            first.get_or_insert(failure);
            false
        })
    }
}

fn attributes_hold(
    part: Part,
    wanted: &[(AttributeName, Box<str>)],
    input: &Input<'_>,
) -> Result<bool, Failure> {
    for (name, wanted) in wanted {
        let value = input.attribute(name)?.ok_or(Failure::MissingAttribute)?;
        let holds = match part {
            Part::Whole => *value == **wanted,
            Part::Beginning => value.starts_with(&**wanted),
            Part::End => value.ends_with(&**wanted),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}
