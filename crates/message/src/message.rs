use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers and payload bytes; may be a CloudEvent.
///
/// A clone shares both, so that a fan-out to a thousand subscriptions holds one copy. Header names
/// are lower-case (as [`HeaderName`] keeps them); values and payload are kept byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    headers: Arc<HeaderMap>,
    body: Bytes,
}

impl Message {
    /// A message of these headers and this payload.
    #[must_use]
    pub fn new(headers: HeaderMap, body: Bytes) -> Self {
        Self {
            headers: Arc::new(headers),
            body,
        }
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
        Arc::make_mut(&mut self.headers).insert(name, value);
        self
    }

    /// The same message with another payload.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
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
}
