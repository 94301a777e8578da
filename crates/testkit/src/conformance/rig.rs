//! What the cases are written with.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use busway_core::{
    Bus, BusRef, ChannelRef, SubscriptionRef, Uid,
    bus::{
        BusSpec, ChannelSpec, Credit, Deliveries, Delivery, Fate, MemorySettings, Profile,
        PublishError, Retention, SubscriptionSpec,
    },
};
use busway_message::Message;
use bytes::Bytes;
use futures::StreamExt as _;

use super::{Subject, Verdict};

/// How long nothing must come for "nothing comes".
const QUIET: Duration = Duration::from_millis(300);

/// As much as a test may hold.
pub(super) const WIDE: Credit = Credit {
    messages: 10_000,
    bytes: 1 << 30,
};

/// A bus, opened and synced.
pub struct Rig {
    subject: Arc<dyn Subject>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
}

impl Rig {
    pub(super) async fn open(subject: Arc<dyn Subject>) -> anyhow::Result<Self> {
        let bus = subject.open().await.context("the bus does not open")?;
        bus.sync_bus(&bus_spec()).await.context("sync_bus")?;
        Ok(Self { subject, bus })
    }

    /// With a channel `orders` and a subscription `s` of it.
    pub(super) async fn subscribed(subject: Arc<dyn Subject>) -> anyhow::Result<Self> {
        let rig = Self::open(subject).await?;
        rig.provision(&channel("orders")).await?;
        rig.subscribe(&subscription("orders", "s")).await?;
        Ok(rig)
    }

    pub(super) fn profile(&self) -> Profile {
        self.bus.profile()
    }

    /// The bus in another process: nothing has run on it.
    pub(super) async fn replica(&self) -> anyhow::Result<Self> {
        let subject = Arc::clone(&self.subject);
        let bus = subject
            .open()
            .await
            .context("the bus does not open again")?;
        Ok(Self { subject, bus })
    }

    /// The process ends and starts again; the Monitor repeats its hooks.
    pub(super) async fn restart(self) -> anyhow::Result<Self> {
        drop(self.bus);
        let rig = Self::open(self.subject).await?;
        rig.provision(&channel("orders")).await?;
        rig.subscribe(&subscription("orders", "s")).await?;
        Ok(rig)
    }

    pub(super) async fn provision(&self, spec: &ChannelSpec) -> Verdict {
        let provisioned = self.bus.provision(spec).await;
        provisioned.with_context(|| format!("provision {}", spec.channel))
    }

    pub(super) async fn unprovision(&self, spec: &ChannelSpec) -> Verdict {
        let unprovisioned = self.bus.unprovision(spec).await;
        unprovisioned.with_context(|| format!("unprovision {}", spec.channel))
    }

    pub(super) async fn subscribe(&self, spec: &SubscriptionSpec) -> Verdict {
        let subscribed = self.bus.subscribe(spec).await;
        subscribed.with_context(|| format!("subscribe {}", spec.subscription))
    }

    pub(super) async fn unsubscribe(&self, spec: &SubscriptionSpec) -> Verdict {
        let unsubscribed = self.bus.unsubscribe(spec).await;
        unsubscribed.with_context(|| format!("unsubscribe {}", spec.subscription))
    }

    pub(super) async fn try_publish(
        &self,
        channel: &str,
        message: Message,
    ) -> Result<(), PublishError> {
        self.bus.publish(&channel_ref(channel), message).await
    }

    pub(super) async fn publish(&self, channel: &str, text: &str) -> Verdict {
        let published = self.try_publish(channel, message(text)).await;
        published.with_context(|| format!("publish {text:?} to {channel}"))
    }

    pub(super) async fn consume(&self, subscription: &str) -> anyhow::Result<Consumer> {
        self.consume_with(subscription, WIDE).await
    }

    pub(super) async fn consume_with(
        &self,
        subscription: &str,
        credit: Credit,
    ) -> anyhow::Result<Consumer> {
        self.consume_of(&subscription_ref(subscription), credit)
            .await
    }

    async fn consume_of(
        &self,
        subscription: &SubscriptionRef,
        credit: Credit,
    ) -> anyhow::Result<Consumer> {
        let deliveries = self.bus.consume(subscription, credit).await;
        let deliveries = deliveries.with_context(|| format!("consume {subscription}"))?;
        Ok(Consumer {
            deliveries,
            patience: self.subject.patience(),
        })
    }

    /// Fails unless exactly these messages come to a subscription, in any order; settles them.
    pub(super) async fn comes(&self, subscription: &str, expected: &[&str]) -> Verdict {
        let name = subscription_ref(subscription);
        self.comes_to(&name, expected).await
    }

    /// The same, for a subscription of any namespace.
    pub(super) async fn comes_to(
        &self,
        subscription: &SubscriptionRef,
        expected: &[&str],
    ) -> Verdict {
        let mut consumer = self.consume_of(subscription, WIDE).await?;
        let mut got = BTreeSet::new();
        for _ in expected {
            let delivery = consumer.next().await.with_context(|| {
                format!("{subscription} was to get {expected:?} and got {got:?}")
            })?;
            let text = text(&delivery);
            ensure!(
                got.insert(text.clone()),
                "{subscription} got {text:?} twice"
            );
            delivery.settle.done().await.context("done")?;
        }
        let expected: BTreeSet<_> = expected.iter().map(|e| (*e).to_owned()).collect();
        ensure!(
            got == expected,
            "{subscription} was to get {expected:?} and got {got:?}"
        );
        consumer.nothing().await.context(subscription.to_string())
    }
}

/// A consumer with deadlines.
pub struct Consumer {
    deliveries: Deliveries,
    patience: Duration,
}

impl Consumer {
    /// The next message.
    ///
    /// # Errors
    /// When none comes in time, it fails, or the stream ends.
    pub async fn next(&mut self) -> anyhow::Result<Delivery> {
        match tokio::time::timeout(self.patience, self.deliveries.next()).await {
            Ok(Some(Ok(delivery))) => {
                ensure!(
                    delivery.fate == Fate::Deliver,
                    "{:?} was to be delivered, and is {:?}",
                    text(&delivery),
                    delivery.fate
                );
                Ok(delivery)
            }
            Ok(Some(Err(error))) => Err(error).context("the stream failed"),
            Ok(None) => bail!("the stream ended"),
            Err(_) => bail!("no message came within {:?}", self.patience),
        }
    }

    pub(super) async fn take(&mut self, count: usize) -> anyhow::Result<Vec<Delivery>> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let next = self.next().await;
            taken.push(next.with_context(|| format!("message {} of {count}", taken.len() + 1))?);
        }
        Ok(taken)
    }

    pub(super) async fn nothing(&mut self) -> Verdict {
        match tokio::time::timeout(QUIET, self.deliveries.next()).await {
            Err(_) => Ok(()),
            Ok(Some(Ok(delivery))) => {
                bail!("{:?} came, where nothing was to come", text(&delivery))
            }
            Ok(Some(Err(error))) => Err(error).context("the stream failed"),
            Ok(None) => bail!("the stream ended"),
        }
    }

    /// Waits until the stream ends, with or without an error.
    pub(super) async fn ends(&mut self) -> Verdict {
        loop {
            match tokio::time::timeout(self.patience, self.deliveries.next()).await {
                Ok(None | Some(Err(_))) => return Ok(()),
                Ok(Some(Ok(delivery))) => drop(delivery),
                Err(_) => bail!("the stream did not end within {:?}", self.patience),
            }
        }
    }
}

pub(super) fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

pub(super) fn message(text: &str) -> Message {
    Message::default().with_body(Bytes::copy_from_slice(text.as_bytes()))
}

pub(super) fn channel_ref(name: &str) -> ChannelRef {
    ChannelRef::new("shop", name)
}

pub(super) fn subscription_ref(name: &str) -> SubscriptionRef {
    SubscriptionRef::new("shop", name)
}

pub(super) fn bus_spec() -> BusSpec {
    BusSpec {
        bus: BusRef::Cluster {
            name: "conformance".to_owned(),
        },
        uid: Uid::new("conformance-bus"),
        memory: Some(MemorySettings::default()),
        max_memory: 256 * 1024 * 1024,
    }
}

pub(super) fn channel(name: &str) -> ChannelSpec {
    ChannelSpec {
        channel: channel_ref(name),
        uid: Uid::new(&format!("channel-{name}")),
        parameters: BTreeMap::new(),
        retention: Retention::Delete,
    }
}

pub(super) fn subscription(channel: &str, name: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        subscription: subscription_ref(name),
        uid: Uid::new(&format!("subscription-{name}")),
        channel: channel_ref(channel),
        channel_uid: Uid::new(&format!("channel-{channel}")),
        parameters: BTreeMap::new(),
        timeout: Duration::from_secs(30),
    }
}
