//! The end of a bus: nobody's live channel goes with it, and nothing of it is left.

use std::fmt;

use busway_api::{Channel, WORKLOAD_FINALIZER};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
    runtime::controller::Action,
};
use serde_json::json;

use super::{AnyBus, serve, status};
use crate::operator::{
    apply, children::ChildRef, context::Context, controller::Outcome, error::Error,
    labels::MANAGER, object::Object as _,
};

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
    fn of<K: AnyBus>(ctx: &Context, bus: &K) -> Option<Self> {
        let mut blocked = Self::default();
        for channel in ctx.stores.channels.state() {
            if bus.carries(&channel) {
                blocked.add(&channel);
            }
        }
        blocked.staying.sort();
        blocked.going.sort();
        (blocked != Self::default()).then_some(blocked)
    }

    fn add(&mut self, channel: &Channel) {
        let name = format!(
            "{}/{}",
            channel.namespace().unwrap_or_default(),
            channel.name_any()
        );
        if channel.is_going() {
            self.going.push(name);
        } else {
            self.staying.push(name);
        }
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
    let left = ctx.stores.children_of(uid);
    for at in &left {
        apply::remove(ctx, uid, at).await?;
    }
    if left.is_empty() {
        change(ctx, bus, |finalizers| {
            finalizers.retain(|one| one != WORKLOAD_FINALIZER)
        })
        .await?;
        tracing::info!(object = bus.told(), "nothing is left of it");
        return Ok(Action::await_change());
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
