//! Values and casts (§3.1, §3.7).

use std::borrow::Cow;

use crate::filter::Failure;

/// The types of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Boolean,
    /// 32 bits, signed.
    Integer,
    /// Unicode characters.
    String,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A Boolean.
    Boolean(bool),
    /// An Integer.
    Integer(i32),
    /// A String.
    String(Cow<'a, str>),
}

impl Type {
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Boolean => "a Boolean",
            Self::Integer => "an Integer",
            Self::String => "a String",
        }
    }

    /// What stands for a value that could not be computed (§3.1).
    pub(super) const fn zero(self) -> Value<'static> {
        match self {
            Self::Boolean => Value::Boolean(false),
            Self::Integer => Value::Integer(0),
            Self::String => Value::String(Cow::Borrowed("")),
        }
    }
}

impl<'a> Value<'a> {
    /// The value that a canonical string of CloudEvents stands for.
    ///
    /// An attribute's type does not survive binary mode, so attributes are strings here, and casts
    /// do the rest; only where nothing asks for a type, it is read off.
    pub(super) fn of_canonical(text: Cow<'a, str>) -> Self {
        match &*text {
            "true" => Self::Boolean(true),
            "false" => Self::Boolean(false),
            digits => match digits.parse() {
                Ok(number) if is_decimal(digits, number) => Self::Integer(number),
                _ => Self::String(text),
            },
        }
    }

    pub(super) const fn of_type(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::String(_) => Type::String,
        }
    }

    /// The same value, without a copy of its text.
    pub(super) fn as_ref(&self) -> Value<'_> {
        match self {
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Integer(value) => Value::Integer(*value),
            Self::String(text) => Value::String(Cow::Borrowed(text)),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, Failure> {
        match self {
            Self::Boolean(value) => Ok(*value),
            Self::Integer(value) => Ok(*value != 0),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::String(_) => Err(Failure::Cast),
        }
    }

    pub(super) fn integer(&self) -> Result<i32, Failure> {
        match self {
            Self::Boolean(value) => Ok(i32::from(*value)),
            Self::Integer(value) => Ok(*value),
            Self::String(text) => text.parse().map_err(|_| Failure::Cast),
        }
    }

    pub(super) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(value) => Cow::Owned(value.to_string()),
            Self::String(text) => text,
        }
    }

    /// Whether it is `other` once it is cast to the type of `other`.
    pub(super) fn equals(&self, other: &Value<'_>) -> Result<bool, Failure> {
        Ok(match other {
            Value::Boolean(other) => self.boolean()? == *other,
            Value::Integer(other) => self.integer()? == *other,
            Value::String(other) => match self {
                Self::Boolean(true) => other == "true",
                Self::Boolean(false) => other == "false",
                Self::Integer(value) => is_decimal(other, *value),
                Self::String(text) => text == other,
            },
        })
    }
}

/// Whether the text is how this number is written; nothing is allocated to find out.
fn is_decimal(text: &str, number: i32) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = match digits.as_bytes() {
        [b'0'] => text == "0",
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    is_canonical && text.parse() == Ok(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_form_of_a_number_is_a_number() {
        for text in ["+1", "01", "-0", "00", "-", "", "1 ", "2147483648", "True"] {
            let value = Value::of_canonical(text.into());
            assert_eq!(value, Value::String(text.into()));
        }
        for number in [0, 1, -1, 10, i32::MAX, i32::MIN] {
            let text = number.to_string();
            assert_eq!(Value::of_canonical(text.into()), Value::Integer(number));
        }
    }

    #[test]
    fn texts_are_cast_as_the_specification_says() {
        let text = |text: &'static str| Value::String(text.into());
        assert_eq!(text("+7").integer(), Ok(7));
        assert_eq!(text("-007").integer(), Ok(-7));
        for not_a_number in ["", "+", "1.0", " 1", "2147483648", "\u{663}"] {
            assert_eq!(text(not_a_number).integer(), Err(Failure::Cast));
        }
        assert_eq!(text("tRUE").boolean(), Ok(true));
        for not_a_boolean in ["", "1", " true", "yes"] {
            assert_eq!(text(not_a_boolean).boolean(), Err(Failure::Cast));
        }
    }

    proptest! {
        #[test]
        fn a_number_equals_its_own_text_and_no_other(number in any::<i32>(), text in "[+-]?[0-9]{1,11}") {
            let value = Value::Integer(number);
            prop_assert!(value.equals(&Value::String(number.to_string().into())).unwrap());
            let same = value.equals(&Value::String(text.as_str().into())).unwrap();
            prop_assert_eq!(same, number.to_string() == text);
        }
    }
}
