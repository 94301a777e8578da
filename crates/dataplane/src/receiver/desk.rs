//! One request and its answer (delivery specification, §1).

use std::{panic::AssertUnwindSafe, sync::Arc};

use busway_core::{ChannelRef, address::channel_of, budget::MemoryBudget, bus::PublishError};
use busway_message::{Kind, Message, MessageId, batch, hops, names::BUSWAY_ID};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use http_body_util::Full;
use hyper::body::Body;

use super::{
    body::{self, Taken},
    compact::compact,
    inbox::{Inbox, Slot},
};
use crate::{
    metrics::{Counts, Family},
    observer::Event,
    problem::{ALLOWED, Problem},
    quiet::Quiet,
    world::World,
};

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const REQUEST_RATE: HeaderName = HeaderName::from_static("webhook-request-rate");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Answers requests.
pub(super) struct Desk {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) world: World,
    pub(super) counts: Arc<Counts>,
    pub(super) budget: MemoryBudget,
    pub(super) cluster_domain: String,
    /// For lines about messages that the bus did not take.
    pub(super) publish_failed: Quiet,
}

impl Desk {
    /// The answer to a request; a panic on the way to it is answered 500.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if request.method() == Method::OPTIONS {
            self.counts.one(Family::Handshakes);
            return handshake(request.headers());
        }
        let mut channel = None;
        let taken = AssertUnwindSafe(self.take(request, &mut channel))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                self.counts.one(Family::Panics);
                Err(Problem::Internal)
            });
        match taken {
            Ok(ids) => accepted(ids),
            Err(problem) => {
                self.refused(channel.as_ref(), &problem);
                problem.response()
            }
        }
    }

    fn refused(&self, channel: Option<&ChannelRef>, problem: &Problem) {
        self.counts.add(Family::Requests, problem.index(), 1);
        match problem {
            Problem::Publish(
                error @ (PublishError::Unavailable { .. } | PublishError::Other(_)),
            ) => {
                if let Some(more) = self.publish_failed.allow() {
                    tracing::warn!(?channel, %error, more, "the bus did not take a message");
                }
            }
            _ => tracing::debug!(?channel, %problem, "refused"),
        }
        self.world.tell(|| Event::Refused { channel, problem });
    }

    /// Takes what a request brings; the ids of its messages.
    async fn take<B>(
        &self,
        request: Request<B>,
        found: &mut Option<ChannelRef>,
    ) -> Result<Option<HeaderValue>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if request.method() != Method::POST {
            return Err(Problem::MethodNotAllowed);
        }
        let channel = self.channel(&request)?;
        let channel = found.insert(channel);
        let slot = self.inbox.find(channel)?;
        let (parts, body) = request.into_parts();
        let message = Message::new(slot.keep.from_sender(&parts.headers), Bytes::new());
        let limit = slot.settings.max_hops;
        if hops::hops(&message) >= limit {
            return Err(Problem::HopLimit { limit });
        }
        let (max, within) = (slot.settings.max_body, slot.settings.body_timeout);
        let Taken { bytes, held } = body::read(body, max, within, &self.budget).await?;
        let length = bytes.len();
        let message = message.with_body(bytes);
        let ids = match Kind::of(&message)? {
            Kind::Plain | Kind::Event { .. } => {
                let id = self.world.message_id();
                self.publish(&slot, channel, message, id).await?;
                Some(id.header_value())
            }
            Kind::Batch => self.publish_all(&slot, channel, &message).await?,
        };
        drop(held);
        slot.count(Family::Bytes, length);
        Ok(ids)
    }

    fn channel<B>(&self, request: &Request<B>) -> Result<ChannelRef, Problem> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next();
        // RFC 9112 §3.2.
        if hosts.next().is_some() || host.is_none() && request.version() == Version::HTTP_11 {
            return Err(Problem::Host);
        }
        // An absolute request target wins over the Host (§3.2.2 there).
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        let host = match authority {
            Some(authority) => Some(authority),
            None => host
                .map(|host| std::str::from_utf8(host.as_bytes()))
                .transpose()
                .map_err(|_| Problem::Host)?,
        };
        Ok(channel_of(
            request.uri().path(),
            host,
            &self.cluster_domain,
        )?)
    }

    async fn publish(
        &self,
        slot: &Slot,
        channel: &ChannelRef,
        message: Message,
        id: MessageId,
    ) -> Result<(), Problem> {
        let bytes = message.body().len();
        let message = compact(message.with_header(BUSWAY_ID, id.header_value()));
        slot.sink.publish(channel, message).await?;
        slot.count(Family::Messages, 1);
        if self.world.observer.is_some() {
            let id = id.to_string();
            self.world.tell(|| Event::Accepted {
                id: &id,
                channel,
                bytes,
            });
        }
        Ok(())
    }

    /// Publishes each event of a batch, in order. Validation is all or nothing; a store that fails
    /// half-way makes the sender repeat the whole.
    async fn publish_all(
        &self,
        slot: &Slot,
        channel: &ChannelRef,
        batch: &Message,
    ) -> Result<Option<HeaderValue>, Problem> {
        let messages = batch::split(batch)?;
        let events = messages.len();
        let mut ids = String::with_capacity(events * 38);
        for (stored, message) in messages.into_iter().enumerate() {
            let id = self.world.message_id();
            match self.publish(slot, channel, message, id).await {
                Ok(()) => {}
                Err(first) if stored == 0 => return Err(first),
                Err(error) => {
                    if let Some(more) = self.publish_failed.allow() {
                        tracing::warn!(%channel, %error, stored, events, more, "a batch was stored in part");
                    }
                    return Err(Problem::HalfBatch { stored, events });
                }
            }
            let comma = if ids.is_empty() { "" } else { ", " };
            ids.extend([comma, &id.to_string()]);
        }
        slot.count(Family::Batches, 1);
        Ok(HeaderValue::try_from(ids).ok().filter(|_| events > 0))
    }
}

fn accepted(ids: Option<HeaderValue>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Some(ids) = ids {
        response.headers_mut().insert(BUSWAY_ID, ids);
    }
    response
}

/// The abuse protection of the CloudEvents webhook specification (§4): any origin may send, as
/// often as it likes; it is the bounds that protect us.
fn handshake(request: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
    if let Some(origin) = request.get(REQUEST_ORIGIN) {
        headers.insert(ALLOWED_ORIGIN, origin.clone());
        if request.contains_key(REQUEST_RATE) {
            headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
        }
    }
    response
}
