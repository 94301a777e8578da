//! Server-side apply of children: only what is ours, only when it differs.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{
    Resource as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
    runtime::reflector::{ObjectRef, Store},
};
use serde_json::{Value, json};

use super::{
    children::{Child, ChildKind, ChildRef},
    context::Context,
    error::Error,
    labels::{self, MANAGER},
    stores::Stores,
    sweep,
};

/// Owns, for a moment, what could not be applied.
const REPAIR_MANAGER: &str = "busway-operator-repair";

/// What was applied last: of the wish, and of what was there when it was granted.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    all: Mutex<HashMap<ChildRef, (u64, u64)>>,
    /// UIDs of owners for whom nothing can be made any more: a namespace that goes does not come back.
    homeless: Mutex<HashSet<String>>,
}

/// Owners whose namespace goes that are remembered; past it, each is refused once more.
const MOST_HOMELESS: usize = 10_000;

/// Children that may be remembered without a look whether they are still there.
const UNCHECKED: usize = 1024;

impl Applied {
    /// What is gone is forgotten when there is more of it than of what is there.
    fn remember(&self, stores: &Stores, at: &ChildRef, prints: (u64, u64)) {
        let mut all = self.lock();
        all.insert(at.clone(), prints);
        let there: usize = stores.children.values().map(Store::len).sum();
        if all.len() > UNCHECKED + 2 * there {
            all.retain(|at, _| stores.child(at).is_some());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChildRef, (u64, u64)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_homeless(&self, owner_uid: &str) -> bool {
        let all = self.homeless.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        all.contains(owner_uid)
    }

    fn makes_homeless(&self, owner_uid: &str) {
        let all = self.homeless.lock();
        let mut all = all.unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_HOMELESS {
            all.clear();
        }
        all.insert(owner_uid.to_owned());
    }
}

/// Makes a child as it is wanted, for the owner of that UID. Says whether it was written.
///
/// # Errors
/// [`Error::NameClash`] when the object is somebody else's; [`Error::NamespaceTerminating`], without a call where that is
/// known, when nothing can be made there; whatever the API server says.
pub(crate) async fn apply(ctx: &Context, owner_uid: &str, child: &Child) -> Result<bool, Error> {
    Ok(applied(ctx, owner_uid, child).await?.is_some())
}

/// As [`apply`]; what was written as it is now, or nothing where it was so already.
///
/// # Errors
/// As [`apply`].
pub(crate) async fn applied(
    ctx: &Context,
    owner_uid: &str,
    child: &Child,
) -> Result<Option<DynamicObject>, Error> {
    let live = match ctx.stores.child(&child.at) {
        Some(live) if labels::owner_uid(&*live) == Some(owner_uid) => Some((*live).clone()),
        _ if goes(ctx, owner_uid, &child.at) => return Err(terminating(&child.at)),
        // Not there, or without our label, or just made: the API server knows.
        _ => ours(ctx, owner_uid, &child.at).await?,
    };
    let wish = checksum(&child.manifest);
    if let Some(live) = &live {
        let granted = ctx.applied.lock().get(&child.at) == Some(&(wish, print(live)));
        // A Lease is its holders' business once it is there, but for our labels: without them it would be left behind.
        let only_labels = child.at.kind == ChildKind::Lease && has_labels(live, &child.manifest);
        if granted || only_labels {
            return Ok(None);
        }
    }
    if goes(ctx, owner_uid, &child.at) {
        return Err(terminating(&child.at));
    }
    let written = write(ctx, child, live.as_ref()).await;
    if matches!(written, Err(Error::NamespaceTerminating { .. })) {
        ctx.applied.makes_homeless(owner_uid);
    }
    let written = written?;
    ctx.applied
        .remember(&ctx.stores, &child.at, (wish, print(&written)));
    Ok(Some(written))
}

/// Whether the child's namespace is being deleted: as it is watched, or, where it is not, as the API server said before.
fn goes(ctx: &Context, owner_uid: &str, at: &ChildRef) -> bool {
    namespace_goes(ctx, owner_uid, at.namespace.as_deref())
}

/// Whether nothing can be made any more in that namespace for the owner of that UID, as far as that is known.
pub(crate) fn namespace_goes(ctx: &Context, owner_uid: &str, namespace: Option<&str>) -> bool {
    let found = namespace.and_then(|name| ctx.stores.namespaces.get(&ObjectRef::new(name)));
    found.is_some_and(|found| found.metadata.deletion_timestamp.is_some())
        || ctx.applied.is_homeless(owner_uid)
}

fn terminating(at: &ChildRef) -> Error {
    Error::NamespaceTerminating { what: at.told() }
}

/// Removes a child of that owner. Says whether it was there.
///
/// # Errors
/// Whatever the API server says but that it is gone already.
pub(crate) async fn remove(ctx: &Context, owner_uid: &str, at: &ChildRef) -> Result<bool, Error> {
    let Some(live) = ctx.stores.child(at) else {
        return Ok(false);
    };
    if labels::owner_uid(&*live) != Some(owner_uid) {
        return Ok(false);
    }
    if live.metadata.deletion_timestamp.is_some() {
        return Ok(true);
    }
    delete(ctx, at, live.metadata.uid.clone()).await?;
    ctx.applied.lock().remove(at);
    Ok(true)
}

/// Deletes exactly the object of that UID, and what came of it behind it.
///
/// # Errors
/// Whatever the API server says but that it is gone already.
pub(crate) async fn delete(ctx: &Context, at: &ChildRef, uid: Option<String>) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let what = at.told();
    let api = at.kind.api(ctx.client(), at.namespace.as_deref());
    match ctx.call(&what, api.delete(&at.name, &params)).await {
        Ok(_) | Err(Error::Gone { .. }) => {
            tracing::info!(object = what, "deleted");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What is there under that name, if it is ours. What was made for somebody who is gone is removed.
async fn ours(ctx: &Context, uid: &str, at: &ChildRef) -> Result<Option<DynamicObject>, Error> {
    let api = at.kind.api(ctx.client(), at.namespace.as_deref());
    let Some(live) = ctx.call(&at.told(), api.get_opt(&at.name)).await? else {
        return Ok(None);
    };
    // Somebody may have taken the label off; that we applied it once is still known.
    let applied = live.metadata.managed_fields.iter().flatten().any(|fields| {
        fields.manager.as_deref() == Some(MANAGER) && fields.operation.as_deref() == Some("Apply")
    });
    let owner = labels::owner_uid(&live);
    if owner == Some(uid) || (owner.is_none() && applied) {
        return Ok(Some(live));
    }
    if let Some(owner) = owner
        && applied
        && sweep::is_left_behind(ctx, owner, at).await?
    {
        tracing::info!(object = at.told(), owner, "its owner is gone");
        delete(ctx, at, live.metadata.uid.clone()).await?;
    }
    // Also of what goes now: it is tried again soon.
    Err(Error::NameClash { object: at.told() })
}

/// Whether all the labels are there that it is to have.
fn has_labels(live: &DynamicObject, manifest: &Value) -> bool {
    let wanted = manifest.pointer("/metadata/labels");
    let has = live.metadata.labels.as_ref();
    wanted
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(label, value)| {
            has.and_then(|has| has.get(label)).map(String::as_str) == value.as_str()
        })
}

async fn write(
    ctx: &Context,
    child: &Child,
    live: Option<&DynamicObject>,
) -> Result<DynamicObject, Error> {
    let mut payload = child.manifest.clone();
    let uid = live.and_then(|live| live.meta().uid.as_ref());
    // The UID, so that another object that took its place is not written to.
    if let Some(uid) = uid {
        set(&mut payload, "uid", json!(uid));
    }
    let written = match patch_once(ctx, &child.at, &payload, uid.is_some()).await {
        // Put beside what somebody changed, ours may not fit: a second port of the same name.
        Err(Error::Refused { .. }) if uid.is_some() => {
            overwrite(ctx, &child.at, &payload, live).await?;
            patch_once(ctx, &child.at, &payload, true).await?
        }
        done => done?,
    };
    let verb = if uid.is_some() { "applied" } else { "made" };
    tracing::info!(object = child.at.told(), "{verb}");
    Ok(written)
}

async fn patch_once(
    ctx: &Context,
    at: &ChildRef,
    payload: &Value,
    is_there: bool,
) -> Result<DynamicObject, Error> {
    let params = PatchParams::apply(MANAGER);
    // Without force where it is not there: what somebody made in between is a conflict, and is not taken over.
    let params = if is_there { params.force() } else { params };
    let api = at.kind.api(ctx.client(), at.namespace.as_deref());
    let patch = Patch::Apply(payload);
    ctx.call(&at.told(), api.patch(&at.name, &params, &patch))
        .await
}

/// Sets every field of ours, lists as a whole. Who set them is forgotten at once, so that the operator's next apply is
/// their only owner, and can remove them.
async fn overwrite(
    ctx: &Context,
    at: &ChildRef,
    payload: &Value,
    live: Option<&DynamicObject>,
) -> Result<(), Error> {
    let mut payload = payload.clone();
    if at.kind == ChildKind::PodDisruptionBudget
        && let Some(live) = live
    {
        clear(&mut payload, &live.data);
    }
    let params = PatchParams {
        field_manager: Some(REPAIR_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = at.kind.api(ctx.client(), at.namespace.as_deref());
    let (what, patch) = (at.told(), Patch::Merge(&payload));
    let set = ctx
        .call(&what, api.patch(&at.name, &params, &patch))
        .await?;
    let mut owners = set.metadata.managed_fields.unwrap_or_default();
    owners.retain(|owner| owner.manager.as_deref() != Some(REPAIR_MANAGER));
    let forget = json!({ "metadata": {
        "resourceVersion": set.metadata.resource_version,
        "managedFields": owners,
    }});
    let patch = Patch::Merge(&forget);
    ctx.call(&what, api.patch(&at.name, &params, &patch))
        .await
        .map(drop)
}

/// Has what is in the spec and is not ours removed: some fields exclude one another.
fn clear(payload: &mut Value, live: &Value) {
    let live = live.get("spec").and_then(Value::as_object);
    let spec = payload.get_mut("spec").and_then(Value::as_object_mut);
    if let (Some(live), Some(spec)) = (live, spec) {
        for field in live.keys() {
            spec.entry(field).or_insert(Value::Null);
        }
    }
}

fn set(payload: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = payload.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert(field.to_owned(), value);
    }
}

/// Of everything that an apply can put back: not the status, not versions.
fn print(live: &DynamicObject) -> u64 {
    let mut data = live.data.clone();
    if let Some(data) = data.as_object_mut() {
        data.remove("status");
    }
    let metadata = &live.metadata;
    checksum(&json!([
        data,
        metadata.uid,
        metadata.labels,
        metadata.annotations,
        metadata.owner_references,
        metadata.finalizers,
    ]))
}

fn checksum(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_child_whose_labels_were_taken_off_has_not_what_it_is_to_have() {
        let manifest = json!({ "metadata": { "labels": { "a": "1", "b": "2" } } });
        let live = |labels: Value| -> DynamicObject {
            let object = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": "x", "labels": labels },
            });
            serde_json::from_value(object).unwrap()
        };
        assert!(has_labels(
            &live(json!({ "a": "1", "b": "2", "c": "3" })),
            &manifest
        ));
        for labels in [
            json!({ "a": "1" }),
            json!({ "a": "1", "b": "3" }),
            json!({}),
        ] {
            assert!(!has_labels(&live(labels.clone()), &manifest), "{labels}");
        }
    }
}
