//! Resources into core types, once, by validation. What comes out cannot fail for a user's mistake.

pub(crate) mod addresses;
pub(crate) mod bus;
pub(crate) mod channel;
pub(crate) mod delivery;
pub(crate) mod ordering;
pub(crate) mod subscription;

use std::borrow::Cow;

use busway_api::{
    reason::Reason,
    support::{Spec, unsupported},
};

/// Why a resource cannot be used as it is, in words for its condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }

    /// Fields whose behaviour is not there yet.
    pub(crate) fn refused<S: Spec>(spec: &S) -> Option<Self> {
        let refused = unsupported(spec);
        let words: Vec<_> = refused.iter().map(ToString::to_string).collect();
        (!words.is_empty()).then(|| Self::new(Reason::NotYetSupported, words.join("; ")))
    }
}

impl From<busway_core::parameters::InvalidArguments> for Problem {
    fn from(error: busway_core::parameters::InvalidArguments) -> Self {
        Self {
            reason: error.reason().into(),
            message: error.to_string(),
        }
    }
}
