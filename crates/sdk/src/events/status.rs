//! What a dispatcher of Busway is told.

use busway_message::names::BUSWAY_SUBSCRIPTION;
use http::{HeaderMap, StatusCode};

use super::run::Fate;

/// The types of errors that the implementations of the protocol know.
pub(super) const ERROR_TYPES: [&str; 10] = [
    "error",
    "badRequest",
    "badProtocol",
    "unauthorized",
    "forbidden",
    "userDenied",
    "resourceDenied",
    "notFound",
    "eventNotFound",
    "expired",
];

/// The subscription that a dispatcher sends a request for.
pub(super) fn subscription(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(BUSWAY_SUBSCRIPTION)?;
    Some(name.to_str().unwrap_or_default())
}

/// Whether a subscription can be called so: others are not from a dispatcher.
pub(super) fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// The status that tells a dispatcher what to do.
pub(super) const fn on_the_bus(fate: Fate) -> StatusCode {
    match fate {
        Fate::Done => StatusCode::OK,
        Fate::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Fate::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        Fate::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        // A roll-out may bring the handler.
        Fate::Unknown => StatusCode::NOT_FOUND,
        Fate::Undecodable => StatusCode::BAD_REQUEST,
    }
}

/// Whether an event of this name is an answer.
pub(super) fn is_answer(name: &str) -> bool {
    match name.rsplit_once(':') {
        Some((_, last)) => last == "response" || last == "redirect" || is_error_type(last),
        // The names of errors that a mux makes.
        None => matches!(name, "error" | "eventNotFound" | "badProtocol"),
    }
}

fn is_error_type(text: &str) -> bool {
    let text = camel_case(text);
    ERROR_TYPES.contains(&text.as_str())
}

/// `bad_request` and `badRequest` are one.
pub(super) fn camel_case(text: &str) -> String {
    let mut camel = String::with_capacity(text.len());
    let mut is_upper = false;
    for character in text.chars() {
        if character == '_' {
            is_upper = !camel.is_empty();
        } else if is_upper {
            is_upper = false;
            camel.extend(character.to_uppercase());
        } else {
            camel.push(character);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_known_by_their_names() {
        for name in [
            "error",
            "order:response",
            "a:b:response",
            "order:redirect",
            "order:badRequest",
            "order:bad_request",
            "order:error",
            "eventNotFound",
            "badProtocol",
            "x:expired",
        ] {
            assert!(is_answer(name), "{name}");
        }
        for name in [
            "order",
            "response",
            "order:price",
            "expired",
            "order:response ",
            "",
            ":",
        ] {
            assert!(!is_answer(name), "{name}");
        }
    }

    #[test]
    fn snake_case_becomes_camel_case_and_camel_case_stays() {
        for (from, to) in [
            ("bad_request", "badRequest"),
            ("badRequest", "badRequest"),
            ("event_not_found", "eventNotFound"),
            ("_x_", "x"),
            ("", ""),
        ] {
            assert_eq!(camel_case(from), to);
        }
    }
}
