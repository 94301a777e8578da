use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{attributes::Members, event::Declared};

/// Headers and payload bytes; may be a CloudEvent.
///
/// A clone shares both, so that a fan-out to a thousand subscriptions holds one copy, and reads
/// the attributes of a structured event once. Header names are lower-case (as [`HeaderName`] keeps
/// them); values and payload are kept byte for byte.
#[derive(Clone, Debug, Default)]
pub struct Message {
    headers: Arc<HeaderMap>,
    body: Bytes,
    /// Where the body's attributes are, once somebody asked; only in structured mode.
    members: Option<Arc<OnceLock<Members>>>,
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.headers == other.headers && self.body == other.body
    }
}

impl Eq for Message {}

impl Message {
    /// A message of these headers and this payload.
    #[must_use]
    pub fn new(headers: HeaderMap, body: Bytes) -> Self {
        let mut message = Self {
            headers: Arc::new(headers),
            body,
            members: None,
        };
        message.forget_members();
        message
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The payload.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// One header as text; nothing when it is missing or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The same message with one header set, replacing earlier values of that name.
    ///
    /// Copies the header table if it is shared.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        let changes_mode = name == header::CONTENT_TYPE;
        Arc::make_mut(&mut self.headers).insert(name, value);
        if changes_mode {
            self.forget_members();
        }
        self
    }

    /// The same message with another payload.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self.forget_members();
        self
    }

    /// What it counts for against bounds in bytes: payload, header names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        headers + self.body.len()
    }

    /// Takes it apart; copies the header table only if it is shared.
    #[must_use]
    pub fn into_parts(self) -> (HeaderMap, Bytes) {
        (Arc::unwrap_or_clone(self.headers), self.body)
    }

    /// Where the attributes are in the body; nothing unless it says that it is in structured mode.
    pub(crate) fn members(&self) -> Option<&Members> {
        let members = self.members.as_ref()?;
        Some(members.get_or_init(|| Members::of(&self.body)))
    }

    fn forget_members(&mut self) {
        let is_structured = Declared::by(&self.headers) == Declared::Structured;
        self.members = is_structured.then(Arc::default);
    }
}
