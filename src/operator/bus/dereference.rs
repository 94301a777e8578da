//! What there is of a bus: read from the stores.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, discovery::v1::EndpointSlice};
use kube::ResourceExt as _;

use super::{AnyBus, Place};
use crate::operator::{
    children::{ChildKind, ChildRef},
    context::Context,
    labels::{self, Component},
};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What there is of a bus.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) dispatcher: Option<Deployment>,
    pub(super) provisioner: Option<Deployment>,
    /// Pods of both.
    pub(super) pods: Vec<Arc<Pod>>,
    /// Whether a ready pod is behind its Service.
    pub(super) endpoint: bool,
}

/// Looks what there is.
pub(super) fn look<K: AnyBus>(ctx: &Context, bus: &K, place: &Place) -> Found {
    let uid = bus.uid_or_empty();
    Found {
        dispatcher: deployment(ctx, place, uid, place.names().dispatcher()),
        provisioner: deployment(ctx, place, uid, place.names().provisioner()),
        pods: ctx.stores.pods_of(uid, &place.namespace),
        endpoint: has_endpoint(ctx, place, uid),
    }
}

fn deployment(ctx: &Context, place: &Place, uid: &str, name: String) -> Option<Deployment> {
    let at = ChildRef {
        kind: ChildKind::Deployment,
        namespace: Some(place.namespace.clone()),
        name,
    };
    let found = ctx.stores.child(&at)?;
    (labels::owner_uid(&*found) == Some(uid)).then_some(())?;
    typed(&found)
}

/// A Deployment, of what the API server sent.
pub(super) fn typed(found: &kube::core::DynamicObject) -> Option<Deployment> {
    found.clone().try_parse().ok()
}

fn has_endpoint(ctx: &Context, place: &Place, uid: &str) -> bool {
    let service = place.names().base();
    let slices = ctx.stores.endpoint_slices.state();
    let mut ours = slices.iter().filter(|slice| {
        labels::owner_uid(&***slice) == Some(uid)
            && slice.namespace().as_deref() == Some(&place.namespace)
            && slice.labels().get(SERVICE_NAME) == Some(&service)
    });
    ours.any(|slice| has_ready(slice))
}

fn has_ready(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        // Unset means ready.
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    })
}

/// Whether that pod is of this component.
pub(super) fn is_of(pod: &Pod, component: Component) -> bool {
    pod.labels().get(labels::COMPONENT).map(String::as_str) == Some(component.as_str())
}
