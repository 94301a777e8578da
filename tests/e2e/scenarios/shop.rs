//! What most scenarios begin with: a bus, a channel on it, and subscribers in pods.

use anyhow::Result;

use crate::{
    bed::Bed,
    pods::{Load, Sink, UNTIL_ROUTED, send},
    status::Object,
};

/// A namespace with Bus `memory`, Channel `orders` on it, and Subscription, Service and pod `billing`. All are ready.
pub(crate) struct Shop<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) namespace: &'static str,
    pub(crate) billing: Sink<'a>,
}

/// A Channel `orders` on a ClusterBus.
pub(crate) fn channel_on(cluster_bus: &str, namespace: &str) -> String {
    format!(
        "{{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {{name: orders, namespace: {namespace}}}, spec: {{clusterBus: {cluster_bus}}}}}"
    )
}

/// A Subscription `billing` to Channel `orders`, for a subscriber of that name.
pub(crate) fn subscription_in(namespace: &str) -> String {
    format!(
        "{{apiVersion: channels.busway.dev/v1alpha1, kind: Subscription, metadata: {{name: billing, namespace: {namespace}}}, spec: {{channel: orders, subscriber: billing}}}}"
    )
}

impl<'a> Shop<'a> {
    /// Opens one. `bus` is more of the Bus's spec, in YAML's flow form: `replicas: 2`.
    pub(crate) async fn open(bed: &'a Bed, namespace: &'static str, bus: &str) -> Result<Self> {
        bed.namespace(namespace).await?;
        let billing = Sink::start(bed, namespace, "billing").await?;
        let shop = Self {
            bed,
            namespace,
            billing,
        };
        shop.fill(bus).await?;
        shop.ready().await?;
        Ok(shop)
    }

    /// Makes the bus, the channel and the subscription.
    pub(crate) async fn fill(&self, bus: &str) -> Result<()> {
        let namespace = self.namespace;
        let more = if bus.is_empty() {
            String::new()
        } else {
            format!(", {bus}")
        };
        let subscription = subscription_in(namespace);
        self.bed
            .apply(&format!(
                "{{apiVersion: channels.busway.dev/v1alpha1, kind: Bus, metadata: {{name: memory, namespace: {namespace}}}, spec: {{memory: {{}}{more}}}}}\n\
                 ---\n\
                 {{apiVersion: channels.busway.dev/v1alpha1, kind: Channel, metadata: {{name: orders, namespace: {namespace}}}, spec: {{bus: memory}}}}\n\
                 ---\n\
                 {subscription}\n"
            ))
            .await
            .map(drop)
    }

    pub(crate) const fn bus(&self) -> Object<'static> {
        Object("bus", self.namespace, "memory")
    }

    pub(crate) const fn channel(&self) -> Object<'static> {
        Object("channel", self.namespace, "orders")
    }

    pub(crate) const fn subscription(&self) -> Object<'static> {
        Object("subscription", self.namespace, "billing")
    }

    /// Waits until the status says that all of it works.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.bus().ready(self.bed).await?;
        self.channel().ready(self.bed).await?;
        self.subscription().ready(self.bed).await
    }

    /// Where its senders post to.
    pub(crate) fn url(&self) -> String {
        format!("http://orders-channel.{}/", self.namespace)
    }

    /// Sends a few messages, which all arrive: what Ready promises.
    pub(crate) async fn works(&self, prefix: &str) -> Result<()> {
        let url = self.url();
        let load = Load {
            url: &url,
            prefix,
            count: 10,
            rate: 100,
            persist: UNTIL_ROUTED,
        };
        let sent = send(self.bed, self.namespace, &load).await?;
        anyhow::ensure!(
            sent.accepted == load.count,
            "sends failed: {:?}",
            sent.errors
        );
        self.billing.wait_for(&load.bodies()).await?;
        Ok(())
    }

    /// The names of the pods that serve the bus.
    pub(crate) async fn dispatchers(&self) -> Result<Vec<String>> {
        let uid = self.bus().get(self.bed).await?["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let label =
            format!("channels.busway.dev/owner-uid={uid},app.kubernetes.io/component=dispatcher");
        let of = "jsonpath={range .items[*]}{.metadata.name}\n{end}";
        let names = self
            .bed
            .kubectl(&["-n", self.namespace, "get", "pods", "-l", &label, "-o", of])
            .await?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// `kubectl ARGS` in its namespace.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.bed
            .kubectl(&[&["-n", self.namespace], args].concat())
            .await
    }
}
