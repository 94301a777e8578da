//! Which channels of namespaces that a ClusterBus no longer allows go on, and for how long.
//!
//! By what the bus's own status remembers, never by a channel's: see [`busway_api::admitted`]. Where there is no operator,
//! this process keeps that memory.

use std::{collections::HashSet, time::Duration};

use busway_api::{
    AdmittedNamespace, Channel,
    admitted::{self, Allowed, MOST, Present},
};
use busway_core::{BusRef, ChannelRef};
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{Engine, judge::Standing, look::GATHER};
use crate::{options::Parts, world::Key};

impl Engine {
    /// What is remembered of the namespace of a channel that was there before that was shut out.
    fn admitted(&self, channel: &Channel) -> Option<&AdmittedNamespace> {
        let namespace = channel.namespace().unwrap_or_default();
        // Its UID is not known before namespaces were listed: then who serves on goes by the name.
        let seen = self.world.namespaces.get(&namespace);
        let uid = seen.map(|seen| seen.uid.as_str());
        admitted::find(&self.world.bus.admitted, &namespace, uid)
            .filter(|admitted| admitted.holds(&channel.metadata))
    }

    /// Whether the namespace of a channel may not have one on this bus. Whom a ClusterBus allows that cannot be read is
    /// not known, so nobody.
    fn is_shut_out(&self, channel: &Channel) -> bool {
        let bus = &self.world.bus;
        match (&self.given.bus_ref, &bus.view) {
            (BusRef::Cluster { .. }, None) => bus.object.is_some(),
            (BusRef::Cluster { .. } | BusRef::Namespaced { .. }, _) => {
                self.not_allowed(channel).is_some()
            }
        }
    }

    /// Whether a channel may not be on this bus, and is none that goes on.
    pub(crate) fn is_refused(&self, channel: &Channel) -> bool {
        self.is_shut_out(channel) && self.admitted(channel).is_none()
    }

    /// How long a channel that is not allowed here goes on accepting: zero when it may not (any more), nothing when
    /// there is no end to it.
    pub(super) fn revoked_in(&self, channel: &Channel) -> Option<Duration> {
        if !self.is_shut_out(channel) {
            return None;
        }
        let Some(admitted) = self.admitted(channel) else {
            return Some(Duration::ZERO);
        };
        let at = admitted.ends(self.world.bus.view.as_ref()?.revoke_grace?)?;
        let now = crate::health::time(self.given.options.clock.now())?.0;
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    pub(crate) fn is_revoked(&self, channel: &Channel) -> bool {
        self.revoked_in(channel).is_some_and(|left| left.is_zero())
    }

    fn remembers_itself(&self) -> bool {
        self.given.options.parts == Parts::Both && self.writes()
    }

    /// Takes over what the bus's status remembers; gives the namespaces of which it differs.
    pub(super) fn take_admitted(&mut self, shown: &[AdmittedNamespace]) -> HashSet<String> {
        // What this process wrote comes back late.
        if self.world.bus.admitted == shown
            || (self.remembers_itself() && !self.world.bus.admitted.is_empty())
        {
            return HashSet::new();
        }
        let before = std::mem::replace(&mut self.world.bus.admitted, shown.to_vec());
        let now = &self.world.bus.admitted;
        let gone = before.iter().filter(|one| !now.contains(one));
        let come = now.iter().filter(|one| !before.contains(one));
        gone.chain(come).map(|one| one.name.clone()).collect()
    }

    /// Remembers the namespace of a channel, where no operator does.
    pub(super) fn mind_admission(&mut self, r: &ChannelRef, now: Instant) {
        let (true, BusRef::Cluster { .. }) = (self.remembers_itself(), &self.given.bus_ref) else {
            return;
        };
        let object = self.world.channels.get(r).and_then(|s| s.object.as_ref());
        let (Some(object), Some(seen), Some(wall)) = (
            object.filter(|o| self.standing_of_channel(o) == Standing::Ours),
            self.world.namespaces.get(r.namespace()),
            crate::health::time(self.given.options.clock.now()),
        ) else {
            return;
        };
        if self.world.bus.object.is_none() || self.world.bus.view.is_none() {
            return;
        }
        let present = Present {
            name: r.namespace(),
            uid: &seen.uid,
            allowed: match self.not_allowed(object) {
                None => Allowed::Yes,
                Some(_) => Allowed::No,
            },
        };
        let all = &self.world.bus.admitted;
        let at = all.iter().position(|one| one.name == r.namespace());
        let before = at.and_then(|at| all.get(at));
        let next = admitted::next(before, &present, wall.0);
        if before == next.as_ref() {
            return;
        }
        let all = &mut self.world.bus.admitted;
        if let Some(at) = at {
            all.remove(at);
        }
        if let Some(next) = next {
            if all.len() >= MOST {
                tracing::warn!(namespace = r.namespace(), "too many namespaces to remember");
            } else {
                let at = all.partition_point(|one| one.name < next.name);
                all.insert(at, next);
            }
        }
        self.statuses.at(&Key::Bus, now + GATHER);
    }

    /// Those of which there are channels.
    pub(crate) fn admitted_in_use(&self) -> Vec<&AdmittedNamespace> {
        if !self.remembers_itself() {
            return self.world.bus.admitted.iter().collect();
        }
        let channels = self.world.channels.values();
        let objects = channels.filter_map(|s| s.object.as_ref());
        let ours = objects.filter(|o| self.standing_of_channel(o) == Standing::Ours);
        let used: HashSet<String> = ours.filter_map(|o| o.namespace()).collect();
        let all = self.world.bus.admitted.iter();
        all.filter(|one| used.contains(&one.name)).collect()
    }
}
