//! What follows from the other replicas, and from what else is around this process.

use std::{num::NonZeroU32, sync::Arc};

use busway_core::{bus::BusSpec, egress::Egress};
use tokio::time::Instant;

use super::Engine;
use crate::{
    options::{Loopback, Role},
    share,
    world::Key,
};

impl Engine {
    /// Another replica loaded or dropped something, came or went.
    pub(super) fn replicas_changed(&mut self, now: Instant) {
        let waiting: Vec<_> = self.waiting.drain().collect();
        self.dirty.extend(waiting);
        self.count_replicas(now);
        if self.given.replicas.addresses() != self.replicas_at {
            self.mark(Key::Bus);
        }
    }

    /// Takes how many replicas there are. Until the others are known there are as many as the bus
    /// asks for: at a start all come at once.
    pub(super) fn count_replicas(&mut self, now: Instant) {
        if self.given.leaving.is_cancelled() {
            // It is no ready replica any more, and the one that takes its place is.
            self.share.stay();
            return;
        }
        let Some(view) = &self.world.bus.view else {
            return;
        };
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let asked = view.replicas;
        let asked = asked.map(|asked| number(u32::try_from(asked).unwrap_or(1)));
        let others = self.given.replicas.ready().map(u32::try_from);
        let there = others.map(|others| number(others.unwrap_or(u32::MAX).saturating_add(1)));
        if self.share.take(there, asked, now) {
            tracing::info!(
                replicas = self.share.among(),
                "limits that are totals are shared among the ready replicas"
            );
            self.mark_all();
        }
    }

    /// The bus as this replica is to keep it: totals are shared.
    pub(super) fn bus_spec(&self) -> Option<BusSpec> {
        let view = self.world.bus.view.as_ref()?;
        let (among, max_body) = (self.share.among(), view.receiver.max_body);
        let memory = view.spec.memory;
        Some(BusSpec {
            memory: memory.map(|total| share::of_memory(total, among, max_body)),
            ..view.spec.clone()
        })
    }

    /// What subscriptions may dial, as it is known now.
    pub(super) fn egress(&mut self) -> Option<Egress> {
        self.replicas_at = self.given.replicas.addresses();
        let view = self.world.bus.view.as_ref()?;
        let options = &self.given.options;
        let around = Arc::clone(&options.around.borrow());
        let bundle = around.bundle.as_ref().filter(|_| view.ca_bundle.is_some());
        Some(Egress {
            allow: view.egress.clone(),
            loopback: options.loopback == Loopback::Allowed,
            replicas: self.replicas_at.clone(),
            authorities: bundle.map_or_else(Arc::default, |b| Arc::clone(&b.authorities)),
            around,
        })
    }

    /// Why the bus's certificate authorities are not all trusted here.
    pub(crate) fn bundle_problem(&self) -> Option<String> {
        let name = self.world.bus.view.as_ref()?.ca_bundle.as_ref()?;
        if self.given.options.role == Role::Provisioner {
            // It calls no subscriber, and has no bundle.
            return None;
        }
        let around = self.given.options.around.borrow();
        let problem = match &around.bundle {
            Some(bundle) => bundle.problem.as_deref()?,
            None => "no bundle is given to this process (--ca-bundle)",
        };
        Some(format!(
            "spec.egress.caBundle: ConfigMap {name}: {problem}; what was trusted before goes on"
        ))
    }
}
