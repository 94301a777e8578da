//! The namespaces that a ClusterBus has taken in: kept in its own status, see [`busway_api::admitted`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use busway_api::{
    AdmittedNamespace, Channel, ClusterBus,
    admitted::{self, Allowed, MOST, Present},
};
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{ResourceExt as _, core::PartialObjectMeta, runtime::reflector::ObjectRef};

use crate::operator::{
    channel::carrier,
    object::Object as _,
    stores::{Queues, Stores},
};

/// What was written last, by the ClusterBus's UID: a watch may not have brought it yet.
#[derive(Debug, Default)]
pub(crate) struct Admitted(Mutex<HashMap<String, Vec<AdmittedNamespace>>>);

impl Admitted {
    pub(super) fn wrote(&self, uid: &str, all: Vec<AdmittedNamespace>) {
        self.lock().insert(uid.to_owned(), all);
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn of(&self, bus: &ClusterBus) -> Vec<AdmittedNamespace> {
        let written = self.lock().get(bus.uid_or_empty()).cloned();
        written.unwrap_or_else(|| shown(bus).to_vec())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<AdmittedNamespace>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be remembered now.
pub(super) fn now(bus: &ClusterBus, stores: &Stores, written: &Admitted) -> Vec<AdmittedNamespace> {
    let name = bus.metadata.name.as_deref();
    let channels = stores.channels.state();
    let on_it = channels
        .iter()
        .filter(|channel| channel.spec.cluster_bus.as_deref() == name);
    let used: BTreeSet<String> = on_it.filter_map(|channel| channel.namespace()).collect();
    let used = used.into_iter().map(|name| {
        let namespace = stores.namespaces.get(&ObjectRef::new(&name));
        let seen = namespace.map(|namespace| Seen {
            uid: namespace.uid().unwrap_or_default(),
            allowed: allowed(bus, &namespace),
        });
        (name, seen)
    });
    all(&written.of(bus), used, Timestamp::now())
}

/// A namespace as it is.
struct Seen {
    uid: String,
    allowed: Allowed,
}

/// Of namespaces with channels on the bus, by name; what is not seen of one yet changes nothing.
fn all(
    before: &[AdmittedNamespace],
    used: impl Iterator<Item = (String, Option<Seen>)>,
    now: Timestamp,
) -> Vec<AdmittedNamespace> {
    let (mut known, mut new) = (Vec::new(), Vec::new());
    for (name, seen) in used {
        let was = admitted::find(before, &name, None);
        let next = match seen {
            None => was.cloned(),
            Some(seen) => {
                let (uid, allowed) = (seen.uid.as_str(), seen.allowed);
                let name = name.as_str();
                admitted::next(was, &Present { name, uid, allowed }, now)
            }
        };
        match was {
            Some(_) => known.extend(next),
            None => new.extend(next),
        }
    }
    let room = MOST.saturating_sub(known.len());
    if new.len() > room {
        tracing::warn!(
            left_out = new.len() - room,
            "more namespaces than a ClusterBus remembers: channels of one that is left out stop when it is no longer allowed"
        );
        new.truncate(room);
    }
    known.extend(new);
    known.sort_by(|a, b| a.name.cmp(&b.name));
    known
}

fn allowed(bus: &ClusterBus, namespace: &PartialObjectMeta<Namespace>) -> Allowed {
    let (only, name) = (bus.spec.allowed_namespaces.as_ref(), namespace.name_any());
    match carrier::refuses(only, &bus.name_any(), &name, namespace.labels()) {
        None => Allowed::Yes,
        Some(_) => Allowed::No,
    }
}

fn shown(bus: &ClusterBus) -> &[AdmittedNamespace] {
    bus.status.as_ref().map_or(&[], |status| &status.namespaces)
}

/// Has the ClusterBus of a channel looked at, when it does not remember the channel's namespace as it is.
pub(super) fn channel_touched(channel: &Channel, stores: &Stores, queues: &Queues) {
    let namespace = channel.namespace().unwrap_or_default();
    if let Some(bus) = &channel.spec.cluster_bus
        && let Some(bus) = stores.cluster_buses.get(&ObjectRef::new(bus))
        && let Some(namespace) = stores.namespaces.get(&ObjectRef::new(&namespace))
        && is_behind(&bus, &namespace)
    {
        queues.cluster_buses.add(ObjectRef::from_obj(&*bus));
    }
}

/// Has the ClusterBuses looked at that do not remember a namespace as it is.
pub(super) fn namespace_touched(
    namespace: &PartialObjectMeta<Namespace>,
    stores: &Stores,
    queues: &Queues,
) {
    for bus in stores.cluster_buses.state() {
        if is_behind(&bus, namespace) {
            queues.cluster_buses.add(ObjectRef::from_obj(&*bus));
        }
    }
}

fn is_behind(bus: &ClusterBus, namespace: &PartialObjectMeta<Namespace>) -> bool {
    let uid = namespace.uid().unwrap_or_default();
    let known = admitted::find(shown(bus), &namespace.name_any(), Some(&uid));
    match (allowed(bus, namespace), known) {
        (Allowed::Yes, known) => known.is_none_or(|known| known.revoked.is_some()),
        (Allowed::No, known) => known.is_some_and(|known| known.revoked.is_none()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seen(name: &str, allowed: Allowed) -> (String, Option<Seen>) {
        let uid = format!("uid-{name}");
        (name.to_owned(), Some(Seen { uid, allowed }))
    }

    fn said(all: &[AdmittedNamespace]) -> Vec<(&str, Option<i64>)> {
        let since = |at: &Time| at.0.as_second();
        all.iter()
            .map(|one| (one.name.as_str(), one.revoked.as_ref().map(since)))
            .collect()
    }

    #[test]
    fn a_bus_remembers_whom_it_took_in_while_they_have_channels_on_it() {
        use Allowed::{No, Yes};
        let first = all(
            &[],
            [seen("b", Yes), seen("a", Yes), seen("never", No)].into_iter(),
            at(10),
        );
        assert_eq!(said(&first), [("a", None), ("b", None)]);
        let second = all(&first, [seen("a", No), seen("b", Yes)].into_iter(), at(20));
        assert_eq!(said(&second), [("a", Some(20)), ("b", None)]);
        // What is not seen yet changes nothing; who has no channel is forgotten.
        let third = all(&second, [("a".to_owned(), None)].into_iter(), at(30));
        assert_eq!(said(&third), [("a", Some(20))]);
    }

    #[test]
    fn past_the_bound_those_that_are_known_stay() {
        let many: Vec<_> = (0..MOST + 5).map(|n| format!("n{n:04}")).collect();
        let known: Vec<_> = many.iter().skip(5).map(|n| seen(n, Allowed::Yes)).collect();
        let before = all(&[], known.into_iter(), at(1));
        assert_eq!(before.len(), MOST);
        let now = many.iter().map(|n| seen(n, Allowed::Yes));
        assert_eq!(all(&before, now, at(2)), before);
    }
}
