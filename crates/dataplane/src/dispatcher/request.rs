//! The request of one attempt (delivery specification, §3).

use busway_core::{SubscriptionRef, address::Destination, world::Entropy};
use busway_message::{
    Message,
    names::{BUSWAY_ATTEMPT, BUSWAY_NAMESPACE, BUSWAY_SUBSCRIPTION, TRACEPARENT, TRACESTATE},
    trace::TraceContext,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const REPLY: HeaderValue = HeaderValue::from_static("reply");

/// What an attempt says of its subscription; made once per subscription.
pub(super) struct Named {
    namespace: HeaderValue,
    name: HeaderValue,
}

impl Named {
    pub(super) fn new(subscription: &SubscriptionRef) -> Self {
        // The API server takes no name that is not a header value.
        let value =
            |text| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"));
        Self {
            namespace: value(subscription.namespace()),
            name: value(subscription.name()),
        }
    }
}

/// Which attempt of which subscription a request is.
pub(super) struct Attempt<'a> {
    pub(super) named: &'a Named,
    /// From 1.
    pub(super) number: u32,
    pub(super) prefer_reply: bool,
}

/// A POST of `message` to a destination; headers are copied, the body is shared.
pub(super) fn post(
    message: &Message,
    to: &Destination,
    attempt: Option<&Attempt<'_>>,
    entropy: &dyn Entropy,
) -> Request<Full<Bytes>> {
    let kept = message.headers();
    // With room for what follows, so that the table does not grow.
    let mut headers = HeaderMap::with_capacity(kept.len() + 8);
    for (name, value) in kept {
        headers.append(name, value.clone());
    }
    headers.insert(header::HOST, to.host_header().clone());
    if let Some(authorization) = to.authorization() {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    if let Some(attempt) = attempt {
        headers.insert(BUSWAY_NAMESPACE, attempt.named.namespace.clone());
        headers.insert(BUSWAY_SUBSCRIPTION, attempt.named.name.clone());
        headers.insert(BUSWAY_ATTEMPT, HeaderValue::from(attempt.number));
        if attempt.prefer_reply {
            headers.insert(PREFER, REPLY);
        }
    }
    let trace = match TraceContext::from_headers(kept) {
        Some(parent) => parent.child(entropy.next()),
        None => {
            headers.remove(TRACESTATE);
            let trace = u128::from(entropy.next()) << 64 | u128::from(entropy.next());
            TraceContext::start(trace, entropy.next())
        }
    };
    headers.insert(TRACEPARENT, trace.header_value());
    let mut request = Request::new(Full::new(message.body().clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = to.target().clone();
    *request.headers_mut() = headers;
    request
}
