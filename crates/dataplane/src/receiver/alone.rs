//! The receiver without a data plane.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use busway_core::{ChannelRef, bus::PublishError, routes::ReceiverSettings};
use busway_message::{KeepHeaders, Message};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;

use super::{
    desk::Desk,
    inbox::{Inbox, Limits, Sink, Slot},
};
use crate::{
    connect::Network, handle::DataPlane, handle::Settings, metrics::Metrics, problem::Problem,
    quiet::Quiet, world::World,
};

/// How long requests in flight may take after [`MessageReceiver::run`] was told to end: as long as
/// a body may take, by default.
const GRACE: Duration = Duration::from_secs(30);

/// A receiver alone: every rule of the receiver, and a function that takes the messages of every
/// channel. Cloning shares it.
#[derive(Clone)]
pub struct MessageReceiver {
    inbox: Arc<Function>,
}

impl fmt::Debug for MessageReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReceiver").finish_non_exhaustive()
    }
}

impl MessageReceiver {
    /// A receiver that calls `f` for each message, and answers by what it returns:
    /// [`PublishError::UnknownChannel`] is 404.
    pub fn new<F, Fut>(f: F) -> Self
    where
        F: Fn(ChannelRef, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), PublishError>> + Send + 'static,
    {
        let call = move |channel, message| Box::pin(f(channel, message)) as Publishing;
        Self {
            inbox: Arc::new(Function {
                settings: Arc::default(),
                keep: Arc::default(),
                call: Arc::new(Callable(Box::new(call))),
            }),
        }
    }

    /// The same, with these limits and kept headers.
    #[must_use]
    pub fn with_settings(self, settings: ReceiverSettings) -> Self {
        Self {
            inbox: Arc::new(Function {
                keep: Arc::new(KeepHeaders::new(settings.keep_headers.iter().cloned())),
                settings: Arc::new(settings),
                call: Arc::clone(&self.inbox.call),
            }),
        }
    }

    /// As a service that another server mounts. Timeouts of headers and connections are that
    /// server's.
    #[must_use]
    pub fn service(&self) -> MessageService {
        let settings = Settings::default();
        settings.budget.set_limit(self.inbox.settings.max_memory);
        MessageService {
            desk: Arc::new(Desk {
                inbox: Arc::clone(&self.inbox) as Arc<dyn Inbox>,
                world: World::new(Network::system()),
                counts: Metrics::new(1, settings.budget.clone(), 0).process(0),
                budget: settings.budget,
                cluster_domain: settings.cluster_domain,
                publish_failed: Quiet::default(),
            }),
        }
    }

    /// Listens and answers, on one thread of its own, until `shutdown`; then requests in flight are
    /// finished.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn run(
        &self,
        address: SocketAddr,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let settings = Settings::default();
        settings.budget.set_limit(self.inbox.settings.max_memory);
        let inbox = Arc::clone(&self.inbox) as Arc<dyn Inbox>;
        let world = World::new(Network::system());
        let server =
            DataPlane::start_with(address, NonZeroUsize::MIN, settings, world, Some(inbox))?;
        shutdown.await;
        server.drain(GRACE).await;
        Ok(())
    }
}

type Publishing = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send>>;

struct Function {
    settings: Arc<ReceiverSettings>,
    keep: Arc<KeepHeaders>,
    call: Arc<Callable>,
}

struct Callable(Box<dyn Fn(ChannelRef, Message) -> Publishing + Send + Sync>);

#[async_trait]
impl Sink for Callable {
    async fn publish(&self, channel: &ChannelRef, message: Message) -> Result<(), PublishError> {
        (self.0)(channel.clone(), message).await
    }
}

impl Inbox for Function {
    fn limits(&self) -> Limits {
        Limits {
            header_timeout: self.settings.header_timeout,
            max_connections: self.settings.max_connections,
        }
    }

    fn find(&self, _: &ChannelRef) -> Result<Slot, Problem> {
        Ok(Slot {
            settings: Arc::clone(&self.settings),
            keep: Arc::clone(&self.keep),
            sink: Arc::clone(&self.call) as Arc<dyn Sink>,
            counts: None,
        })
    }
}

/// A [`MessageReceiver`] as a tower service. Cloning shares it.
#[derive(Clone)]
pub struct MessageService {
    desk: Arc<Desk>,
}

impl fmt::Debug for MessageService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageService").finish_non_exhaustive()
    }
}

impl<B> tower::Service<Request<B>> for MessageService
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let desk = Arc::clone(&self.desk);
        Box::pin(async move { Ok(desk.answer(request).await) })
    }
}
