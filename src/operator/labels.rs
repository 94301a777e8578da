//! Labels and annotations by which our objects are known.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt as _};

use super::names;

/// The field manager of all that the operator applies.
pub(crate) const MANAGER: &str = "busway-operator";
/// Who made it.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What part of Busway it is.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
/// UID of the Bus, ClusterBus or Channel that it was made for.
pub(crate) const OWNER_UID: &str = "channels.busway.dev/owner-uid";
/// Selects everything that the operator made, with the pods and endpoints that came of it.
pub(crate) const SELECTOR: &str = "app.kubernetes.io/managed-by=busway-operator";
/// Leaves an object alone while it is there, whatever its value but `false`.
pub(crate) const PAUSE: &str = "channels.busway.dev/pause-reconcile";

/// What part of Busway a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// Of a bus's dispatcher.
    Dispatcher,
    /// Of a bus's provisioner.
    Provisioner,
    /// A Channel's.
    Channel,
}

impl Component {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher",
            Self::Provisioner => "provisioner",
            Self::Channel => "channel",
        }
    }
}

/// Every label of a child. `instance`: the bus's name.
pub(crate) fn of(component: Component, instance: &str, uid: &str) -> BTreeMap<String, String> {
    let mut labels = pods(component, uid);
    labels.insert("app.kubernetes.io/name".to_owned(), "busway".to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(
        "app.kubernetes.io/instance".to_owned(),
        names::label_value(instance),
    );
    labels
}

/// Every annotation of a child. An Argo CD that knows its own by `app.kubernetes.io/instance` would take a child for its
/// own where an Application has the bus's name, and prune it.
pub(crate) fn annotations() -> BTreeMap<String, String> {
    [
        ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
        ("argocd.argoproj.io/sync-options", "Prune=false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What selects the pods of a component.
pub(crate) fn pods(component: Component, uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (OWNER_UID.to_owned(), uid.to_owned()),
        (COMPONENT.to_owned(), component.as_str().to_owned()),
    ])
}

/// The UID of what an object was made for.
pub(crate) fn owner_uid<K: Resource>(object: &K) -> Option<&str> {
    object.labels().get(OWNER_UID).map(String::as_str)
}

/// Whether its owner wants it left alone.
pub(crate) fn is_paused<K: Resource>(object: &K) -> bool {
    object
        .annotations()
        .get(PAUSE)
        .is_some_and(|value| value != "false")
}
