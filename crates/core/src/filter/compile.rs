//! From what is written to what is evaluated; everything that can be wrong is found here.

use busway_message::AttributeName;

use super::{
    AttributeValues, FilterSpec, InvalidFilter, MAX_ATTRIBUTES, MAX_DEPTH, MAX_FILTERS, MAX_VALUE,
    cesql::Expression,
    invalid::Problem,
    node::{Comparisons, Node, Part},
    path::Path,
};

type Compiled<T> = Result<T, InvalidFilter>;

pub(super) fn compile(filters: &[FilterSpec]) -> Compiled<Box<[Node]>> {
    Compiler { seen: 0 }.list(filters, &mut Path::root(), 1)
}

struct Compiler {
    /// Filters so far, of all levels.
    seen: usize,
}

impl Compiler {
    fn list(
        &mut self,
        filters: &[FilterSpec],
        path: &mut Path,
        depth: usize,
    ) -> Compiled<Box<[Node]>> {
        let each = |(index, one)| path.in_index(index, |path| self.one(one, path, depth));
        filters.iter().enumerate().map(each).collect()
    }

    fn one(&mut self, filter: &FilterSpec, path: &mut Path, depth: usize) -> Compiled<Node> {
        self.seen += 1;
        if self.seen > MAX_FILTERS {
            return Err(path.invalid(Problem::TooMany));
        }
        if depth > MAX_DEPTH {
            return Err(path.invalid(Problem::TooDeep));
        }
        let below = depth + 1;
        path.in_member(filter.dialect(), |path| {
            Ok(match filter {
                FilterSpec::Exact(of) => Node::Attributes(Part::Whole, attributes(of, path)?),
                FilterSpec::Prefix(of) => Node::Attributes(Part::Beginning, attributes(of, path)?),
                FilterSpec::Suffix(of) => Node::Attributes(Part::End, attributes(of, path)?),
                FilterSpec::All(of) => Node::All(self.some(of, path, below)?),
                FilterSpec::Any(of) => Node::Any(self.some(of, path, below)?),
                FilterSpec::Not(of) => Node::Not(Box::new(self.one(of, path, below)?)),
                FilterSpec::Cesql(source) => {
                    let expression = Expression::predicate(source);
                    Node::Cesql(expression.map_err(|e| path.invalid(Problem::Expression(e)))?)
                }
            })
        })
    }

    fn some(
        &mut self,
        filters: &[FilterSpec],
        path: &mut Path,
        depth: usize,
    ) -> Compiled<Box<[Node]>> {
        if filters.is_empty() {
            return Err(path.invalid(Problem::Empty));
        }
        self.list(filters, path, depth)
    }
}

fn attributes(of: &AttributeValues, path: &Path) -> Compiled<Comparisons> {
    match of.len() {
        0 => return Err(path.invalid(Problem::Empty)),
        1..=MAX_ATTRIBUTES => {}
        _ => return Err(path.invalid(Problem::TooManyAttributes)),
    }
    let one = |(name, value): (&String, &String)| {
        let resolved = AttributeName::new(name).map_err(|e| path.invalid(Problem::Name(e)))?;
        match value.chars().count() {
            1..=MAX_VALUE => Ok((resolved, value.as_str().into())),
            _ => Err(path.invalid(Problem::Value(name.clone()))),
        }
    };
    of.iter().map(one).collect()
}
