//! Removes what was left behind: children whose Bus or ClusterBus is gone.

use std::{collections::HashSet, sync::Arc};

use busway_api::{Bus, Channel, ClusterBus};
use kube::{
    Api, Resource,
    api::ListParams,
    core::{DynamicObject, PartialObjectMeta},
};
use tokio_util::sync::CancellationToken;

use super::{
    apply,
    args::Scope,
    children::{ChildKind, ChildRef},
    context::Context,
    error::{self, Error},
    labels, names,
};

/// Objects a page.
const PAGE_SIZE: u32 = 500;

/// Sweeps once, tried again until it succeeds; then waits for the end, since all of its siblings do.
pub(crate) async fn run(ctx: Arc<Context>, shutdown: CancellationToken) {
    let mut failures = 0;
    let work = async {
        while let Err(error) = once(&ctx).await {
            failures += 1;
            tracing::warn!(%error, "what is left behind was not swept yet");
            tokio::time::sleep(error::pause(failures)).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn once(ctx: &Context) -> Result<(), Error> {
    let children = left_behind(ctx);
    if children.is_empty() {
        return Ok(());
    }
    // The API server is asked, not the stores: an owner of a form that this version does not know is an owner too.
    let owners = owners(ctx).await?;
    for (uid, at, child) in children {
        if owners.lack(&uid, &at) {
            tracing::info!(object = at.told(), owner = uid, "its owner is gone");
            apply::delete(ctx, &at, child.metadata.uid.clone()).await?;
        }
    }
    Ok(())
}

/// Whether a child of that owner is left behind, by what the API server says.
///
/// # Errors
/// Whatever the API server says.
pub(crate) async fn is_left_behind(
    ctx: &Context,
    owner_uid: &str,
    at: &ChildRef,
) -> Result<bool, Error> {
    if ctx.stores.owner(owner_uid).is_some() || !is_listed(&ctx.settings.scope, at) {
        return Ok(false);
    }
    Ok(owners(ctx).await?.lack(owner_uid, at))
}

/// Whether the owners of such a child are listed at all: who looks after namespaces sees no ClusterBus, and what serves
/// one may be in a namespace of theirs.
fn is_listed(scope: &Scope, at: &ChildRef) -> bool {
    match scope {
        Scope::All => true,
        Scope::Namespaces(_) => {
            let cluster_bus =
                at.kind == ChildKind::ClusterRoleBinding || names::is_of_cluster_bus(&at.name);
            !cluster_bus
        }
    }
}

/// What has children.
#[derive(Debug, Default)]
struct Owners {
    uids: HashSet<String>,
    /// Namespaces whose objects may not be listed, or that are gone: nothing is known of what is in them.
    unknown: HashSet<String>,
}

impl Owners {
    fn lack(&self, uid: &str, child: &ChildRef) -> bool {
        let home = child.namespace.as_ref();
        !self.uids.contains(uid) && home.is_none_or(|home| !self.unknown.contains(home))
    }
}

/// Children whose owner is not in the stores.
fn left_behind(ctx: &Context) -> Vec<(String, ChildRef, Arc<DynamicObject>)> {
    let mut found = Vec::new();
    for (kind, store) in &ctx.stores.children {
        for child in store.state() {
            let Some(uid) = labels::owner_uid(&*child).map(ToOwned::to_owned) else {
                continue;
            };
            if ctx.stores.owner(&uid).is_none() && child.metadata.deletion_timestamp.is_none() {
                let at = ChildRef {
                    kind: *kind,
                    namespace: child.metadata.namespace.clone(),
                    name: child.metadata.name.clone().unwrap_or_default(),
                };
                if is_listed(&ctx.settings.scope, &at) {
                    found.push((uid, at, child));
                }
            }
        }
    }
    found
}

/// Everything that has children.
async fn owners(ctx: &Context) -> Result<Owners, Error> {
    let mut owners = Owners::default();
    let scopes = match &ctx.settings.scope {
        Scope::All => {
            let api = Api::<ClusterBus>::all(ctx.client().clone());
            list(ctx, api, &mut owners.uids).await?;
            vec![None]
        }
        Scope::Namespaces(names) => names.iter().map(Some).collect(),
    };
    for namespace in scopes {
        let mut listed = list(ctx, api::<Bus>(ctx, namespace), &mut owners.uids).await;
        if listed.is_ok() {
            listed = list(ctx, api::<Channel>(ctx, namespace), &mut owners.uids).await;
        }
        match (listed, namespace) {
            (Err(Error::Refused { .. } | Error::Gone { .. }), Some(namespace)) => {
                owners.unknown.insert(namespace.clone());
            }
            (listed, _) => listed?,
        }
    }
    Ok(owners)
}

fn api<K>(ctx: &Context, namespace: Option<&String>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(ctx.client().clone(), namespace),
        None => Api::all(ctx.client().clone()),
    }
}

async fn list<K>(ctx: &Context, api: Api<K>, uids: &mut HashSet<String>) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let what = format!("the list of {}", K::plural(&()));
    let mut params = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = ctx.call(&what, api.list_metadata(&params)).await?;
        let metadata = page
            .items
            .into_iter()
            .map(|item: PartialObjectMeta<K>| item.metadata);
        uids.extend(metadata.filter_map(|metadata| metadata.uid));
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params = params.continue_token(&more),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::names::{BusName, channel_service};

    fn child(kind: ChildKind, name: String) -> ChildRef {
        ChildRef {
            kind,
            namespace: Some("busway-system".to_owned()),
            name,
        }
    }

    #[test]
    fn who_looks_after_namespaces_sweeps_nothing_of_a_cluster_bus() {
        let own = Scope::Namespaces(vec!["busway-system".to_owned()]);
        for (name, swept) in [
            (BusName::ClusterBus("default").dispatcher(), false),
            (BusName::ClusterBus("default").base(), false),
            (BusName::Bus("default").dispatcher(), true),
            (channel_service("orders"), true),
        ] {
            let at = child(ChildKind::Deployment, name);
            assert_eq!(is_listed(&own, &at), swept, "{at:?}");
            assert!(is_listed(&Scope::All, &at), "{at:?}");
        }
        let binding = BusName::ClusterBus(&"b".repeat(200)).cluster_binding("busway-system");
        assert!(!is_listed(
            &own,
            &child(ChildKind::ClusterRoleBinding, binding)
        ));
    }

    #[test]
    fn nothing_is_swept_where_owners_may_not_be_listed() {
        let mut owners = Owners::default();
        owners.uids.insert("lives".to_owned());
        let at = child(ChildKind::Service, "a-bus".to_owned());
        assert!(owners.lack("gone", &at));
        assert!(!owners.lack("lives", &at));
        owners.unknown.insert("busway-system".to_owned());
        assert!(!owners.lack("gone", &at));
    }
}
