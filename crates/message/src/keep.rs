use http::{HeaderMap, HeaderName};

/// Which headers travel with a message; the rules of `docs/delivery.md`, "Kept headers".
#[derive(Clone, Debug, Default)]
pub struct KeepHeaders {
    extra: Vec<HeaderName>,
}

impl KeepHeaders {
    /// The standard rules, and these names as well.
    #[must_use]
    pub fn new(extra: impl IntoIterator<Item = HeaderName>) -> Self {
        Self {
            extra: extra.into_iter().collect(),
        }
    }

    /// What the receiver keeps of a sender's headers.
    #[must_use]
    pub fn from_sender(&self, headers: &HeaderMap) -> HeaderMap {
        headers.clone()
    }

    /// What the dispatcher keeps of a reply's headers.
    #[must_use]
    pub fn from_reply(&self, headers: &HeaderMap) -> HeaderMap {
        headers.clone()
    }
}
