//! What an uninstall asks of the API server.

use std::time::Duration;

use anyhow::Context as _;
use busway_api::{Bus, Channel, ClusterBus, Subscription};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta},
};
use serde_json::json;

/// Objects a page.
const PAGE_SIZE: u32 = 500;
/// Deletions at once: what one client is allowed without being slowed.
const AT_ONCE: usize = 16;
/// How long one connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The label of all that an operator made.
pub(super) const CHILDREN: &str = "app.kubernetes.io/managed-by=busway-operator";

/// Whether objects of a kind are in namespaces.
#[derive(Clone, Copy, Debug)]
enum Placed {
    InNamespaces,
    InNone,
}

/// Our kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Subscription,
    Channel,
    Bus,
    ClusterBus,
}

impl Kind {
    /// First what needs the others.
    pub(super) const ORDER: [Self; 4] = [
        Self::Subscription,
        Self::Channel,
        Self::Bus,
        Self::ClusterBus,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Subscription => "Subscription",
            Self::Channel => "Channel",
            Self::Bus => "Bus",
            Self::ClusterBus => "ClusterBus",
        }
    }

    /// The finalizer by which Busway holds it.
    pub(super) fn finalizer(self) -> &'static str {
        match self {
            Self::Subscription => busway_api::SUBSCRIBED_FINALIZER,
            Self::Channel => busway_api::PROVISIONED_FINALIZER,
            Self::Bus | Self::ClusterBus => busway_api::WORKLOAD_FINALIZER,
        }
    }

    fn placed(self) -> Placed {
        match self {
            Self::Subscription | Self::Channel | Self::Bus => Placed::InNamespaces,
            Self::ClusterBus => Placed::InNone,
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Subscription => ApiResource::erase::<Subscription>(&()),
            Self::Channel => ApiResource::erase::<Channel>(&()),
            Self::Bus => ApiResource::erase::<Bus>(&()),
            Self::ClusterBus => ApiResource::erase::<ClusterBus>(&()),
        }
    }
}

/// An object that is still there.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) kind: Kind,
    pub(super) metadata: ObjectMeta,
    pub(super) conditions: Vec<Condition>,
}

impl Left {
    /// `Kind namespace/name`.
    pub(super) fn told(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        match &self.metadata.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind.as_str()),
            None => format!("{} {name}", self.kind.as_str()),
        }
    }

    pub(super) fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn is_held(&self) -> bool {
        let finalizers = self.metadata.finalizers.as_deref().unwrap_or_default();
        finalizers.iter().any(|name| name == self.kind.finalizer())
    }
}

/// A cluster or some of its namespaces, with the rights of who calls.
pub(super) struct Cluster {
    client: Client,
    namespaces: Vec<String>,
}

impl Cluster {
    /// None of `namespaces`: all, and what is in none.
    pub(super) async fn connect(namespaces: Vec<String>) -> anyhow::Result<Self> {
        let mut config = Config::infer()
            .await
            .context("no API server: no kubeconfig was found")?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let client = Client::try_from(config).context("making a Kubernetes client")?;
        Ok(Self { client, namespaces })
    }

    /// Those that it is about, when it is not about all.
    pub(super) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Where objects of a resource are.
    fn places(&self, resource: &ApiResource, scope: Placed) -> Vec<Api<DynamicObject>> {
        let client = || self.client.clone();
        if self.namespaces.is_empty() {
            return vec![Api::all_with(client(), resource)];
        }
        let names = match scope {
            Placed::InNamespaces => self.namespaces.as_slice(),
            Placed::InNone => &[],
        };
        names
            .iter()
            .map(|namespace| Api::namespaced_with(client(), namespace, resource))
            .collect()
    }

    /// The Leases of the whole cluster with this name or one of these labels.
    pub(super) async fn leases(&self, name: &str, labels: &[&str]) -> anyhow::Result<Vec<Lease>> {
        let api = Api::<Lease>::all(self.client.clone());
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let labelled = labels.iter().map(|all| ListParams::default().labels(all));
        let mut found = Vec::new();
        for params in [named].into_iter().chain(labelled) {
            let listed = api.list(&params).await;
            found.extend(listed.context("listing Leases, to see whether an operator works")?);
        }
        Ok(found)
    }

    /// All that is left of a kind; nothing, where its definition is gone.
    pub(super) async fn left(&self, kind: Kind) -> anyhow::Result<Vec<Left>> {
        let mut left = Vec::new();
        for api in self.places(&kind.resource(), kind.placed()) {
            left.extend(self.left_in(&api, kind).await?);
        }
        Ok(left)
    }

    async fn left_in(&self, api: &Api<DynamicObject>, kind: Kind) -> anyhow::Result<Vec<Left>> {
        let mut left = Vec::new();
        let mut params = ListParams::default().limit(PAGE_SIZE);
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(left),
                Err(error) => {
                    return Err(error).with_context(|| format!("listing every {}", kind.as_str()));
                }
            };
            left.extend(page.items.into_iter().map(|object| {
                let conditions = object.data.pointer("/status/conditions").cloned();
                Left {
                    kind,
                    metadata: object.metadata,
                    // What a newer version wrote is not read.
                    conditions: conditions
                        .and_then(|all| serde_json::from_value(all).ok())
                        .unwrap_or_default(),
                }
            }));
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(left),
            }
        }
    }

    /// Asks for the deletion of those that are not being deleted.
    pub(super) async fn delete_all(&self, kind: Kind, all: &[Left]) -> anyhow::Result<()> {
        let waiting = all.iter().filter(|left| !left.is_going());
        stream::iter(waiting.map(|left| self.delete(kind, left)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn delete(&self, kind: Kind, left: &Left) -> anyhow::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: left.metadata.uid.clone(),
                resource_version: None,
            }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let name = left.metadata.name.as_deref().unwrap_or_default();
        let deleted = self.api(kind, left).delete(name, &params).await;
        gone_is_fine(deleted.map(drop)).with_context(|| format!("deleting {}", left.told()))
    }

    /// Takes our finalizer off. Says whether that was done: what is gone or was changed since it was seen is left as it is.
    pub(super) async fn lift(&self, kind: Kind, left: &Left) -> anyhow::Result<bool> {
        let mut finalizers = left.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|name| name != kind.finalizer());
        let patch = json!({ "metadata": {
            "uid": left.metadata.uid,
            "resourceVersion": left.metadata.resource_version,
            "finalizers": finalizers,
        }});
        let name = left.metadata.name.as_deref().unwrap_or_default();
        let api = self.api(kind, left);
        let patch = Patch::Merge(&patch);
        match api.patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("lifting {}", left.told())),
        }
    }

    /// Names of what an operator made and nobody owns, as `resource namespace/name`.
    pub(super) async fn children(&self) -> anyhow::Result<Vec<String>> {
        let params = ListParams::default().labels(CHILDREN);
        let mut found = Vec::new();
        for (resource, placed) in child_resources() {
            for api in self.places(&resource, placed) {
                let listed = api.list_metadata(&params).await;
                let listed = listed.with_context(|| format!("listing {}", resource.plural))?;
                found.extend(listed.items.into_iter().map(|child: PartialObjectMeta<_>| {
                    let (plural, name) = (&resource.plural, child.name_any());
                    match child.metadata.namespace {
                        Some(namespace) => format!("{plural} {namespace}/{name}"),
                        None => format!("{plural} {name}"),
                    }
                }));
            }
        }
        Ok(found)
    }

    fn api(&self, kind: Kind, left: &Left) -> Api<DynamicObject> {
        match &left.metadata.namespace {
            Some(namespace) => {
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
            }
            None => Api::all_with(self.client.clone(), &kind.resource()),
        }
    }
}

fn gone_is_fine(done: kube::Result<()>) -> kube::Result<()> {
    match done {
        // 409: another of its name and another UID.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        done => done,
    }
}

fn child_resources() -> Vec<(ApiResource, Placed)> {
    use k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
    };
    let namespaced = [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Lease>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
    ];
    let in_none = ApiResource::erase::<ClusterRoleBinding>(&());
    let namespaced = namespaced
        .into_iter()
        .map(|one| (one, Placed::InNamespaces));
    namespaced.chain([(in_none, Placed::InNone)]).collect()
}
