//! What a Channel refers to, looked up in what is watched.

use std::{collections::BTreeMap, sync::Arc};

use busway_api::{AdmittedNamespace, Channel, ClusterBus, DEFAULT_BUS_ANNOTATION, admitted};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _, runtime::reflector::ObjectRef};

use super::carrier::{BusKey, Carrier};
use crate::operator::{
    args::Scope, context::Context, error::Error, names::BusName, object::Object as _,
    stores::Stores,
};

/// A namespace, as far as it matters to what is in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamespaceView {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) uid: Option<String>,
    pub(crate) terminating: bool,
}

/// What a Channel refers to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The bus that it names, when there is one.
    pub(crate) carrier: Option<Carrier>,
    /// The ClusterBus that it would be put on, when it names none.
    pub(crate) default: Option<String>,
    /// Whether ClusterBuses are seen at all.
    pub(crate) sees_cluster_buses: bool,
    pub(crate) namespace: NamespaceView,
    /// What its bus remembers of its namespace, where that was allowed once.
    pub(crate) admitted: Option<AdmittedNamespace>,
}

/// Looks it up.
pub(crate) fn channel(ctx: &Context, channel: &Channel) -> Found {
    let (stores, settings) = (&ctx.stores, &ctx.settings);
    let key = BusKey::of_channel(channel);
    let home = channel.namespace().unwrap_or_default();
    let namespace = namespace(stores, &home);
    Found {
        admitted: match &key {
            Some(BusKey::Cluster { name }) => {
                let bus = stores.cluster_buses.get(&ObjectRef::new(name));
                bus.and_then(|bus| {
                    let all = &bus.status.as_ref()?.namespaces;
                    admitted::find(all, &home, namespace.uid.as_deref()).cloned()
                })
            }
            Some(BusKey::Namespaced { .. }) | None => None,
        },
        carrier: key
            .as_ref()
            .and_then(|key| carrier(stores, key, &settings.namespace)),
        default: match key {
            Some(_) => None,
            None => default_bus(&stores.cluster_buses.state()),
        },
        sees_cluster_buses: settings.scope == Scope::All,
        namespace,
    }
}

/// A bus, as it is now.
pub(crate) fn carrier(stores: &Stores, key: &BusKey, operator_namespace: &str) -> Option<Carrier> {
    match key {
        BusKey::Namespaced { namespace, name } => {
            let bus = stores.buses.get(&ObjectRef::new(name).within(namespace))?;
            Some(Carrier::of_bus(&bus, BusName::Bus(name).base()))
        }
        BusKey::Cluster { name } => {
            let bus = stores.cluster_buses.get(&ObjectRef::new(name))?;
            let service = BusName::ClusterBus(name).base();
            Some(Carrier::of_cluster_bus(&bus, service, operator_namespace))
        }
    }
}

fn namespace(stores: &Stores, name: &str) -> NamespaceView {
    let Some(found) = stores.namespaces.get(&ObjectRef::new(name)) else {
        return NamespaceView::default();
    };
    NamespaceView {
        labels: found.metadata.labels.clone().unwrap_or_default(),
        uid: found.metadata.uid.clone(),
        terminating: found.metadata.deletion_timestamp.is_some(),
    }
}

/// The namespace of a deleted object: asked for, where namespaces are not watched.
///
/// # Errors
/// Whatever the API server says.
pub(crate) async fn home(ctx: &Context, name: &str) -> Result<NamespaceView, Error> {
    if ctx.settings.scope == Scope::All {
        return Ok(namespace(&ctx.stores, name));
    }
    let api = Api::<Namespace>::all(ctx.client().clone());
    let found = match ctx.call("the namespace", api.get_metadata(name)).await {
        // Without the right to see it, it is taken for one that stays: the bound ends what waits.
        Err(Error::Refused { .. } | Error::Gone { .. }) => return Ok(NamespaceView::default()),
        found => found?,
    };
    Ok(NamespaceView {
        labels: found.metadata.labels.unwrap_or_default(),
        uid: found.metadata.uid,
        terminating: found.metadata.deletion_timestamp.is_some(),
    })
}

/// The newest that is marked; of two made at once, the first by name.
pub(crate) fn default_bus(all: &[Arc<ClusterBus>]) -> Option<String> {
    all.iter()
        .filter(|bus| {
            let mark = bus.annotations().get(DEFAULT_BUS_ANNOTATION);
            mark.is_some_and(|mark| mark == "true") && !bus.is_going()
        })
        .max_by(|a, b| {
            let made = |bus: &ClusterBus| bus.metadata.creation_timestamp.clone().map(|t| t.0);
            made(a)
                .cmp(&made(b))
                .then_with(|| b.name_any().cmp(&a.name_any()))
        })
        .map(|bus| bus.name_any())
}
