//! `busway-dev.yaml`: what a laptop has in place of a cluster.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use busway_core::{ChannelRef, SubscriptionRef, address::HostMap};
use serde::Deserialize;

use crate::cli::sink::Behaviour;

/// The file's name.
pub(crate) const FILE: &str = "busway-dev.yaml";

/// The file may be that large: it is read whole.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file. Unknown fields are refused, as the API server refuses them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct DevConfig {
    /// Cluster name → local address.
    #[serde(default)]
    pub(crate) hosts: BTreeMap<String, String>,
    /// Demo subscribers.
    #[serde(default)]
    pub(crate) sinks: Vec<SinkConfig>,
    /// What is posted at the start.
    #[serde(default)]
    pub(crate) demo: Demo,
}

/// A demo subscriber, reached as Service `name` in namespace `default`, or `name.namespace`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SinkConfig {
    pub(crate) name: String,
    #[serde(default)]
    fail_first: u64,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    delay: Option<String>,
}

const fn ok() -> u16 {
    200
}

/// Messages to post, and how they are to end.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Demo {
    /// In this order.
    #[serde(default)]
    pub(crate) post: Vec<DemoMessage>,
    /// Subscription → how each of the messages has to end: a name of [`busway_core::outcome::Settled`].
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, Ending>,
}

/// How a message has to end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Ending {
    Delivered,
    DeadLettered,
    Dropped,
}

impl Ending {
    /// The name that it has in [`busway_core::outcome::Settled::reason`].
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Delivered => "Delivered",
            Self::DeadLettered => "DeadLettered",
            Self::Dropped => "Dropped",
        }
    }
}

/// One CloudEvent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct DemoMessage {
    pub(crate) channel: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) data: serde_json::Value,
}

impl DevConfig {
    /// Reads the file in `dir`; a folder without one has nothing to say.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        if size > MAX_BYTES {
            bail!(
                "{} has {size} bytes, at most {MAX_BYTES} are read",
                path.display()
            );
        }
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))?;
        for sink in &config.sinks {
            sink.behaviour()?;
        }
        for message in &config.demo.post {
            ChannelRef::parse(&message.channel).context("demo.post[].channel")?;
        }
        for subscription in config.demo.expect.keys() {
            SubscriptionRef::parse(subscription).context("demo.expect")?;
        }
        Ok(config)
    }

    /// Adds `hosts:` to a map; entries of the map's own win.
    pub(crate) fn add_hosts(&self, map: &mut HostMap) -> anyhow::Result<()> {
        for (name, address) in &self.hosts {
            if map.get(name).is_none() {
                map.add(&format!("{name}={address}")).context("hosts")?;
            }
        }
        Ok(())
    }
}

impl SinkConfig {
    /// The name that subscriptions reach it by.
    pub(crate) fn host(&self) -> String {
        if self.name.contains('.') {
            self.name.clone()
        } else {
            format!("{}.default", self.name)
        }
    }

    /// How it answers.
    pub(crate) fn behaviour(&self) -> anyhow::Result<Behaviour> {
        if !(200..=599).contains(&self.status) {
            bail!(
                "sinks `{}`: status {} is not in 200 to 599",
                self.name,
                self.status
            );
        }
        let delay = match &self.delay {
            Some(text) => busway_core::duration::parse(text)
                .with_context(|| format!("sinks `{}`: delay", self.name))?,
            None => Duration::ZERO,
        };
        Ok(Behaviour {
            fail_first: self.fail_first,
            status: self.status,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickstart_reads() -> anyhow::Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        let config = DevConfig::read(&dir)?;
        assert_eq!(config.sinks.len(), 4);
        assert_eq!(config.demo.post.len(), 3);
        assert_eq!(
            config.demo.expect.get("default/fails").map(|e| e.reason()),
            Some("DeadLettered")
        );
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("sink: []", "sink"),
            ("sinks: [{name: a, status: 99}]", "sinks `a`: status 99"),
            ("sinks: [{name: a, delay: soon}]", "sinks `a`: delay"),
            (
                "demo: {post: [{channel: orders, type: x}]}",
                "demo.post[].channel",
            ),
            ("demo: {expect: {works: Delivered}}", "demo.expect"),
            ("demo: {expect: {default/works: Lost}}", "Lost"),
        ] {
            let error = DevConfig::parse(text).map_err(|error| format!("{error:#}"));
            assert!(
                error.as_ref().is_err_and(|e| e.contains(part)),
                "{text}: {error:?}"
            );
        }
        let mut map = HostMap::new("cluster.local");
        let config = DevConfig::parse("hosts: {web: nowhere}");
        assert!(config.is_ok_and(|config| config.add_hosts(&mut map).is_err()));
    }
}
