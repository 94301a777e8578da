use http::{HeaderName, header};

use crate::{names::CE_PREFIX, value::is_attribute_name};

/// The name of an attribute or, on plain messages, of a header; resolved once, to be looked up for
/// every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeName {
    name: Box<str>,
    /// The header of that very name.
    pub(super) plain: HeaderName,
    /// The header that it is in an event in binary mode; nothing when no event can have it.
    pub(super) binary: Option<HeaderName>,
}

/// Why a text names neither an attribute nor a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` can be neither an attribute nor a header")]
pub struct InvalidAttributeName(String);

impl AttributeName {
    /// Resolves a name.
    ///
    /// # Errors
    /// When not even a header can be called so.
    pub fn new(name: &str) -> Result<Self, InvalidAttributeName> {
        let header = |name: &str| {
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| InvalidAttributeName(name.to_owned()))
        };
        let binary = match name {
            "datacontenttype" => Some(header::CONTENT_TYPE),
            // It would be another way to say the content, which is no attribute.
            "data" => None,
            _ if is_attribute_name(name) => Some(header(&[CE_PREFIX, name].concat())?),
            _ => None,
        };
        Ok(Self {
            plain: header(name)?,
            name: name.into(),
            binary,
        })
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }
}
