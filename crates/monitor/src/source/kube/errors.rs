//! What an API server's refusal means to a writer.

use kube::core::Status;

use crate::source::WriteError;

/// How the message begins when a type in an apply is wrong.
const MISFIT: &str = "failed to create typed patch object";

pub(super) fn write_error(error: &kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) => by_status(status),
        // What was asked for cannot be said, or the answer not be read: the same again will not help.
        kube::Error::BuildRequest(_) | kube::Error::SerdeError(_) => {
            WriteError::Refused(error.to_string())
        }
        // Without the address and the request: it is told in a condition.
        kube::Error::Service(source) => WriteError::Unavailable(root(source.as_ref())),
        kube::Error::HyperError(source) => WriteError::Unavailable(root(source)),
        other => WriteError::Unavailable(root(other)),
    }
}

fn by_status(status: &Status) -> WriteError {
    let names_uid = || {
        let message = status.message.to_ascii_lowercase();
        message.contains("uid in precondition")
            || message.contains("metadata.uid")
            || message.contains("uid mismatch")
    };
    match status.code {
        404 | 410 => WriteError::Gone,
        409 | 422 if names_uid() => WriteError::Gone,
        409 => WriteError::Conflict,
        // The API server says 500 to an apply that does not fit the schema.
        500 if status.message.starts_with(MISFIT) => WriteError::Refused(text(status)),
        // 401: a token that is being replaced.
        401 | 408 | 429 | 500..=599 => WriteError::Unavailable(text(status)),
        _ => WriteError::Refused(text(status)),
    }
}

fn text(status: &Status) -> String {
    if status.message.is_empty() {
        format!("{} {}", status.code, status.reason)
    } else {
        status.message.clone()
    }
}

fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(code: u16, message: &str) -> WriteError {
        let status = Status {
            code,
            message: message.to_owned(),
            reason: if code == 409 { "Conflict" } else { "" }.to_owned(),
            ..Status::default()
        };
        write_error(&kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_missing_or_recreated_object_is_gone() {
        assert_eq!(mapped(404, "not found"), WriteError::Gone);
        let precondition = "Precondition failed: UID in precondition: a, UID in object meta: b";
        assert_eq!(mapped(409, precondition), WriteError::Gone);
    }

    #[test]
    fn a_write_in_between_is_a_conflict() {
        let modified =
            "the object has been modified; please apply your changes to the latest version";
        assert_eq!(mapped(409, modified), WriteError::Conflict);
    }

    #[test]
    fn a_busy_or_failing_server_is_asked_again() {
        for code in [401, 408, 429, 500, 502, 503, 504] {
            assert!(
                matches!(mapped(code, "busy"), WriteError::Unavailable(_)),
                "{code}"
            );
        }
    }

    #[test]
    fn what_the_server_will_never_take_is_refused_with_its_words() {
        for code in [400, 403, 422] {
            assert_eq!(
                mapped(code, "because"),
                WriteError::Refused("because".to_owned())
            );
        }
    }
}
