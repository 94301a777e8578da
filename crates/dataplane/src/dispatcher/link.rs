//! A connection to a subscriber.

mod counted;
mod h1;
mod h2;

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use busway_core::{
    address::Destination,
    budget::{MemoryBudget, Reservation},
    egress::Egress,
    outcome::Failure,
    policy::Protocol,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, sleep};

use self::{h1::H1, h2::H2};
use crate::connect::{Network, Wish};

/// An open connection.
pub(super) struct Link {
    http: Http,
    to: Destination,
    terms: Terms,
}

/// What a connection was opened by: under other terms it is another connection.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) protocol: Protocol,
    pub(super) egress: Arc<Egress>,
}

impl PartialEq for Terms {
    fn eq(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && (Arc::ptr_eq(&self.egress, &other.egress) || self.egress == other.egress)
    }
}

enum Http {
    /// Its own.
    One(Box<H1>),
    /// One that is shared.
    Two(H2),
}

/// The connection of HTTP/2 that the lanes of one destination share, where it speaks that.
#[derive(Default)]
pub(super) struct SharedLink(RefCell<Option<(H2, Destination, Terms)>>);

/// How much of an answer's body is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// Bytes read at most; past them the connection is dropped and the status counts.
    pub(super) read: usize,
    /// Bytes kept of them.
    pub(super) keep: usize,
    /// What is kept counts against it; while there is no room, nothing more is read.
    pub(super) budget: Option<&'a MemoryBudget>,
}

/// What is kept without asking for room: as much as is read of any answer.
const FREE: usize = 64 * 1024;
/// How often it is looked whether there is room.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(20);
/// How long; then the answer is read without. The subscriber did its part, and is not to be asked again
/// because others fill the memory.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// A whole answer, or its beginning.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether there was more than [`Wanted::keep`].
    pub(super) cut: bool,
    /// The room that the body takes, where it needed some.
    pub(super) room: Option<Reservation>,
}

/// There was no answer.
pub(super) struct Broken {
    /// Whether the request may be repeated on another connection: this one had been kept from an
    /// earlier request, and was closed without a byte of answer.
    ///
    /// That is what a keep-alive timeout of the subscriber looks like. Did it take the request all
    /// the same, it gets it twice, which at-least-once delivery allows; not repeating would cost an
    /// attempt, and with `retry: 0` the message, whenever a subscriber closes first.
    pub(super) stale: bool,
    /// Whether another attempt that was on the same connection has told of its end already: one
    /// connection that breaks is one failure, however many requests were on it.
    pub(super) told: bool,
}

impl Link {
    pub(super) async fn open(
        network: &Network,
        to: &Destination,
        terms: &Terms,
        within: Duration,
        shared: &SharedLink,
    ) -> Result<Self, Failure> {
        let link = |http| Self {
            http,
            to: to.clone(),
            terms: terms.clone(),
        };
        if let Some(http) = shared.get(to, terms) {
            return Ok(link(Http::Two(http)));
        }
        let wish = match terms.protocol {
            Protocol::Auto => Wish::Negotiated,
            Protocol::H2c => Wish::Http2,
        };
        let stream = network.open(to, wish, within, &terms.egress).await?;
        if !stream.http2 {
            let http = H1::open(stream.io).await;
            let http = http.map_err(|_| Failure::Connect)?;
            return Ok(link(Http::One(Box::new(http))));
        }
        let http = H2::open(stream.io, to.is_https()).await;
        let http = http.map_err(|_| Failure::Connect)?;
        // Another lane was quicker: one connection is enough.
        if let Some(http) = shared.get(to, terms) {
            return Ok(link(Http::Two(http)));
        }
        shared.set(&http, to, terms);
        Ok(link(Http::Two(http)))
    }

    /// One of HTTP/1.1 for a single request, on any runtime.
    pub(super) async fn alone(
        network: &Network,
        to: &Destination,
        within: Duration,
        egress: &Arc<Egress>,
    ) -> Result<Self, Failure> {
        let terms = Terms {
            protocol: Protocol::Auto,
            egress: Arc::clone(egress),
        };
        let stream = network.open(to, Wish::Http1, within, &terms.egress);
        let http = H1::open(stream.await?.io).await;
        Ok(Self {
            http: Http::One(Box::new(http.map_err(|_| Failure::Connect)?)),
            to: to.clone(),
            terms,
        })
    }

    /// Whether it can carry a request to this destination.
    pub(super) fn is_for(&self, to: &Destination, terms: &Terms) -> bool {
        !self.is_closed() && self.to.is_same_host(to) && self.terms == *terms
    }

    fn is_closed(&self) -> bool {
        match &self.http {
            Http::One(http) => http.is_closed(),
            Http::Two(http) => http.is_closed(),
        }
    }

    fn read(&self) -> u64 {
        match &self.http {
            Http::One(http) => http.read(),
            Http::Two(http) => http.read(),
        }
    }

    /// Ready when the other side has closed it.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.http {
            Http::One(http) => http.poll_closed(cx),
            // It is not this lane's to wait for.
            Http::Two(http) if http.is_closed() => Poll::Ready(()),
            Http::Two(_) => Poll::Pending,
        }
    }

    /// Sends a request and reads the answer. Afterwards the link is usable or closed.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        wanted: Wanted<'_>,
    ) -> Result<Answer, Broken> {
        let before = self.read();
        let (response, used) = match &mut self.http {
            Http::One(http) => {
                let used = http.reuse();
                (http.send(request).await, used)
            }
            Http::Two(http) => match http.send(request).await {
                Ok(response) => (Some(response), false),
                Err(unanswered) => {
                    http.close();
                    // One that is repeated tells of nothing.
                    let stale = unanswered.unprocessed;
                    return Err(Broken {
                        stale,
                        told: !stale && http.tell_end(),
                    });
                }
            },
        };
        let answer = match response {
            Some(response) => self.read_answer(response, wanted).await,
            None => None,
        };
        answer.ok_or_else(|| {
            let stale = used && self.read() == before;
            let told = match &mut self.http {
                Http::One(http) => {
                    http.close();
                    false
                }
                Http::Two(http) => http.is_closed() && http.tell_end(),
            };
            Broken { stale, told }
        })
    }

    async fn read_answer(
        &mut self,
        response: Response<Incoming>,
        wanted: Wanted<'_>,
    ) -> Option<Answer> {
        let (parts, body) = response.into_parts();
        let mut room = wanted.budget.and_then(|budget| budget.reserve(0));
        let (body, cut) = self.read_body(body, wanted, &mut room).await?;
        Some(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            cut,
            room,
        })
    }

    async fn read_body(
        &mut self,
        mut body: Incoming,
        wanted: Wanted<'_>,
        room: &mut Option<Reservation>,
    ) -> Option<(Bytes, bool)> {
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        let mut seen = 0usize;
        while !body.is_end_stream() && !planted!(EarlyAck) {
            let frame = poll_fn(|cx| {
                // A connection that has ended left its last frames with the body.
                let _closed = self.poll_closed(cx);
                Pin::new(&mut body).poll_frame(cx)
            })
            .await;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.ok()?.into_data() else {
                continue;
            };
            let kept = first.len().max(rest.len());
            seen += data.len();
            let data = data.slice(..data.len().min(wanted.keep.saturating_sub(kept)));
            if kept + data.len() > FREE {
                make_room(room, data.len()).await;
            }
            if kept == 0 {
                first = data;
            } else if !data.is_empty() {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
            if seen > wanted.read {
                // Of HTTP/2, dropping the body ends the stream, and no more.
                if let Http::One(http) = &mut self.http {
                    http.close();
                }
                break;
            }
        }
        let bytes = if rest.is_empty() {
            first
        } else {
            rest.freeze()
        };
        Some((bytes, seen > wanted.keep))
    }

    /// An attempt over it was given up. Of HTTP/1.1 the connection goes with it; one of HTTP/2 that
    /// others use goes only when nothing at all came over it meanwhile.
    pub(super) fn give_up(self, read_before: u64) {
        if let Http::Two(http) = &self.http
            && http.read() == read_before
        {
            http.close();
        }
    }

    /// Bytes that came over it so far, for [`Link::give_up`].
    pub(super) fn received(&self) -> u64 {
        self.read()
    }
}

/// Waits for room; gives up what there is when none comes.
async fn make_room(room: &mut Option<Reservation>, bytes: usize) {
    let until = Instant::now() + ROOM_WITHIN;
    while let Some(held) = room {
        if held.grow(bytes) {
            return;
        }
        if Instant::now() >= until {
            *room = None;
            return;
        }
        sleep(LOOK_FOR_ROOM).await;
    }
}

impl SharedLink {
    fn get(&self, to: &Destination, terms: &Terms) -> Option<H2> {
        let shared = self.0.borrow();
        let (http, known, by) = shared.as_ref()?;
        (known.is_same_host(to) && by == terms && !http.is_closed()).then(|| http.clone())
    }

    fn set(&self, http: &H2, to: &Destination, terms: &Terms) {
        *self.0.borrow_mut() = Some((http.clone(), to.clone(), terms.clone()));
    }

    pub(super) fn clear(&self) {
        let _closed = self.0.borrow_mut().take();
    }
}
