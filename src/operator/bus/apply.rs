//! Writes the children of a bus, and removes those that are no longer wanted.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
    core::DynamicObject,
    runtime::controller::Action,
};
use serde_json::json;

use super::{
    AnyBus, Place,
    build::COUNTED,
    dereference::{self, Found},
    turn,
};
use crate::operator::{
    apply,
    children::{Child, ChildKind, ChildRef},
    context::Context,
    controller::Outcome,
    error::Error,
};

/// The manager of a number of pods that the bus no longer says: it stays as it was until an autoscaler changes it.
const REPLICAS_MANAGER: &str = "busway-operator-replicas";

/// On pods: the UID of their account. Tokens of one that was deleted and made again are refused, so its pods have to be new.
const ACCOUNT: &str = "channels.busway.dev/service-account-uid";

/// What became of the children.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// As it was just written; else it is as it was found.
    pub(super) dispatcher: Option<Deployment>,
    /// As it was just written; else it is as it was found.
    pub(super) provisioner: Option<Deployment>,
    /// What could not be written.
    pub(super) failed: Vec<(ChildRef, Error)>,
    /// The new image has to wait for that Deployment of another bus.
    pub(super) waits: Option<ChildRef>,
}

impl Done {
    /// What comes next: another try where something failed.
    pub(super) fn outcome(self, turn_look: Duration) -> Outcome {
        match self.failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None if self.waits.is_some() => Ok(Action::requeue(turn_look)),
            None => Ok(Action::await_change()),
        }
    }
}

/// Writes all of them; one that fails keeps none of the others.
pub(super) async fn all<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    place: &Place,
    found: &Found,
    wanted: Vec<Child>,
) -> Done {
    let mut done = Done::default();
    let (uid, names) = (bus.uid_or_empty(), place.names());
    let (dispatcher, provisioner) = (names.dispatcher(), names.provisioner());
    let kept: BTreeSet<ChildRef> = wanted.iter().map(|child| child.at.clone()).collect();
    let mut account = None;
    let mut impersonates = false;
    for mut child in wanted {
        if impersonates && relies_on_account(child.at.kind) {
            continue;
        }
        if child.at.kind == ChildKind::Deployment {
            carry_account(ctx, &mut child, account.as_deref());
        }
        let is_dispatcher = child.at.kind == ChildKind::Deployment && child.at.name == dispatcher;
        if is_dispatcher && let Some(other) = waits(ctx, bus, found, &child.at) {
            done.waits = Some(other);
            continue;
        }
        let outcome = one(ctx, bus, found, &child, is_dispatcher).await;
        if child.at.kind == ChildKind::ServiceAccount {
            let written = outcome.as_ref().ok().and_then(Option::as_ref);
            let live = || ctx.stores.child(&child.at).and_then(|live| live.uid());
            account = written.and_then(kube::ResourceExt::uid).or_else(live);
        }
        match outcome {
            Ok(None) => {}
            Ok(Some(written)) if is_dispatcher => {
                turn::written(ctx, &child.at, &written);
                done.dispatcher = dereference::typed(&written);
            }
            Ok(Some(written)) => {
                if child.at.kind == ChildKind::Deployment && child.at.name == provisioner {
                    done.provisioner = dereference::typed(&written);
                }
            }
            Err(error) => {
                impersonates |= matches!(error, Error::NameClash { .. })
                    && matches!(child.at.kind, ChildKind::ServiceAccount | ChildKind::Lease);
                tracing::debug!(object = child.at.told(), %error, "not written");
                done.failed.push((child.at, error));
            }
        }
    }
    for at in super::children(ctx, bus, place) {
        if !kept.contains(&at)
            && let Err(error) = apply::remove(ctx, uid, &at).await
        {
            done.failed.push((at, error));
        }
    }
    done
}

/// Ends what the bus runs and may not run any more; the rest of it stays, so that what it says has an address.
pub(super) async fn end_workload<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    place: &Place,
) -> Result<(), Error> {
    let mut children = super::children(ctx, bus, place);
    children.retain(|at| at.kind == ChildKind::Deployment);
    for at in children {
        apply::remove(ctx, bus.uid_or_empty(), &at).await?;
    }
    Ok(())
}

/// Whether it gives rights to the bus's account or on its Lease, or runs as it. With one of these somebody else's, that
/// would be theirs: pods would run as an account that was never the bus's, and could write to a Lease that is not.
const fn relies_on_account(kind: ChildKind) -> bool {
    matches!(
        kind,
        ChildKind::Role
            | ChildKind::RoleBinding
            | ChildKind::ClusterRoleBinding
            | ChildKind::Deployment
    )
}

async fn one<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    found: &Found,
    child: &Child,
    is_dispatcher: bool,
) -> Result<Option<DynamicObject>, Error> {
    let uid = bus.uid_or_empty();
    if is_dispatcher && bus.bus().workload.replicas.is_none() {
        keep_replicas(ctx, found, &child.at).await?;
    }
    if let Some(live) = ctx.stores.child(&child.at)
        && live.data.get("roleRef") != child.manifest.get("roleRef")
        && live.metadata.deletion_timestamp.is_none()
    {
        // What a binding refers to cannot be changed.
        apply::remove(ctx, uid, &child.at).await?;
    }
    apply::applied(ctx, uid, child).await
}

/// Writes the account's UID into the pods of a Deployment; where it could not be learned, the one that they have stays.
fn carry_account(ctx: &Context, child: &mut Child, account: Option<&str>) {
    let pointer = "/spec/template/metadata/annotations";
    let live = ctx.stores.child(&child.at);
    let carried = || {
        let annotations = live.as_ref()?.data.pointer(pointer)?;
        annotations.get(ACCOUNT)?.as_str()
    };
    let Some(uid) = account.or_else(carried) else {
        return;
    };
    if let Some(template) = child.manifest.pointer_mut("/spec/template/metadata") {
        template["annotations"][ACCOUNT] = json!(uid);
    }
}

/// Whether a new image of the operator has to wait: a pinned one, and a third party's, is the bus's own.
fn waits<K: AnyBus>(ctx: &Context, bus: &K, found: &Found, at: &ChildRef) -> Option<ChildRef> {
    let spec = bus.bus();
    let follows = spec.dispatcher.is_none() && spec.workload.image.is_none();
    let live = found.dispatcher.as_ref().filter(|_| follows);
    turn::waits(ctx, at, live?, bus.generation())
}

/// A field that its only owner no longer applies falls back to its default, which for `replicas` is one pod. So where
/// the bus said a number and does not any more, another manager holds it first.
async fn keep_replicas(ctx: &Context, found: &Found, at: &ChildRef) -> Result<(), Error> {
    let Some(live) = &found.dispatcher else {
        return Ok(());
    };
    let replicas = live.spec.as_ref().and_then(|spec| spec.replicas);
    let (Some(replicas), true) = (replicas, live.annotations().contains_key(COUNTED)) else {
        return Ok(());
    };
    let payload = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": at.name, "namespace": at.namespace, "uid": live.metadata.uid },
        "spec": { "replicas": replicas },
    });
    let params = PatchParams::apply(REPLICAS_MANAGER).force();
    let api = at.kind.api(ctx.client(), at.namespace.as_deref());
    let patch = Patch::Apply(&payload);
    let call = api.patch(&at.name, &params, &patch);
    ctx.call(&at.told(), call).await.map(drop)
}
