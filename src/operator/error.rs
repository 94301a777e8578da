//! Why a reconcile did not end well.

use std::time::Duration;

use busway_api::Reason;
use kube::core::Status;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest: an API server that is back, or a quota that was raised, is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest while somebody else's object is in the way: it is not watched, and a person who removed it waits.
const CLASH_LOOK: Duration = Duration::from_secs(10);
/// How the API server's message begins when an apply does not fit the schema, which it calls an error of its own (500).
const MISFIT: &str = "failed to create typed patch object";
/// Share of a pause by which it varies, so that many objects do not retry in step.
const JITTER: f64 = 0.25;

/// Why a reconcile did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// What would have to be made is there already, and somebody else's.
    #[error("{object} exists and belongs to somebody else")]
    NameClash {
        /// As `Service shop/orders-channel`.
        object: String,
    },
    /// The object asks for what cannot be: nothing helps but a change of it.
    #[error("{message}")]
    Invalid {
        /// For its conditions.
        reason: Reason,
        /// What is wrong, with the field.
        message: String,
    },
    /// Another writer was faster, or our copy is old.
    #[error("{what} changed at the same time")]
    Conflict {
        /// What was written.
        what: String,
    },
    /// The object is gone, or another of its name took its place.
    #[error("{what} is gone")]
    Gone {
        /// What was written.
        what: String,
    },
    /// The API server will not have it.
    #[error("the API server refuses {what}: {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// Its words.
        message: String,
    },
    /// Nothing can be made in a namespace that is being deleted.
    #[error("{what} cannot be made: its namespace is being deleted")]
    NamespaceTerminating {
        /// What was to be made.
        what: String,
    },
    /// No API server, or a busy one.
    #[error("{what}: {message}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// What came instead.
        message: String,
    },
    /// A defect of ours; told, and tried again.
    #[error("the reconcile panicked")]
    Panicked,
}

impl Error {
    /// The stable short name, for metrics and conditions.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NameClash { .. } => Reason::NameClash.as_str(),
            Self::Invalid { reason, .. } => reason.as_str(),
            Self::Conflict { .. } => "Conflict",
            Self::Gone { .. } => "Gone",
            Self::Refused { .. } => "Refused",
            Self::NamespaceTerminating { .. } => Reason::NamespaceTerminating.as_str(),
            Self::Unavailable { .. } => "ApiServerUnavailable",
            Self::Panicked => "Panicked",
        }
    }

    /// Whether only a change of the object helps: its deletion, where its namespace goes.
    pub(crate) const fn waits_for_change(&self) -> bool {
        matches!(
            self,
            Self::Invalid { .. } | Self::NamespaceTerminating { .. }
        )
    }

    /// How long to wait after so many failures in a row.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let pause = pause(failures);
        match self {
            Self::NameClash { .. } => pause.min(CLASH_LOOK),
            Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::Gone { .. }
            | Self::Refused { .. }
            | Self::NamespaceTerminating { .. }
            | Self::Unavailable { .. }
            | Self::Panicked => pause,
        }
    }

    /// What a call's failure means.
    pub(crate) fn of(what: &str, error: &kube::Error) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) => by_status(what, status),
            kube::Error::BuildRequest(_) | kube::Error::SerdeError(_) => Self::Refused {
                what,
                message: error.to_string(),
            },
            other => Self::Unavailable {
                what,
                message: root(other),
            },
        }
    }
}

fn by_status(what: String, status: &Status) -> Error {
    let lower = status.message.to_ascii_lowercase();
    let names_uid = lower.contains("uid in precondition")
        || lower.contains("uid mismatch")
        || lower.contains("metadata.uid");
    match status.code {
        404 | 410 => Error::Gone { what },
        403 if is_terminating(status) => Error::NamespaceTerminating { what },
        409 | 422 if names_uid => Error::Gone { what },
        409 => Error::Conflict { what },
        500 if status.message.starts_with(MISFIT) => Error::Refused {
            what,
            message: text(status),
        },
        401 | 408 | 429 | 500..=599 => Error::Unavailable {
            what,
            message: text(status),
        },
        _ => Error::Refused {
            what,
            message: text(status),
        },
    }
}

/// By the cause that the API server's admission names.
fn is_terminating(status: &Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

fn text(status: &Status) -> String {
    if status.message.is_empty() {
        format!("{} {}", status.code, status.reason)
    } else {
        status.message.clone()
    }
}

/// Without the address and the request: it may be told in a condition.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// How long to wait after so many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let pause = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    pause.mul_f64(fastrand::f64().mul_add(2.0 * JITTER, 1.0 - JITTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> Error {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        Error::of("x", &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn what_helps_depends_on_the_answer() {
        assert_eq!(of(404, "").reason(), "Gone");
        assert_eq!(of(409, "uid mismatch: a and b").reason(), "Gone");
        assert_eq!(of(409, "the object has been modified").reason(), "Conflict");
        for code in [401, 429, 500, 503] {
            assert_eq!(of(code, "busy").reason(), "ApiServerUnavailable", "{code}");
        }
        for code in [400, 403, 422] {
            assert_eq!(of(code, "no").reason(), "Refused", "{code}");
        }
    }

    #[test]
    fn an_apply_that_does_not_fit_is_refused_and_not_tried_as_if_the_server_were_away() {
        let message = "failed to create typed patch object (shop/x; apps/v1, Kind=Deployment): \
            .spec.template.spec.containers[0].env: duplicate entries for key [name=\"A\"]";
        assert_eq!(of(500, message).reason(), "Refused");
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for failures in 1..40 {
            let pause = pause(failures);
            assert!(pause <= LONGEST_PAUSE.mul_f64(1.0 + JITTER), "{pause:?}");
            assert!(pause >= FIRST_PAUSE.mul_f64(1.0 - JITTER), "{pause:?}");
        }
        assert!(pause(20) >= LONGEST_PAUSE.mul_f64(1.0 - JITTER));
    }
}
