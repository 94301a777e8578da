//! What a bus lets channels and subscriptions set, and what they did set.

use std::collections::BTreeMap;

/// A parameter that a bus declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, `[-._a-zA-Z0-9]{1,63}`.
    pub name: String,
    /// What it means, for people.
    pub description: String,
    /// Its value when there is no argument; without one an argument is required. An empty default
    /// is a default.
    pub default: Option<String>,
}

/// Parameter name → value: defaults, then arguments.
pub type ResolvedParameters = BTreeMap<String, String>;

/// Why arguments do not fit the parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArguments {
    /// An argument names no parameter of the bus.
    #[error(
        "argument `{name}` is not a parameter of the bus; it has {}",
        list(known)
    )]
    Unknown {
        /// The argument's name.
        name: String,
        /// What the bus declares.
        known: Vec<String>,
    },
    /// Parameters without a default got no argument.
    #[error("the bus requires an argument for {}", list(names))]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
}

impl InvalidArguments {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "UnknownArgument",
            Self::Missing { .. } => "MissingArgument",
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Resolves arguments against declared parameters: the default, then the argument.
///
/// # Errors
/// When an argument names no parameter, or a parameter without default has no argument.
pub fn resolve<'a>(
    declared: &[Parameter],
    arguments: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<ResolvedParameters, InvalidArguments> {
    let mut resolved: ResolvedParameters = declared
        .iter()
        .filter_map(|p| Some((p.name.clone(), p.default.clone()?)))
        .collect();
    for (name, value) in arguments {
        if !declared.iter().any(|p| p.name == name) {
            return Err(InvalidArguments::Unknown {
                name: name.to_owned(),
                known: declared.iter().map(|p| p.name.clone()).collect(),
            });
        }
        resolved.insert(name.to_owned(), value.to_owned());
    }
    let names: Vec<_> = declared
        .iter()
        .filter(|p| !resolved.contains_key(&p.name))
        .map(|p| p.name.clone())
        .collect();
    if names.is_empty() {
        Ok(resolved)
    } else {
        Err(InvalidArguments::Missing { names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<Parameter> {
        [("a", Some("1")), ("b", None), ("c", Some(""))]
            .into_iter()
            .map(|(name, default)| Parameter {
                name: name.to_owned(),
                description: String::new(),
                default: default.map(str::to_owned),
            })
            .collect()
    }

    #[test]
    fn an_argument_wins_over_the_default_and_an_empty_default_is_one() {
        let resolved = resolve(&declared(), [("b", "2")]).unwrap_or_default();
        let pairs: Vec<_> = resolved
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "1"), ("b", "2"), ("c", "")]);
    }

    #[test]
    fn a_missing_and_an_unknown_argument_are_named() {
        let missing = resolve(&declared(), []).map_err(|e| (e.reason(), e.to_string()));
        assert_eq!(
            missing,
            Err((
                "MissingArgument",
                "the bus requires an argument for `b`".to_owned()
            ))
        );
        let unknown = resolve(&declared(), [("x", "1")]).map_err(|e| e.to_string());
        assert_eq!(
            unknown,
            Err("argument `x` is not a parameter of the bus; it has `a`, `b`, `c`".to_owned())
        );
    }
}
