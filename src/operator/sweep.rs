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
    children::ChildRef,
    context::Context,
    error::{self, Error},
    labels,
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
        if !owners.contains(&uid) {
            tracing::info!(object = at.told(), owner = uid, "its owner is gone");
            apply::delete(ctx, &at, child.metadata.uid.clone()).await?;
        }
    }
    Ok(())
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
                found.push((uid, at, child));
            }
        }
    }
    found
}

/// UIDs of everything that has children.
async fn owners(ctx: &Context) -> Result<HashSet<String>, Error> {
    let mut uids = HashSet::new();
    let scopes = match &ctx.settings.scope {
        Scope::All => {
            list(ctx, Api::<ClusterBus>::all(ctx.client().clone()), &mut uids).await?;
            vec![None]
        }
        Scope::Namespaces(names) => names.iter().map(Some).collect(),
    };
    for namespace in scopes {
        list(ctx, api::<Bus>(ctx, namespace), &mut uids).await?;
        list(ctx, api::<Channel>(ctx, namespace), &mut uids).await?;
    }
    Ok(uids)
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
