//! The request of one attempt (delivery specification, §3).

use busway_core::{SubscriptionRef, address::Destination, world::Entropy};
use busway_message::{
    Message, is_of_one_request,
    names::{BUSWAY_ATTEMPT, BUSWAY_NAMESPACE, BUSWAY_SUBSCRIPTION, TRACEPARENT, TRACESTATE},
    trace::TraceContext,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
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

/// The POST of one message to one destination.
pub(super) struct Post<'a> {
    message: &'a Message,
    to: &'a Destination,
    attempt: Option<&'a Attempt<'a>>,
    trace: HeaderValue,
    /// Whether the trace is the message's own.
    goes_on: bool,
}

impl<'a> Post<'a> {
    pub(super) fn new(
        message: &'a Message,
        to: &'a Destination,
        attempt: Option<&'a Attempt<'a>>,
        entropy: &dyn Entropy,
    ) -> Self {
        let parent = TraceContext::from_headers(message.headers());
        let goes_on = parent.is_some();
        let trace = parent.map_or_else(
            || {
                let trace = u128::from(entropy.next()) << 64 | u128::from(entropy.next());
                TraceContext::start(trace, entropy.next())
            },
            |parent| parent.child(entropy.next()),
        );
        Self {
            message,
            to,
            attempt,
            trace: trace.header_value(),
            goes_on,
        }
    }

    pub(super) const fn body(&self) -> &Bytes {
        self.message.body()
    }

    /// Each header but that of the length: the attempt's own, then the message's, where they are not the same.
    fn each(&self, mut with: impl FnMut(&HeaderName, &HeaderValue)) {
        let authorization = self.to.authorization();
        let prefer_reply = self.attempt.is_some_and(|attempt| attempt.prefer_reply);
        with(&header::HOST, self.to.host_header());
        if let Some(authorization) = authorization {
            with(&header::AUTHORIZATION, authorization);
        }
        if let Some(attempt) = self.attempt {
            with(&BUSWAY_NAMESPACE, &attempt.named.namespace);
            with(&BUSWAY_SUBSCRIPTION, &attempt.named.name);
            with(&BUSWAY_ATTEMPT, &HeaderValue::from(attempt.number));
        }
        if prefer_reply {
            with(&PREFER, &REPLY);
        }
        with(&TRACEPARENT, &self.trace);
        for (name, value) in self.message.headers() {
            // Receivers keep none of the first kind, but a bus author's message may have one, and it would change the
            // framing.
            let is_said = is_of_one_request(name.as_str())
                || *name == TRACEPARENT
                || (*name == TRACESTATE && !self.goes_on)
                || (*name == header::AUTHORIZATION && authorization.is_some())
                || (*name == PREFER && prefer_reply)
                || (self.attempt.is_some()
                    && (*name == BUSWAY_NAMESPACE
                        || *name == BUSWAY_SUBSCRIPTION
                        || *name == BUSWAY_ATTEMPT));
            if !is_said {
                with(name, value);
            }
        }
    }

    /// Its head in HTTP/1.1.
    pub(super) fn write_head(&self, to: &mut Vec<u8>) {
        let target = self.to.target().path_and_query();
        to.extend_from_slice(b"POST ");
        to.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
        to.extend_from_slice(b" HTTP/1.1\r\n");
        self.each(|name, value| line(to, name, value));
        line(to, &header::CONTENT_LENGTH, &self.length());
        to.extend_from_slice(b"\r\n");
    }

    /// The whole of it, for HTTP/2.
    pub(super) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body().clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.to.target().clone();
        let headers = request.headers_mut();
        self.each(|name, value| {
            headers.append(name, value.clone());
        });
        headers.insert(header::CONTENT_LENGTH, self.length());
        request
    }

    fn length(&self) -> HeaderValue {
        HeaderValue::from(self.body().len())
    }
}

/// A [`HeaderValue`] holds no end of a line, nor does a name.
fn line(to: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    to.extend_from_slice(name.as_str().as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_bytes());
    to.extend_from_slice(b"\r\n");
}
