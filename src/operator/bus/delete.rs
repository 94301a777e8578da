//! The end of a bus: nobody's live channel goes with it, and nothing of it is left.

use std::{fmt, time::Duration};

use busway_api::{Channel, WORKLOAD_FINALIZER};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, ObjectMeta},
    runtime::controller::Action,
};
use serde_json::{Value, json};

use super::{AnyBus, Asks, BusKind, serve, status};
use crate::operator::{
    apply,
    children::{ChildKind, ChildRef},
    context::Context,
    controller::Outcome,
    error::Error,
    labels::{self, MANAGER},
};

/// How soon it is looked again where no watch tells.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Channels a page.
const PAGE_SIZE: u32 = 500;
/// Channels that a condition names; more are counted.
const NAMED: usize = 10;

/// Channels that keep a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocked {
    /// Those that nobody deleted.
    staying: Vec<String>,
    /// Those that wait for their own end.
    going: Vec<String>,
}

impl Blocked {
    /// By what is watched.
    fn of<K: AnyBus>(ctx: &Context, bus: &K) -> Option<Self> {
        let mut blocked = Self::default();
        for channel in ctx.stores.channels.state() {
            if bus.carries(&Asks::of(&channel)) {
                blocked.add(&channel.metadata);
            }
        }
        blocked.some()
    }

    /// By what the API server says: a watch may lag behind, and a channel of a form that this version does not know is
    /// somebody's too.
    async fn asked<K: AnyBus>(ctx: &Context, bus: &K) -> Result<Option<Self>, Error> {
        let resource = ApiResource::erase::<Channel>(&());
        let api: Api<DynamicObject> = match bus.namespace() {
            Some(namespace) => Api::namespaced_with(ctx.client().clone(), &namespace, &resource),
            None => Api::all_with(ctx.client().clone(), &resource),
        };
        let mut blocked = Self::default();
        let mut params = ListParams::default().limit(PAGE_SIZE);
        loop {
            let page = match ctx.call("the list of channels", api.list(&params)).await {
                // Their definition was deleted, and all of them with it.
                Err(Error::Gone { .. }) if params.continue_token.is_none() => return Ok(None),
                page => page?,
            };
            for channel in &page.items {
                let asks = |field: &str| channel.data.pointer(field).and_then(Value::as_str);
                let asks = Asks {
                    namespace: channel.metadata.namespace.as_deref(),
                    bus: asks("/spec/bus"),
                    cluster_bus: asks("/spec/clusterBus"),
                };
                if bus.carries(&asks) {
                    blocked.add(&channel.metadata);
                }
            }
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(blocked.some()),
            }
        }
    }

    fn add(&mut self, channel: &ObjectMeta) {
        let namespace = channel.namespace.as_deref().unwrap_or_default();
        let name = channel.name.as_deref().unwrap_or_default();
        let list = match channel.deletion_timestamp {
            Some(_) => &mut self.going,
            None => &mut self.staying,
        };
        list.push(format!("{namespace}/{name}"));
    }

    fn some(mut self) -> Option<Self> {
        self.staying.sort();
        self.going.sort();
        (self != Self::default()).then_some(self)
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let staying = list(&self.staying, "on it");
        let going = list(&self.going, "on it and being deleted");
        let both: Vec<_> = staying.into_iter().chain(going).collect();
        f.write_str(&both.join("; "))
    }
}

/// `2 channels on it: a, b`
fn list(names: &[String], what: &str) -> Option<String> {
    let (count, named) = (names.len(), names.iter().take(NAMED).map(String::as_str));
    let named = named.collect::<Vec<_>>().join(", ");
    let channels = if count == 1 { "channel" } else { "channels" };
    match count.saturating_sub(NAMED) {
        _ if count == 0 => None,
        0 => Some(format!("{count} {channels} {what}: {named}")),
        more => Some(format!(
            "{count} {channels} {what}: {named} and {more} more"
        )),
    }
}

/// One step towards the end of a bus that was asked to go.
pub(super) async fn step<K: AnyBus>(ctx: &Context, bus: &K) -> Outcome {
    if !is_held(bus) {
        return Ok(Action::await_change());
    }
    // The workload stays until the last channel is unprovisioned, put back like any other.
    if let Some(blocked) = Blocked::of(ctx, bus) {
        return serve(ctx, bus, Some(blocked)).await;
    }
    let uid = bus.uid_or_empty();
    let left = super::children(ctx, bus, &bus.place(&ctx.settings));
    if left.is_empty() {
        return last_look(ctx, bus).await;
    }
    // The workload goes, as the first, only when the API server, too, has no channel on it.
    let serves = |at: &ChildRef| at.kind == ChildKind::Deployment && !is_stuck(ctx, at);
    if left.iter().any(serves)
        && let Some(blocked) = Blocked::asked(ctx, bus).await?
    {
        serve(ctx, bus, Some(blocked)).await?;
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    for at in &left {
        apply::remove(ctx, uid, at).await?;
    }
    let stuck: Vec<_> = left
        .iter()
        .filter(|at| is_stuck(ctx, at))
        .map(ChildRef::told)
        .collect();
    if !stuck.is_empty() {
        let message = format!("still being deleted: {}", stuck.join(", "));
        status::ending(ctx, bus, message).await?;
    }
    // The watch tells when they are gone.
    Ok(Action::await_change())
}

/// Lets the bus go when the API server, too, has nothing of it: what was made a moment ago may not be watched yet.
async fn last_look<K: AnyBus>(ctx: &Context, bus: &K) -> Outcome {
    let place = bus.place(&ctx.settings);
    let ours = format!("{}={}", labels::OWNER_UID, bus.uid_or_empty());
    let params = ListParams::default().labels(&ours);
    let mut found = false;
    for kind in ChildKind::ALL {
        let namespace = match kind {
            ChildKind::ClusterRoleBinding if place.kind == BusKind::Bus => continue,
            ChildKind::ClusterRoleBinding => None,
            _ => Some(place.namespace.clone()),
        };
        let api = kind.api(ctx.client(), namespace.as_deref());
        let what = format!("the list of {}s", kind.as_str());
        for child in ctx.call(&what, api.list_metadata(&params)).await? {
            found = true;
            let at = ChildRef {
                kind,
                namespace: namespace.clone(),
                name: child.name_any(),
            };
            apply::delete(ctx, &at, child.uid()).await?;
        }
    }
    if found {
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    let lift = |finalizers: &mut Vec<String>| finalizers.retain(|one| one != WORKLOAD_FINALIZER);
    change(ctx, bus, lift).await?;
    ctx.admitted.forget(bus.uid_or_empty());
    tracing::info!(object = bus.told(), "nothing is left of it");
    Ok(Action::await_change())
}

/// Asked to go and still there: a finalizer of somebody's.
fn is_stuck(ctx: &Context, at: &ChildRef) -> bool {
    let child = ctx.stores.child(at);
    child.is_some_and(|child| child.metadata.deletion_timestamp.is_some())
}

fn is_held<K: AnyBus>(bus: &K) -> bool {
    bus.finalizers().iter().any(|one| one == WORKLOAD_FINALIZER)
}

/// Keeps a bus until nothing is left of it; before the first child is made.
pub(super) async fn hold<K: AnyBus>(ctx: &Context, bus: &K) -> Result<(), Error> {
    if is_held(bus) {
        return Ok(());
    }
    change(ctx, bus, |finalizers| {
        finalizers.push(WORKLOAD_FINALIZER.to_owned())
    })
    .await
}

/// At the version that was looked at, since a merge patch replaces the whole list.
async fn change<K: AnyBus>(
    ctx: &Context,
    bus: &K,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), Error> {
    let mut finalizers = bus.finalizers().to_vec();
    change(&mut finalizers);
    let patch = json!({ "metadata": {
        "uid": bus.uid_or_empty(),
        "resourceVersion": bus.resource_version(),
        "finalizers": finalizers,
    }});
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match bus.namespace() {
        Some(namespace) => Api::namespaced_with(ctx.client().clone(), &namespace, &resource),
        None => Api::all_with(ctx.client().clone(), &resource),
    };
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (name, what) = (bus.name_any(), format!("the finalizer of {}", bus.told()));
    let patch = Patch::Merge(&patch);
    ctx.call(&what, api.patch_metadata(&name, &params, &patch))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(many: usize) -> Vec<String> {
        (0..many).map(|n| format!("shop/c{n:02}")).collect()
    }

    #[test]
    fn ten_channels_are_named_and_the_rest_is_counted() {
        let blocked = Blocked {
            staying: names(12),
            going: Vec::new(),
        };
        let said = blocked.to_string();
        assert!(said.starts_with("12 channels on it: shop/c00, "), "{said}");
        assert!(said.ends_with("shop/c09 and 2 more"), "{said}");
    }

    #[test]
    fn channels_that_go_by_themselves_are_told_apart() {
        let blocked = Blocked {
            staying: names(1),
            going: names(2),
        };
        assert_eq!(
            blocked.to_string(),
            "1 channel on it: shop/c00; 2 channels on it and being deleted: shop/c00, shop/c01"
        );
    }
}
