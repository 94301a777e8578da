//! The dispatcher without a data plane: one message, one attempt, no policy.

use std::{sync::Arc, time::Duration};

use busway_core::{
    address::{DEFAULT_CLUSTER_DOMAIN, Destination, InvalidDestination},
    egress::Egress,
    outcome::{Failure, Outcome, Verdict, classify},
    policy::DeliveryPolicy,
};
use busway_message::{KeepHeaders, Message};
use tokio::time::timeout;

use super::{
    lane::Ended,
    link::{Answer, Link, Wanted},
    reply::{self, Reply},
    request::Post,
};
use crate::{connect::Network, world::World};

/// Sends single messages to where their sender says, and their replies on: for a bus author who
/// does the rest. Cloning shares it.
#[derive(Clone)]
pub struct MessageDispatcher {
    world: World,
    timeout: Duration,
    connect_timeout: Duration,
    max_reply: usize,
    cluster_domain: String,
    egress: Arc<Egress>,
}

impl std::fmt::Debug for MessageDispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageDispatcher").finish_non_exhaustive()
    }
}

/// What [`MessageDispatcher::dispatch`] assumes where the message does not say.
#[derive(Clone, Debug, Default)]
pub struct DispatchDefaults {
    /// The namespace of destinations of one label.
    pub namespace: String,
    /// Where a reply goes; without it there is none.
    pub reply_to: Option<String>,
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The destination is not one.
    #[error("the destination is not valid")]
    Destination(#[source] InvalidDestination),
    /// The destination did not take the message.
    #[error("the destination answered {0}")]
    Failed(Outcome),
    /// The destination of the reply did not take the reply; the message is delivered.
    #[error("the destination of the reply answered {0}")]
    ReplyFailed(Outcome),
    /// The reply is larger than a message may be; the message is delivered.
    #[error("the reply is larger than {limit} bytes")]
    ReplyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl DispatchError {
    /// The stable short name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Destination(_) => "InvalidDestination",
            Self::Failed(Outcome::Failed(failure)) => failure.reason(),
            Self::Failed(Outcome::Status(_)) => "Refused",
            Self::ReplyFailed(_) => "ReplyFailed",
            Self::ReplyTooLarge { .. } => "ReplyTooLarge",
        }
    }
}

impl MessageDispatcher {
    /// A dispatcher over the machine's network, with the built-in timeouts.
    #[must_use]
    pub fn new() -> Self {
        Self::over(World::new(Network::system()))
    }

    /// A dispatcher over this world.
    #[must_use]
    pub fn over(world: World) -> Self {
        let policy = DeliveryPolicy::default();
        Self {
            world,
            timeout: policy.timeout,
            connect_timeout: policy.connect_timeout,
            max_reply: busway_core::routes::ReceiverSettings::default().max_body,
            cluster_domain: DEFAULT_CLUSTER_DOMAIN.to_owned(),
            egress: Arc::default(),
        }
    }

    /// With this guard. Without it the built-in rules hold; the surroundings of the process are for
    /// its author to tell, and [`Egress::open`] lets everything pass.
    #[must_use]
    pub fn with_egress(mut self, egress: Egress) -> Self {
        self.egress = Arc::new(egress);
        self
    }

    /// POSTs a message to a destination, and the reply, if there is one, to
    /// [`DispatchDefaults::reply_to`].
    ///
    /// # Errors
    /// [`DispatchError`]; what to do then is the caller's to decide.
    pub async fn dispatch(
        &self,
        message: Message,
        destination: &str,
        defaults: &DispatchDefaults,
    ) -> Result<(), DispatchError> {
        let parse = |text: &str| {
            Destination::parse(text, &defaults.namespace, &self.cluster_domain)
                .map_err(DispatchError::Destination)
        };
        let to = parse(destination)?;
        let reply_to = defaults.reply_to.as_deref().map(parse).transpose()?;
        let ended = self.post(&message, &to).await;
        if classify(ended.outcome, &[]) != Verdict::Delivered {
            return Err(DispatchError::Failed(ended.outcome));
        }
        let Some(reply_to) = reply_to else {
            return Ok(());
        };
        match reply::of(&message, ended, &KeepHeaders::default()) {
            Reply::None => Ok(()),
            Reply::TooLarge(_) => Err(DispatchError::ReplyTooLarge {
                limit: self.max_reply,
            }),
            Reply::Message(reply) => {
                let ended = self.post(&reply, &reply_to).await;
                match classify(ended.outcome, &[]) {
                    Verdict::Delivered => Ok(()),
                    _ => Err(DispatchError::ReplyFailed(ended.outcome)),
                }
            }
        }
    }

    async fn post(&self, message: &Message, to: &Destination) -> Ended {
        let attempt = async {
            let network = &self.world.network;
            let mut link = Link::alone(network, to, self.connect_timeout, &self.egress).await?;
            let wanted = Wanted {
                reply: true,
                read: self.max_reply,
                keep: self.max_reply,
                budget: None,
            };
            let post = Post::new(message, to, None, &*self.world.entropy);
            let answer = link.exchange(&post, wanted).await;
            answer.map_err(|_| Failure::Reset)
        };
        let answer: Result<Answer, Failure> = timeout(self.timeout, attempt)
            .await
            .unwrap_or(Err(Failure::Timeout));
        Ended::of(answer)
    }
}

impl Default for MessageDispatcher {
    fn default() -> Self {
        Self::new()
    }
}
