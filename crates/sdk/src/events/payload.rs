use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::PayloadError;

/// JSON as it came or as it will go: digits, order of members and spacing stay as they are.
///
/// Unset by default, which is written as `null` (`{}` for metadata, identity and auth).
///
/// ```
/// use busway_sdk::events::Payload;
///
/// let payload = Payload::of(&serde_json::json!({"order": 1}))?;
/// assert_eq!(payload.as_bytes(), br#"{"order":1}"#);
///
/// // Digits that no float has stay as they are.
/// let precise = Payload::raw(&b"{\"amount\": 0.10000000000000000001}"[..]);
/// assert_eq!(precise.as_bytes(), b"{\"amount\": 0.10000000000000000001}");
///
/// #[derive(serde::Deserialize)]
/// struct Order { order: u32 }
/// let order: Order = payload.get()?;
/// assert_eq!(order.order, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Payload {
    json: Option<Bytes>,
    /// Whether errors must not repeat what is in it.
    is_secret: bool,
    /// Whether it is part of the event that a handler was given.
    is_requests: bool,
}

impl Payload {
    /// The JSON of a value.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Payload::of(&[1, 2])?.as_bytes(), b"[1,2]");
    /// # Ok::<(), busway_sdk::events::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// When the value has no JSON, such as a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        serde_json::to_vec(value)
            .map(Self::raw)
            .map_err(PayloadError::write)
    }

    /// These bytes. Whether they are JSON is checked when they are written: an answer that is not
    /// is a failure of its handler.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Payload::raw("{ }").as_bytes(), b"{ }");
    /// ```
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self {
            json: Some(bytes.into()),
            ..Self::default()
        }
    }

    /// Reads it; an unset one as `null`.
    ///
    /// ```
    /// use busway_sdk::events::Payload;
    ///
    /// assert_eq!(Payload::raw("[1]").get::<Vec<u8>>()?, [1]);
    /// assert!(Payload::raw("[1]").get::<u8>().is_err());
    /// # Ok::<(), busway_sdk::events::PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// When it is not JSON, or not that of a `T`.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_slice(self.as_bytes()).map_err(|error| {
            let error = if self.is_secret {
                let (line, column) = (error.line(), error.column());
                let what = format!("not what was expected at line {line} column {column}");
                serde::de::Error::custom(what)
            } else {
                error
            };
            PayloadError::read(error, self.is_requests)
        })
    }

    /// The JSON; `null` when it is unset.
    ///
    /// ```
    /// assert_eq!(busway_sdk::events::Payload::default().as_bytes(), b"null");
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.json.as_deref().unwrap_or(b"null")
    }

    /// Whether it was never set.
    ///
    /// ```
    /// use busway_sdk::events::Payload;
    ///
    /// assert!(Payload::default().is_unset() && !Payload::raw("null").is_unset());
    /// ```
    #[must_use]
    pub const fn is_unset(&self) -> bool {
        self.json.is_none()
    }

    /// The same, whose errors do not repeat what is in it: they end in logs and answers.
    pub(super) fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    /// The same, as part of the event that a handler is given.
    pub(super) fn requests(self) -> Self {
        Self {
            is_requests: true,
            ..self
        }
    }

    /// As [`Payload::as_bytes`], shared.
    pub(super) fn to_bytes(&self) -> Bytes {
        self.json
            .clone()
            .unwrap_or(const { Bytes::from_static(b"null") })
    }

    /// The JSON, once checked, without white space around it; `unset` when it is unset.
    pub(super) fn json<'a>(&'a self, unset: &'a str) -> Result<&'a str, serde_json::Error> {
        match &self.json {
            None => Ok(unset),
            Some(bytes) => serde_json::from_slice::<&RawValue>(bytes).map(RawValue::get),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Payload({} bytes)", self.as_bytes().len())
    }
}
