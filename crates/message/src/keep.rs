use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Which headers travel with a message.
///
/// Kept: `content-type`, `content-encoding`, `content-language`, `x-request-id`, `traceparent`,
/// `tracestate`, `baggage`, those that begin with `ce-`, `x-b3-`, `x-ot-`, `knative-` or `busway-`,
/// and the names that a Bus adds. Never kept, even when a Bus adds them: what belongs to one
/// connection or request (RFC 9110 §7.6.1, with the names that `connection` lists), credentials,
/// and what only Busway says: `busway-{namespace,subscription,attempt,probe,id,replay,redrive}`.
///
/// Repeated values become one, joined by a comma as RFC 9110 §5.3 says.
#[derive(Clone, Debug, Default)]
pub struct KeepHeaders {
    extra: Vec<HeaderName>,
}

impl KeepHeaders {
    /// The standard rules, and these names as well.
    #[must_use]
    pub fn new(extra: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut extra: Vec<_> = extra
            .into_iter()
            .filter(|name| !is_always_kept(name.as_str()) && !is_never_kept(name.as_str()))
            .collect();
        extra.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        extra.dedup();
        Self { extra }
    }

    /// What the receiver keeps of a sender's headers.
    #[must_use]
    pub fn from_sender(&self, headers: &HeaderMap) -> HeaderMap {
        self.keep(headers)
    }

    /// What the dispatcher keeps of a reply's headers.
    ///
    /// A subscriber that sends back the headers it got is no more believed than any other sender.
    #[must_use]
    pub fn from_reply(&self, headers: &HeaderMap) -> HeaderMap {
        self.keep(headers)
    }

    fn keep(&self, headers: &HeaderMap) -> HeaderMap {
        let listed = Listed::of(headers);
        let mut kept = HeaderMap::with_capacity(headers.keys_len());
        let mut last: Option<&HeaderName> = None;
        for (name, value) in headers {
            // The values of one name come one after the other, with the very same name.
            let repeated = last.is_some_and(|last| std::ptr::eq(last, name));
            last = Some(name);
            if repeated {
                if let Some(first) = kept.get_mut(name) {
                    join(first, value);
                }
            } else if self.is_kept(name) && !listed.contains(name) {
                kept.insert(name.clone(), value.clone());
            }
        }
        kept
    }

    fn is_kept(&self, name: &HeaderName) -> bool {
        is_always_kept(name.as_str()) && !is_ours(name.as_str())
            || !self.extra.is_empty() && self.is_extra(name.as_str())
    }

    fn is_extra(&self, name: &str) -> bool {
        self.extra
            .binary_search_by(|extra| extra.as_str().cmp(name))
            .is_ok()
    }
}

fn is_always_kept(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["ce-", "x-b3-", "x-ot-", "knative-", "busway-"];
    matches!(
        name,
        "content-type"
            | "content-encoding"
            | "content-language"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "baggage"
    ) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What only Busway may say of a message; `busway-hops` and `busway-error-*` go on, or loops would
/// not end and a dead letter would lose its story on the way to a channel.
fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("busway-") else {
        return false;
    };
    matches!(
        rest,
        "namespace" | "subscription" | "attempt" | "probe" | "id" | "replay" | "redrive"
    )
}

/// What no Bus can add.
fn is_never_kept(name: &str) -> bool {
    is_ours(name)
        || is_of_one_request(name)
        || matches!(
            name,
            // Credentials, for whom the sender meant them and nobody else.
            "authorization"
                | "cookie"
                | "set-cookie"
                | "proxy-authenticate"
                | "proxy-authentication-info"
                | "proxy-authorization"
        )
}

/// Whether a header, by its name in lower case, is of one connection (RFC 9110 §7.6.1) or of one request, and says
/// nothing of the message: whoever sends it on sets its own.
#[must_use]
pub fn is_of_one_request(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "content-length"
            | "expect"
            | "host"
    )
}

/// The names that the `connection` header lists.
struct Listed<'a>(Vec<&'a str>);

impl<'a> Listed<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).into_iter();
        Self(
            values
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .map(str::trim)
                // What nearly every such header says; its own name is never kept anyway.
                .filter(|name| !name.eq_ignore_ascii_case("keep-alive"))
                .filter(|name| !name.eq_ignore_ascii_case("close"))
                .collect(),
        )
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(name.as_str()))
    }
}

fn join(first: &mut HeaderValue, next: &HeaderValue) {
    let joined = [first.as_bytes(), next.as_bytes()].join(&b", "[..]);
    // Two header values and a comma are always a header value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        *first = joined;
    }
}

#[cfg(test)]
mod tests;
