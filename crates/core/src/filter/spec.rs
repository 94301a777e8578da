use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{InvalidFilter, MAX_DEPTH, invalid::Problem, path::Path};

/// Attribute → value.
pub type AttributeValues = BTreeMap<String, String>;

/// One filter as it is written: one dialect, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterSpec {
    /// Every attribute has its value.
    Exact(AttributeValues),
    /// Every attribute begins with its value.
    Prefix(AttributeValues),
    /// Every attribute ends with its value.
    Suffix(AttributeValues),
    /// All of these hold.
    All(Vec<FilterSpec>),
    /// One of these holds.
    Any(Vec<FilterSpec>),
    /// This does not hold.
    Not(Box<FilterSpec>),
    /// This CESQL expression is true.
    Cesql(String),
}

impl FilterSpec {
    /// What the dialect is called.
    #[must_use]
    pub const fn dialect(&self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::Prefix(_) => "prefix",
            Self::Suffix(_) => "suffix",
            Self::All(_) => "all",
            Self::Any(_) => "any",
            Self::Not(_) => "not",
            Self::Cesql(_) => "cesql",
        }
    }

    /// The list of filters that a JSON array says, as in a resource: objects with one dialect each.
    /// Members that are null are taken as not there; so is a list that is null.
    ///
    /// # Errors
    /// With the path of what is not a filter; what it says is checked by
    /// [`Filter::compile`](super::Filter::compile).
    pub fn list_from_json(filters: &Value) -> Result<Vec<Self>, InvalidFilter> {
        match filters {
            Value::Null => Ok(Vec::new()),
            _ => list(filters, &mut Path::root(), 1),
        }
    }
}

fn list(filters: &Value, path: &mut Path, depth: usize) -> Result<Vec<FilterSpec>, InvalidFilter> {
    let filters = filters
        .as_array()
        .ok_or_else(|| path.invalid(Problem::Shape("a list of filters")))?;
    let each = |(index, one)| path.in_index(index, |path| filter(one, path, depth));
    filters.iter().enumerate().map(each).collect()
}

fn filter(filter: &Value, path: &mut Path, depth: usize) -> Result<FilterSpec, InvalidFilter> {
    if depth > MAX_DEPTH {
        return Err(path.invalid(Problem::TooDeep));
    }
    let members: &Map<String, Value> = filter
        .as_object()
        .ok_or_else(|| path.invalid(Problem::Shape("an object of one dialect")))?;
    let mut members = members.iter().filter(|(_, value)| !value.is_null());
    let (Some((dialect, value)), None) = (members.next(), members.next()) else {
        return Err(path.invalid(Problem::Dialects));
    };
    path.in_member(dialect, |path| one(dialect, value, path, depth))
}

fn one(
    dialect: &str,
    value: &Value,
    path: &mut Path,
    depth: usize,
) -> Result<FilterSpec, InvalidFilter> {
    Ok(match dialect {
        "exact" => FilterSpec::Exact(values(value, path)?),
        "prefix" => FilterSpec::Prefix(values(value, path)?),
        "suffix" => FilterSpec::Suffix(values(value, path)?),
        "all" => FilterSpec::All(list(value, path, depth + 1)?),
        "any" => FilterSpec::Any(list(value, path, depth + 1)?),
        "not" => FilterSpec::Not(Box::new(filter(value, path, depth + 1)?)),
        "cesql" => match value.as_str() {
            Some(expression) => FilterSpec::Cesql(expression.to_owned()),
            None => return Err(path.invalid(Problem::Shape("a string"))),
        },
        _ => return Err(path.invalid(Problem::Dialects)),
    })
}

fn values(value: &Value, path: &mut Path) -> Result<AttributeValues, InvalidFilter> {
    let wrong = || Problem::Shape("an object of strings");
    let members = value.as_object().ok_or_else(|| path.invalid(wrong()))?;
    let mut values = AttributeValues::new();
    for (name, value) in members {
        let value = value.as_str().ok_or_else(|| path.invalid(wrong()))?;
        values.insert(name.clone(), value.to_owned());
    }
    Ok(values)
}
