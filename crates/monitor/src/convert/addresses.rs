//! Where a subscription sends, and whether it may.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use busway_api::reason::Reason;
use busway_core::{
    ChannelRef,
    address::{Destination, HostMap, channel_of},
};

use super::{Problem, bus::Reach};
use crate::{options::Loopback, world::ChannelState};

/// What addresses are judged by.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The namespace of the Subscription, also for what its Channel or Bus says.
    pub(crate) namespace: &'a str,
    pub(crate) cluster_domain: &'a str,
    pub(crate) reach: Reach,
    pub(crate) loopback: Loopback,
    /// Dev mode: names that have a local address; channels of the folder have the receiver's.
    pub(crate) hosts: Option<&'a HostMap>,
    pub(crate) channels: &'a HashMap<ChannelRef, ChannelState>,
    /// Hosts of this bus's own receiver, where a path names a channel.
    pub(crate) receiver: Option<SocketAddr>,
    pub(crate) service: &'a str,
}

impl Rules<'_> {
    /// Reads `text`, which `field` of some resource says.
    pub(crate) fn resolve(&self, field: &str, text: &str) -> Result<Destination, Problem> {
        let destination = self.parse(field, text)?;
        self.allowed(field, &destination)?;
        self.mapped(field, &destination)?;
        Ok(destination)
    }

    /// Only the form: for what goes on although the bus no longer allows it.
    pub(crate) fn parse(&self, field: &str, text: &str) -> Result<Destination, Problem> {
        Destination::parse(text, self.namespace, self.cluster_domain)
            .map_err(|error| Problem::new(Reason::AddressInvalid, format!("{field}: {error}")))
    }

    fn allowed(&self, field: &str, destination: &Destination) -> Result<(), Problem> {
        if self.reach == Reach::Any {
            return Ok(());
        }
        let refuse = |why: String| {
            let message = format!("{field}: {why}; the bus has subscribers: SameNamespace");
            Err(Problem::new(Reason::AddressNotAllowed, message))
        };
        if let Some(ip) = destination.ip() {
            if self.loopback == Loopback::Allowed && is_loopback(ip) {
                return Ok(());
            }
            return refuse(format!("{ip} is an IP address"));
        }
        match self.namespace_of(destination.host()) {
            Some(other) if other != self.namespace => {
                refuse(format!("{} is in namespace {other}", destination.host()))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn mapped(&self, field: &str, destination: &Destination) -> Result<(), Problem> {
        let Some(hosts) = self.hosts else {
            return Ok(());
        };
        let host = destination.host();
        if self.namespace_of(host).is_none()
            || hosts.get(host).is_some()
            || self
                .channel_by_host(host)
                .is_some_and(|c| self.channels.get(&c).is_some_and(|s| s.object.is_some()))
        {
            return Ok(());
        }
        let short = self.inside(host).unwrap_or(host);
        let message = format!(
            "{field}: {host} is a cluster name without a local address; start with --host {short}=127.0.0.1:PORT"
        );
        Err(Problem::new(Reason::AddressUnmapped, message))
    }

    /// The channel that a destination is the address of, as far as that can be told from the address.
    pub(crate) fn channel_at(&self, destination: &Destination) -> Option<ChannelRef> {
        let host = destination.host();
        let by_host = self.channel_by_host(host);
        let ours = host.eq_ignore_ascii_case(self.service)
            || self.receiver.is_some_and(|receiver| {
                let same_ip = destination.ip().is_some_and(|ip| {
                    ip == receiver.ip() || (is_loopback(ip) && reaches_loopback(receiver.ip()))
                });
                destination.port() == receiver.port() && same_ip
            });
        if by_host.is_none() && !ours {
            return None;
        }
        channel_of(destination.target().path(), Some(host), self.cluster_domain).ok()
    }

    fn channel_by_host(&self, host: &str) -> Option<ChannelRef> {
        self.namespace_of(host)?;
        channel_of("/", Some(host), self.cluster_domain).ok()
    }

    /// The namespace that a cluster name is in: the label before `.svc` or `.channels`.
    fn namespace_of<'h>(&self, host: &'h str) -> Option<&'h str> {
        let inside = self.inside(host)?;
        let rest = inside
            .strip_suffix(".svc")
            .or_else(|| inside.strip_suffix(".channels"))?;
        Some(
            rest.rsplit_once('.')
                .map_or(rest, |(_, namespace)| namespace),
        )
    }

    fn inside<'h>(&self, host: &'h str) -> Option<&'h str> {
        let host = host.strip_suffix('.').unwrap_or(host);
        host.strip_suffix(self.cluster_domain)?.strip_suffix('.')
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    }
}

fn reaches_loopback(listens: IpAddr) -> bool {
    listens.is_unspecified() || is_loopback(listens)
}

#[cfg(test)]
#[path = "addresses/tests.rs"]
mod tests;
