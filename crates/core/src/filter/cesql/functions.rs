//! The built-in functions (§3.5), and the casts and questions about types that the kit calls.

mod text;

use std::borrow::Cow;

use super::{
    Position, Type, Value,
    evaluate::{Evaluated, Failed},
    invalid::Problem,
    lexer::shown,
    tree::{Call, Node},
};
use crate::filter::{Failure, input::Input};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Int,
    Bool,
    String,
    IsInt,
    IsBool,
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    SubstringOfLength,
    Abs,
}

/// A name, the least and the most arguments, and the function.
type Signature = (&'static str, usize, usize, Function);

const FUNCTIONS: [Signature; 16] = [
    ("INT", 1, 1, Function::Int),
    ("BOOL", 1, 1, Function::Bool),
    ("STRING", 1, 1, Function::String),
    ("IS_INT", 1, 1, Function::IsInt),
    ("IS_BOOL", 1, 1, Function::IsBool),
    ("LENGTH", 1, 1, Function::Length),
    ("CONCAT", 0, usize::MAX, Function::Concat),
    ("CONCAT_WS", 1, usize::MAX, Function::ConcatWs),
    ("LOWER", 1, 1, Function::Lower),
    ("UPPER", 1, 1, Function::Upper),
    ("TRIM", 1, 1, Function::Trim),
    ("LEFT", 2, 2, Function::Left),
    ("RIGHT", 2, 2, Function::Right),
    ("SUBSTRING", 2, 2, Function::Substring),
    ("SUBSTRING", 3, 3, Function::SubstringOfLength),
    ("ABS", 1, 1, Function::Abs),
];

impl Function {
    /// The function of that name, in any case, that takes so many arguments.
    ///
    /// A missing function is found when the expression is compiled, as §3.3 wishes.
    pub(super) fn resolve(name: &str, arguments: usize) -> Result<Self, Problem> {
        let mut of_name = FUNCTIONS
            .into_iter()
            .filter(|(known, ..)| known.eq_ignore_ascii_case(name))
            .peekable();
        if of_name.peek().is_none() {
            return Err(Problem::NoFunction(shown(name).to_owned()));
        }
        of_name
            .find(|(_, least, most, _)| (*least..=*most).contains(&arguments))
            .map(|(.., function)| function)
            .ok_or_else(|| Problem::NoOverload {
                name: name.to_ascii_uppercase(),
                given: arguments,
            })
    }

    pub(super) const fn gives(self) -> Type {
        match self {
            Self::Bool | Self::IsInt | Self::IsBool => Type::Boolean,
            Self::Int | Self::Length | Self::Abs => Type::Integer,
            Self::String
            | Self::Concat
            | Self::ConcatWs
            | Self::Lower
            | Self::Upper
            | Self::Trim
            | Self::Left
            | Self::Right
            | Self::Substring
            | Self::SubstringOfLength => Type::String,
        }
    }
}

impl Call {
    pub(super) fn evaluate<'a>(&'a self, input: &Input<'a>) -> Evaluated<'a> {
        let arguments = Arguments {
            nodes: &self.arguments,
            at: self.at,
            input,
        };
        let integer = |value: i32| Ok(Value::Integer(value));
        let text = |text| Ok(Value::String(text));
        match self.function {
            Function::Int => integer(arguments.integer(0)?),
            Function::Bool => {
                let value = arguments.value(0)?.boolean();
                value.map(Value::Boolean).map_err(Failed::at(self.at))
            }
            Function::String => text(arguments.text(0)?),
            Function::IsInt => Ok(Value::Boolean(arguments.value(0)?.integer().is_ok())),
            Function::IsBool => Ok(Value::Boolean(arguments.value(0)?.boolean().is_ok())),
            Function::Length => {
                let length = arguments.text(0)?.chars().count();
                integer(i32::try_from(length).unwrap_or(i32::MAX))
            }
            Function::Concat => text(arguments.joined(0, "")?),
            Function::ConcatWs => text(arguments.joined(1, &arguments.text(0)?)?),
            Function::Lower => text(text::lower(arguments.text(0)?)),
            Function::Upper => text(text::upper(arguments.text(0)?)),
            Function::Trim => text(text::trim(arguments.text(0)?)),
            Function::Left => {
                let (text, length) = (arguments.text(0)?, arguments.integer(1)?);
                arguments.part(text::left(text, length))
            }
            Function::Right => {
                let (text, length) = (arguments.text(0)?, arguments.integer(1)?);
                arguments.part(text::right(text, length))
            }
            Function::Substring => {
                let (text, position) = (arguments.text(0)?, arguments.integer(1)?);
                arguments.part(text::substring(text, position, i32::MAX))
            }
            Function::SubstringOfLength => {
                let (text, position) = (arguments.text(0)?, arguments.integer(1)?);
                arguments.part(text::substring(text, position, arguments.integer(2)?))
            }
            Function::Abs => match arguments.integer(0)?.checked_abs() {
                Some(value) => integer(value),
                None => Err(arguments.failed(Failure::Math, Value::Integer(i32::MAX))),
            },
        }
    }
}

/// The arguments of one call, evaluated as they are asked for.
struct Arguments<'i, 'a> {
    nodes: &'a [Node],
    at: Position,
    input: &'i Input<'a>,
}

impl<'a> Arguments<'_, 'a> {
    fn value(&self, index: usize) -> Evaluated<'a> {
        match self.nodes.get(index) {
            Some(node) => node.operand(self.input),
            // A function is resolved only with as many as it takes.
            None => Err(Failed::new(Failure::FunctionEvaluation, self.at)),
        }
    }

    fn integer(&self, index: usize) -> Result<i32, Failed<'a>> {
        let value = self.value(index)?;
        value.integer().map_err(Failed::at(self.at))
    }

    /// What a function does with a text takes time as long as the text.
    fn text(&self, index: usize) -> Result<Cow<'a, str>, Failed<'a>> {
        let text = self.value(index)?.text();
        self.spend(text.len())?;
        Ok(text)
    }

    /// All from that index on, one after the other, so that no more than the result is held.
    fn joined(&self, from: usize, separator: &str) -> Result<Cow<'a, str>, Failed<'a>> {
        let mut joined = String::new();
        for index in from..self.nodes.len() {
            if index > from {
                self.spend(separator.len())?;
                joined.push_str(separator);
            }
            joined.push_str(&self.text(index)?);
        }
        Ok(Cow::Owned(joined))
    }

    fn spend(&self, bytes: usize) -> Result<(), Failed<'a>> {
        let spent = self.input.work().spend(bytes);
        spent.map_err(Failed::at(self.at))
    }

    /// A part of a text, or what stands for one that cannot be.
    fn part(&self, part: Result<Cow<'a, str>, Cow<'a, str>>) -> Evaluated<'a> {
        part.map(Value::String)
            .map_err(|instead| self.failed(Failure::FunctionEvaluation, Value::String(instead)))
    }

    const fn failed(&self, failure: Failure, instead: Value<'a>) -> Failed<'a> {
        Failed {
            failure,
            at: self.at,
            instead: Some(instead),
        }
    }
}
