//! A connection to a subscriber.

mod answer;
mod counted;
mod h1;
mod h2;

use std::{
    cell::RefCell,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use busway_core::{address::Destination, egress::Egress, outcome::Failure, policy::Protocol};

pub(super) use self::answer::{Answer, Wanted};
use self::{h1::H1, h2::H2};
use super::request::Post;
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
            return Ok(link(Http::One(Box::new(H1::new(stream.io)))));
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
        let stream = network.open(to, Wish::Http1, within, &terms.egress).await?;
        Ok(Self {
            http: Http::One(Box::new(H1::new(stream.io))),
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
        post: &Post<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Answer, Broken> {
        match &mut self.http {
            Http::One(http) => one(http, post, wanted).await,
            Http::Two(http) => two(http, post, wanted).await,
        }
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

async fn one(http: &mut H1, post: &Post<'_>, wanted: Wanted<'_>) -> Result<Answer, Broken> {
    let (before, used) = (http.read(), http.reuse());
    let head = http.send(post, |status| wanted.headers(status)).await;
    let answer = match head {
        Some(head) => answer::read(head.status, head.headers, http, wanted).await,
        None => None,
    };
    answer.ok_or_else(|| {
        http.close();
        Broken {
            stale: used && http.read() == before,
            told: false,
        }
    })
}

async fn two(http: &mut H2, post: &Post<'_>, wanted: Wanted<'_>) -> Result<Answer, Broken> {
    let response = http.send(post.request()).await.map_err(|unanswered| {
        http.close();
        // One that is repeated tells of nothing.
        let stale = unanswered.unprocessed;
        Broken {
            stale,
            told: !stale && http.tell_end(),
        }
    })?;
    let (parts, mut body) = response.into_parts();
    let answer = answer::read(parts.status.as_u16(), parts.headers, &mut body, wanted).await;
    answer.ok_or_else(|| Broken {
        stale: false,
        told: http.is_closed() && http.tell_end(),
    })
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
