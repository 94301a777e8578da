//! What is applied.

use std::path::Path;

use anyhow::{Context as _, Result};
use busway_api::{API_VERSION, Channel, Subscription};
use busway_testkit::control::{ControlPlane, Namespace};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::ControlArgs;

/// The ClusterBus that all channels are on.
pub(super) const BUS: &str = "memory";
/// Who applies.
const MANAGER: &str = "busway-benches";

/// The definitions, and the bus.
pub(super) async fn install(plane: &ControlPlane) -> Result<()> {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds.yaml");
    let crds = crds.to_str().context("the checkout's path")?;
    plane
        .kubectl_ok(&["apply", "--server-side", "--filename", crds])
        .await?;
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    plane.kubectl_ok(&established).await?;
    let bus = json!({
        "apiVersion": API_VERSION,
        "kind": "ClusterBus",
        "metadata": { "name": BUS },
        // Any: the subscribers are addresses, not names of the subscriptions' namespace.
        "spec": { "memory": { "whenFull": "reject" }, "subscribers": "Any" },
    });
    plane.apply_yaml(&bus.to_string()).await?;
    Ok(())
}

pub(super) fn channel_name(number: u32) -> String {
    format!("channel-{number}")
}

/// Channels, and subscriptions spread over them.
#[derive(Debug)]
pub(super) struct Objects {
    channels: Api<Channel>,
    subscriptions: Api<Subscription>,
    /// The sinks' port.
    port: u16,
    args: ControlArgs,
}

impl Objects {
    pub(super) fn new(
        client: &Client,
        namespace: &Namespace,
        port: u16,
        args: &ControlArgs,
    ) -> Self {
        Self {
            channels: Api::namespaced(client.clone(), namespace.name()),
            subscriptions: Api::namespaced(client.clone(), namespace.name()),
            port,
            args: args.clone(),
        }
    }

    /// Applies all, several at once, the channels first.
    pub(super) async fn apply(&self) -> Result<()> {
        let as_applied = PatchParams::apply(MANAGER);
        let at_once = usize::from(self.args.appliers);
        stream::iter((0..self.args.channels).map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(at_once, async |number| {
                let name = channel_name(number);
                let channel = Patch::Apply(channel(&name));
                self.channels.patch(&name, &as_applied, &channel).await?;
                Ok(())
            })
            .await?;
        let subscriptions = stream::iter(0..self.args.subscriptions).map(|number| async move {
            let name = format!("subscription-{number}");
            let patch = Patch::Apply(self.subscription(&name, number));
            let as_applied = PatchParams::apply(MANAGER);
            self.subscriptions.patch(&name, &as_applied, &patch).await
        });
        subscriptions
            .buffer_unordered(at_once)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        Ok(())
    }

    /// Each subscription of a channel is another sink of the one process, told apart by its path.
    fn subscription(&self, name: &str, number: u32) -> Value {
        let sink = number / self.args.channels;
        json!({
            "apiVersion": API_VERSION,
            "kind": "Subscription",
            "metadata": { "name": name },
            "spec": {
                "channel": channel_name(number % self.args.channels),
                "subscriber": format!("http://127.0.0.1:{}/s/{sink}", self.port),
            },
        })
    }
}

fn channel(name: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Channel",
        "metadata": { "name": name },
        "spec": { "clusterBus": BUS },
    })
}
