//! Writes to Channels and Subscriptions themselves: the default bus, and finalizers that are lifted.

use busway_api::Channel;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use crate::operator::{
    context::Context, error::Error, events::Note, labels::MANAGER, object::Object,
};

/// Puts a channel on a ClusterBus, once.
///
/// # Errors
/// [`Error::Conflict`] when it changed in between; whatever the API server says.
pub(crate) async fn put_on(ctx: &Context, channel: &Channel, bus: &str) -> Result<(), Error> {
    let metadata = &channel.metadata;
    let patch = json!({
        "metadata": { "uid": metadata.uid, "resourceVersion": metadata.resource_version },
        "spec": { "clusterBus": bus },
    });
    merge(ctx, channel, patch).await?;
    tracing::info!(channel = channel.told(), bus, "put on the default bus");
    Ok(())
}

/// Lets a deleted object go without its hook, and tells what may be left.
///
/// # Errors
/// Whatever the API server says but that it is gone.
pub(crate) async fn lift<K: Object>(
    ctx: &Context,
    object: &K,
    finalizer: &str,
    why: &str,
    regarding: ObjectReference,
) -> Result<(), Error> {
    let what = object.told();
    let found = match ctx
        .call(&what, api(ctx, object).get_metadata(&object.name_any()))
        .await
    {
        Ok(found) if found.metadata.uid.as_deref() == Some(object.uid_or_empty()) => found.metadata,
        Ok(_) | Err(Error::Gone { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut finalizers = found.finalizers.unwrap_or_default();
    if !finalizers.iter().any(|name| name == finalizer) {
        return Ok(());
    }
    finalizers.retain(|name| name != finalizer);
    let patch = json!({ "metadata": {
        "uid": found.uid,
        "resourceVersion": found.resource_version,
        "finalizers": finalizers,
    }});
    match merge(ctx, object, patch).await {
        Ok(()) => {}
        Err(Error::Gone { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    let message = format!(
        "{what} (uid {}) was let go without its hook, so something of it may be left on the broker: {why}",
        object.uid_or_empty()
    );
    tracing::warn!(
        object = what,
        finalizer,
        why,
        "lifted a finalizer: something may be left on the broker"
    );
    ctx.metrics.orphaned(K::KIND);
    ctx.events.record(Note {
        related: Some(object.reference()).filter(|object| *object != regarding),
        regarding,
        reason: "Orphaned",
        action: "LiftFinalizer",
        message,
    });
    Ok(())
}

async fn merge<K: Object>(ctx: &Context, object: &K, patch: Value) -> Result<(), Error> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api = api(ctx, object);
    ctx.call(
        &object.told(),
        api.patch(&object.name_any(), &params, &Patch::Merge(patch)),
    )
    .await
    .map(drop)
}

fn api<K: Object>(ctx: &Context, object: &K) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    let namespace = object.namespace().unwrap_or_default();
    Api::namespaced_with(ctx.client().clone(), &namespace, &resource)
}
