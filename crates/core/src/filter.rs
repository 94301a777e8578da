//! Which messages of its channel a subscription wants: the dialects of the CloudEvents
//! Subscriptions API, compiled once and evaluated for every message.

pub mod cesql;

mod compile;
mod failure;
mod input;
mod invalid;
mod node;
mod path;
mod spec;

use busway_message::Message;

pub use failure::Failure;
pub use input::MAX_WORK;
pub use invalid::InvalidFilter;
pub use spec::{AttributeValues, FilterSpec};

use self::{input::Input, node::Node};

/// Levels of filters, the outermost included: more nobody can read.
pub const MAX_DEPTH: usize = 5;
/// Filters of one subscription, nested ones included: what each message may cost.
pub const MAX_FILTERS: usize = 64;
/// Attributes that one filter compares, as the resource's schema has it.
pub const MAX_ATTRIBUTES: usize = 32;
/// Characters of a value that an attribute is compared with, likewise.
pub const MAX_VALUE: usize = 1024;

/// All filters of one subscription. The default has none, and lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    nodes: Box<[Node]>,
}

/// What the filters of a subscription make of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is wanted.
    Pass,
    /// It is not.
    Filtered,
    /// It is not, because a filter could not tell.
    Failed(Failure),
}

impl Filter {
    /// Compiles the filters of a subscription, which all must hold.
    ///
    /// # Errors
    /// The first one that is not right, with its path and, in an expression, the position.
    pub fn compile(filters: &[FilterSpec]) -> Result<Self, InvalidFilter> {
        let nodes = compile::compile(filters)?;
        Ok(Self { nodes })
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether the message is wanted.
    ///
    /// A filter that asks for an attribute that is missing, or whose expression fails, is false;
    /// so a `not` around it is true.
    #[must_use]
    pub fn evaluate(&self, message: &Message) -> Match {
        if self.is_empty() {
            return Match::Pass;
        }
        let input = Input::of(message);
        let mut failure = None;
        let holds = self.nodes.iter().all(|it| it.holds(&input, &mut failure));
        // Else a sender could turn a `not` around with an attribute that is large enough.
        if input.work().is_spent() {
            return Match::Failed(Failure::TooCostly);
        }
        match failure {
            _ if holds => Match::Pass,
            None => Match::Filtered,
            Some(failure) => Match::Failed(failure),
        }
    }
}

#[cfg(test)]
mod tests;
