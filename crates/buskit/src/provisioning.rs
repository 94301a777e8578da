//! What a process that only runs hooks shows of itself.

use std::fmt;

use busway_core::BusRef;
use busway_monitor::{Monitor, peers::LoadedPage};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};

use crate::{
    admin::Introspect,
    metrics::{BusCounters, ProcessMetrics},
};

/// A provisioner: hooks, and no messages.
pub(crate) struct Provisioning {
    pub(crate) monitor: Monitor,
    pub(crate) bus: BusRef,
    pub(crate) counters: Option<BusCounters>,
}

impl Introspect for Provisioning {
    fn ready(&self) -> Result<(), String> {
        if self.monitor.is_live() {
            Ok(())
        } else {
            Err("not ready: the resources are not loaded yet, or it is leaving".to_owned())
        }
    }

    fn metrics(&self, to: &mut dyn fmt::Write) -> fmt::Result {
        let mut registry = Registry::default();
        let counters = self.counters.as_ref().map(|counters| counters());
        let of = [(&self.bus, &self.monitor, counters)];
        ProcessMetrics::of(of, self.monitor.is_live()).register(&mut registry);
        encode(&mut { to }, &registry)
    }

    fn loaded(&self, _: u64) -> LoadedPage {
        LoadedPage::default()
    }

    fn objects(&self) -> Value {
        json!({ "bus": self.bus.to_string(), "provisions": true })
    }
}
